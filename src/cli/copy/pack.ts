import { createReadStream } from 'node:fs';
import { lstat, opendir, readlink } from 'node:fs/promises';
import { splitDevice } from '../../base/device-number.ts';
import { type ByteString, byteString, fromText } from '../../formats/byte-string.ts';
import { kindOfFile } from '../../formats/tar-entry.ts';
import { encodeTarHeader, TAR_END, tarPadding } from '../../formats/tar-writer.ts';

const NS = 1_000_000_000n;
const SLASH = Buffer.from('/');

/** What of a tree goes into an archive, and as whose. */
export type PackOptions = {
  /** Asked for each name below the top: its path, slashes between. */
  readonly leavesOut?: (path: ByteString) => 'no' | 'itself' | 'all below';
  /** Whom all files belong to; their own users by default. */
  readonly owner?: { readonly uid: number; readonly gid: number };
  /** Without the end of the archive: more comes behind it. */
  readonly isOpen?: boolean;
};

/**
 * A local file or tree as a tar, its top called `name` (`.` for a folder's contents). Files that
 * are linked several times within it stay so; sockets are left out.
 */
export async function* packTree(
  top: string,
  name: string,
  options: PackOptions = {},
): AsyncGenerator<Buffer> {
  const seen = new Map<string, ByteString>();
  yield* packNode(Buffer.from(top), fromText(name), { seen, options });
  if (options.isOpen !== true) yield TAR_END;
}

type Packing = { readonly seen: Map<string, ByteString>; readonly options: PackOptions };

async function* packNode(
  place: Buffer,
  name: ByteString,
  packing: Packing,
): AsyncGenerator<Buffer> {
  const { seen, options } = packing;
  const out = options.leavesOut?.(name) ?? 'no';
  if (out === 'all below') return;
  const stats = await lstat(place, { bigint: true });
  const kind = kindOfFile(stats);
  if (kind === undefined) return;
  const facts = {
    path: name,
    mode: Number(stats.mode & 0o7777n),
    uid: options.owner?.uid ?? Number(stats.uid),
    gid: options.owner?.gid ?? Number(stats.gid),
    mtime: { sec: Number(stats.mtimeNs / NS), nsec: Number(stats.mtimeNs % NS) },
  };
  if (out === 'itself' && kind !== 'directory') return;
  const inode = `${stats.dev}:${stats.ino}`;
  const first = seen.get(inode);
  if (kind === 'file' && stats.nlink > 1n) {
    if (first !== undefined) {
      yield encodeTarHeader({ ...facts, kind: 'hardlink', link: first });
      return;
    }
    seen.set(inode, name);
  }
  switch (kind) {
    case 'file':
      yield encodeTarHeader({ ...facts, kind, sizeBytes: Number(stats.size) });
      yield* contentOf(place, Number(stats.size));
      return;
    case 'symlink': {
      const link = byteString(await readlink(place, { encoding: 'buffer' }));
      yield encodeTarHeader({ ...facts, kind, link });
      return;
    }
    case 'directory':
      if (out === 'no') yield encodeTarHeader({ ...facts, kind });
      for (const child of await namesIn(place)) {
        const inside = `${name}/${byteString(child)}` as ByteString;
        yield* packNode(Buffer.concat([place, SLASH, child]), inside, packing);
      }
      return;
    case 'hardlink': // a name of a file, which lstat shows as the file
      return;
    case 'fifo':
    case 'char':
    case 'block':
      yield encodeTarHeader({ ...facts, kind, ...splitDevice(Number(stats.rdev)) });
  }
}

async function namesIn(folder: Buffer): Promise<Buffer[]> {
  const names: Buffer[] = [];
  // opendir's types know of text only; with this encoding it gives bytes.
  const options = { encoding: 'buffer' as BufferEncoding };
  for await (const entry of await opendir(folder, options)) {
    names.push(entry.name as unknown as Buffer);
  }
  return names.sort((a, b) => Buffer.compare(a, b));
}

/** Exactly as many bytes as the header says, also of a file that grows or shrinks meanwhile. */
async function* contentOf(place: Buffer, sizeBytes: number): AsyncGenerator<Buffer> {
  let left = sizeBytes;
  if (left > 0) {
    for await (const chunk of createReadStream(place, { end: sizeBytes - 1 })) {
      left -= (chunk as Buffer).length;
      yield chunk as Buffer;
    }
  }
  for (; left > 0; left -= Math.min(left, TAR_END.length)) {
    yield TAR_END.subarray(0, Math.min(left, TAR_END.length));
  }
  yield tarPadding(sizeBytes);
}
