/**
 * Finding the file of the base that a new file was made from when there is none of its path: by a
 * path that differs only in digits (versions), or by content that both have.
 */

/** Positions at which a sample is taken: where the low bits of a rolling hash are zero. */
const SAMPLE_MASK = (1 << 10) - 1;
const WINDOW_SHIFT = 1; // each byte's weight halves 32 times: a window of 32 bytes
/** Samples of one file that are looked at, so that no file costs more than a bounded vote. */
const SAMPLES_MAX = 4096;

/** Random-looking weights of bytes, the same in every run. */
const GEAR = Uint32Array.from({ length: 256 }, (_, i) => {
  let x = Math.imul(i + 1, 0x9e3779b1);
  x = Math.imul(x ^ (x >>> 15), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
});

/** Hashes of content at places that content itself chooses, so that shifted content gives the same. */
export function samplesOf(bytes: Uint8Array): Set<number> {
  const samples = new Set<number>();
  let hash = 0;
  for (let i = 0; i < bytes.length; i++) {
    hash = ((hash << WINDOW_SHIFT) + (GEAR[bytes[i] as number] as number)) | 0;
    if (((hash >>> 20) & SAMPLE_MASK) === 0 && i >= 31) {
      samples.add(hash);
      if (samples.size === SAMPLES_MAX) break;
    }
  }
  return samples;
}

/** A path with its digits taken out, so that versions and hashes in names do not matter. */
export function pathWithoutVersion(path: string): string {
  return path.replace(/[0-9]+/g, '#');
}

/** An index of base files by their samples. */
export class LikenessIndex {
  readonly #files = new Map<number, number>();

  /** Takes a file in; of files that share a sample the first one counts. */
  add(file: number, bytes: Uint8Array): void {
    for (const sample of samplesOf(bytes)) {
      if (!this.#files.has(sample)) this.#files.set(sample, file);
    }
  }

  /** The file that shares most samples with these bytes; undefined when too few agree. */
  find(bytes: Uint8Array): number | undefined {
    const votes = new Map<number, number>();
    let most: { file: number; votes: number } | undefined;
    const samples = samplesOf(bytes);
    for (const sample of samples) {
      const file = this.#files.get(sample);
      if (file === undefined) continue;
      const count = (votes.get(file) ?? 0) + 1;
      votes.set(file, count);
      if (most === undefined || count > most.votes) most = { file, votes: count };
    }
    return most !== undefined && most.votes * 20 >= samples.size ? most.file : undefined;
  }
}
