import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync } from 'node:fs';
import { TarReader } from '../src/formats/tar-reader.ts';

const PIECE_BYTES = 1 << 20;
const BLOCK_BYTES = 4096;

/** A file's content: its digest, and that of each of its blocks; one of zeros is ''. */
type Content = { readonly digest: string; readonly bytes: number; readonly blocks: string[] };

const sumOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64');

/** The contents of a layer's files. */
function contentsOf(file: string, each: (content: Content) => void): void {
  let content: Buffer | undefined;
  let filled = 0;
  const tar = new TarReader({
    entry: ({ sizeBytes, kind }) => {
      content = sizeBytes > 0 && kind === 'file' ? Buffer.alloc(sizeBytes) : undefined;
      filled = 0;
    },
    content: (piece) => {
      if (content !== undefined) filled += piece.copy(content, filled);
    },
    entryEnd: () => {
      if (content === undefined) return;
      const blocks: string[] = [];
      for (let at = 0; at < content.length; at += BLOCK_BYTES) {
        const block = content.subarray(at, at + BLOCK_BYTES);
        blocks.push(block.some((byte) => byte !== 0) ? sumOf(block) : '');
      }
      each({ digest: sumOf(content), bytes: content.length, blocks });
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

/** Of the contents that no file of the base has, each once; bytes. */
export type ChangedBytes = {
  /** As files are long: less cannot be written where files do not share blocks. */
  readonly contents: number;
  /** In whole blocks, as most filesystems lay files down. */
  readonly inBlocks: number;
  /** Of these blocks those that a file of the base has too, and those of zeros. */
  readonly known: number;
};

/** What an update has to write at least. */
export function changedBytes(base: readonly string[], target: readonly string[]): ChangedBytes {
  const known = new Set<string>();
  const blocksOfBase = new Set(['']);
  for (const file of base) {
    contentsOf(file, ({ digest, blocks }) => {
      known.add(digest);
      for (const block of blocks) blocksOfBase.add(block);
    });
  }
  const sum = { contents: 0, inBlocks: 0, known: 0 };
  for (const file of target) {
    contentsOf(file, ({ digest, bytes, blocks }) => {
      if (known.has(digest)) return;
      known.add(digest);
      sum.contents += bytes;
      sum.inBlocks += blocks.length * BLOCK_BYTES;
      sum.known += blocks.filter((block) => blocksOfBase.has(block)).length * BLOCK_BYTES;
    });
  }
  return sum;
}
