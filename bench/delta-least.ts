import { createHash, type Hash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { TarReader } from '../src/formats/tar-reader.ts';

const PIECE_BYTES = 1 << 20;
const BLOCK_BYTES = 4096;

/** The contents of a layer's files, as digest and length. */
function contentsOf(file: string, each: (digest: string, bytes: number) => void): void {
  let hash: Hash | undefined;
  let bytes = 0;
  const tar = new TarReader({
    entry: (entry) => {
      bytes = entry.sizeBytes;
      hash = bytes > 0 && entry.kind === 'file' ? createHash('sha256') : undefined;
    },
    content: (piece) => hash?.update(piece),
    entryEnd: () => {
      if (hash !== undefined) each(hash.digest('hex'), bytes);
      hash = undefined;
    },
  });
  const fd = openSync(file, 'r');
  const piece = Buffer.allocUnsafe(PIECE_BYTES);
  for (let read = -1; read !== 0; ) {
    read = readSync(fd, piece);
    tar.push(piece.subarray(0, read));
  }
  closeSync(fd);
}

/**
 * What the contents take on a disk that no file of the base has, each once, in whole blocks: less
 * cannot be written where files do not share blocks. Bytes.
 */
export function changedBytes(base: readonly string[], target: readonly string[]): number {
  const known = new Set<string>();
  for (const file of base) contentsOf(file, (digest) => known.add(digest));
  let sum = 0;
  for (const file of target) {
    contentsOf(file, (digest, bytes) => {
      if (known.has(digest)) return;
      known.add(digest);
      sum += Math.ceil(bytes / BLOCK_BYTES) * BLOCK_BYTES;
    });
  }
  return sum;
}
