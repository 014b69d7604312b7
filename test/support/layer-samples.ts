import { createHash } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import fc from 'fast-check';
import { type ByteString, fromText, pathArg, toBytes } from '../../src/formats/byte-string.ts';
import type { Syscalls } from '../../src/kernel/syscalls.ts';
import type { LayerEntry } from './images.ts';

/** Random layers that have much in common, and trees as values that can be compared. */

const LARGE = Buffer.alloc(400_000, 'a large file, which is compared as it comes\n');
const LATE = Buffer.from(LARGE);
LATE[390_000] = 0;
const CONTENTS = [
  ...['', 'x', 'a small file\n', 'x'.repeat(5000)].map((text) => Buffer.from(text)),
  ...[LARGE, LATE, LARGE.subarray(0, 131_072), LARGE.subarray(0, 131_073)],
];
const NAMES = ['a', 'b', 'c', 'd/a', 'd/b', 'd/c', 'e/a', 'e/b', 'e/f/g'];

const pick = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const metadata = fc.record({
  mtime: pick([1_600_000_000_000, 1_600_000_001_000]).map((ms) => new Date(ms)),
  mode: pick([0o644, 0o644, 0o600, 0o4755]),
  uid: pick([0, 0, 7]),
  pax: pick<Record<string, string>>([{}, {}, { 'SCHILY.xattr.user.k': 'v' }]),
});
const file = fc
  .record({ name: pick(NAMES), content: pick(CONTENTS), metadata })
  .map(({ metadata: own, ...rest }): LayerEntry => ({ ...rest, ...own }));
const link = fc
  .record({ name: pick(NAMES), linkname: pick(NAMES) })
  .map(({ name, linkname }): LayerEntry => ({ name: `${name}-link`, type: 'link', linkname }));
const symlink = pick(NAMES).map(
  (name): LayerEntry => ({ name: `${name}-symlink`, type: 'symlink', linkname: 'x' }),
);
const folder = fc
  .record({ name: pick(['d/', 'e/', 'e/f/']), mode: pick([0o755, 0o700]) })
  .map((entry): LayerEntry => ({ ...entry, type: 'directory' }));
const entries = fc.array(fc.oneof({ weight: 6, arbitrary: file }, link, symlink, folder), {
  minLength: 3,
  maxLength: 25,
});
const whiteout = pick(['.wh.a', 'd/.wh.b', 'e/.wh..wh..opq']).map(
  (name): LayerEntry => ({ name, content: '' }),
);

/** Directories that no entry speaks of have the time at which they were made. */
const FOLDERS = ['./', 'd/', 'e/', 'e/f/'].map((name): LayerEntry => ({ name, type: 'directory' }));

/** Hard links lead to files that came before them; tar has no others. */
function withTargets(entries: readonly LayerEntry[]): LayerEntry[] {
  const files = new Set<string>();
  return [...FOLDERS, ...entries].filter(({ type = 'file', name, linkname = '' }) => {
    if (type === 'file') files.add(name);
    return type !== 'link' || files.has(linkname);
  });
}

/** Two layers, the lower one first. The upper one has some entries of the lower one as they are. */
export const layerPair: fc.Arbitrary<[LayerEntry[], LayerEntry[]]> = fc
  .record({ lower: entries, upper: entries, hidden: fc.array(whiteout, { maxLength: 2 }) })
  .map(({ lower, upper, hidden }) => [
    withTargets(lower),
    withTargets([...hidden, ...lower.slice(0, lower.length / 2), ...upper]),
  ]);

/** All that a program can see of a tree, by path (latin1); names of one file have the same `same`. */
export function treeOf(sys: Syscalls, root: string): Record<string, unknown> {
  const tree: Record<string, unknown> = {};
  const top = fromText(root);
  const firstNames = new Map<string, string>();
  const visit = (name: string): void => {
    const place = path.posix.join(top, name) as ByteString;
    const full = toBytes(place);
    const stats = lstatSync(full, { bigint: true });
    const isDirectory = stats.isDirectory();
    const identity = `${stats.dev} ${stats.ino}`;
    const first = firstNames.get(identity) ?? name;
    firstNames.set(identity, first);
    tree[name] = {
      ...{ mode: stats.mode.toString(8), uid: stats.uid, gid: stats.gid },
      // The root is the writable layer's own.
      mtime: name === '' ? 0n : stats.mtimeNs,
      ...(isDirectory ? {} : { size: stats.size, same: first }),
      content: stats.isFile()
        ? createHash('sha256').update(readFileSync(full)).digest('hex')
        : stats.isSymbolicLink()
          ? readlinkSync(full)
          : '',
      xattrs: sys
        .llistxattr(pathArg(place))
        .map((each) => [each, String(sys.lgetxattr(pathArg(place), each))]),
    };
    if (!isDirectory) return;
    for (const each of readdirSync(full, 'latin1').sort()) visit(path.join(name, each));
  };
  visit('');
  return tree;
}
