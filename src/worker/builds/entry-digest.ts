import { createHash, type Hash } from 'node:crypto';
import { closeSync, readSync } from 'node:fs';
import { internal } from '../../base/errors.ts';
import { type ByteString, toBytes } from '../../formats/byte-string.ts';
import { kindOfFile, type TarEntry } from '../../formats/tar-entry.ts';
import type { OpenDirectory } from '../../kernel/tree-walk.ts';

/**
 * The digest of a file that a build copies: its content and all that the copy keeps of it, but for
 * its times. Two files with one digest make the same layer.
 */
export type DigestedEntry = Pick<
  TarEntry,
  'kind' | 'path' | 'link' | 'mode' | 'uid' | 'gid' | 'sizeBytes' | 'major' | 'minor' | 'xattrs'
>;

/** A digest that has what stands before the content. */
export function beginDigest(entry: DigestedEntry): Hash {
  const hash = createHash('sha256');
  const { kind, path, link, mode, uid, gid, sizeBytes, major, minor } = entry;
  const name = path.replace(/^(?:\.?\/)+|\/+$/g, '');
  hash.update(JSON.stringify([kind, name, link, mode, uid, gid, sizeBytes, major, minor]));
  for (const { name: key, value } of [...entry.xattrs].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    hash.update(`${key}=${Buffer.from(value).toString('hex')};`);
  }
  return hash;
}

const CHUNK_BYTES = 256 << 10;

/**
 * The digests of a file, or of all that is in a folder, of a mounted image. `name` is looked up in
 * `parent`, `as` is its path.
 */
export function digestTree(parent: OpenDirectory, name: ByteString, as: ByteString): string[] {
  const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  const digests: string[] = [];
  const visit = (at: OpenDirectory, each: ByteString, path: ByteString, isTop: boolean): void => {
    const stats = at.stat(each);
    if (stats === undefined) return;
    const kind = kindOfFile(stats);
    if (kind === undefined) return;
    const hash = beginDigest({
      ...{ kind, path, mode: Number(stats.mode) & 0o7777 },
      ...{ uid: Number(stats.uid), gid: Number(stats.gid), xattrs: [] },
      link: kind === 'symlink' ? at.readLink(each) : ('' as ByteString),
      sizeBytes: kind === 'file' ? Number(stats.size) : 0,
      ...{ major: Number(stats.rdev), minor: 0 },
    });
    if (kind === 'file') addContent(hash, at, each, chunk);
    if (!isTop || kind !== 'directory') digests.push(hash.digest('hex'));
    if (kind !== 'directory') return;
    using inside = at.enter(each);
    for (const below of inside.names()) {
      visit(inside, below, `${path}/${below}` as ByteString, false);
    }
  };
  visit(parent, name, as, true);
  return digests;
}

function addContent(hash: Hash, at: OpenDirectory, name: ByteString, chunk: Buffer): void {
  const fd = at.openFile(name);
  if (fd === undefined) throw internal(`cannot read ${toBytes(name).toString()} of an image`);
  try {
    for (let n = readSync(fd, chunk); n > 0; n = readSync(fd, chunk)) {
      hash.update(chunk.subarray(0, n));
    }
  } finally {
    closeSync(fd);
  }
}

/** One digest for a folder's. */
export function folderDigest(digests: readonly string[]): string {
  return createHash('sha256')
    .update([...digests].sort().join(','))
    .digest('hex');
}
