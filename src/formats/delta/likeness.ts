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

/** A path with its numbers and hexadecimal hashes taken out: those of two versions often agree. */
export function pathWithoutVersion(path: string): string {
  return path.replace(/[0-9a-f]*[0-9][0-9a-f]*/g, '#');
}

/** Files that are remembered for one sample: content that more of them have tells little. */
const FILES_PER_SAMPLE_MAX = 4;
/** Of a file's samples, the share that a likely source has of it. */
const SHARE_MIN = 0.05;

/** A file of the base that shares content with another one. */
export type Alike = {
  readonly file: number;
  /** Samples that both have. */
  readonly shared: number;
};

/** Samples that two contents share. */
export function sharedSamples(samples: ReadonlySet<number>, bytes: Uint8Array): number {
  let shared = 0;
  for (const sample of samplesOf(bytes)) if (samples.has(sample)) shared += 1;
  return shared;
}

/** An index of base files by their samples. */
export class LikenessIndex {
  readonly #files = new Map<number, number[]>();

  /** Takes a file in. */
  add(file: number, bytes: Uint8Array): void {
    for (const sample of samplesOf(bytes)) {
      const files = this.#files.get(sample);
      if (files === undefined) this.#files.set(sample, [file]);
      else if (files.length < FILES_PER_SAMPLE_MAX) files.push(file);
    }
  }

  /** The file that shares most of these samples, the earliest of equal ones; undefined: too few. */
  find(samples: ReadonlySet<number>): Alike | undefined {
    const votes = new Map<number, number>();
    for (const sample of samples) {
      for (const file of this.#files.get(sample) ?? []) {
        votes.set(file, (votes.get(file) ?? 0) + 1);
      }
    }
    let most: Alike | undefined;
    for (const [file, shared] of votes) {
      const isMore = most === undefined || shared > most.shared;
      if (isMore || (shared === most?.shared && file < most.file)) most = { file, shared };
    }
    return most !== undefined && most.shared >= samples.size * SHARE_MIN ? most : undefined;
  }
}
