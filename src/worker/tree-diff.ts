import { mkdtempSync, rmdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { type ByteString, fromText } from '../formats/byte-string.ts';
import { MNT } from '../kernel/constants.ts';
import { mountOverlay } from '../kernel/mount.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { OpenDirectory } from '../kernel/tree-walk.ts';
import { REDIRECT } from '../store/layers/objects.ts';
import type { TreeDiffInput } from './tree-protocol.ts';
import { enterOwnMounts, isAbsent } from './tree-view.ts';

/**
 * The difference between a container and its image: a walk of the writable layer, which overlayfs
 * keeps (kernel filesystems/overlayfs). What a name is is looked up in the merged tree, because the
 * writable layer may hold stubs whose content lies below.
 */
export type DiffVisitor = {
  /** A name that is there; `inMerged` is where to read it, `below` says that a lower layer has it. */
  readonly present: (at: {
    readonly path: ByteString;
    readonly inMerged: OpenDirectory;
    readonly name: ByteString;
    readonly isDirectory: boolean;
    readonly below: boolean;
  }) => Promise<void> | void;
  /** A name of a lower layer that is there no more. */
  readonly deleted: (path: ByteString) => Promise<void> | void;
  /** A directory that hides the one below it. */
  readonly opaque: (path: ByteString) => Promise<void> | void;
};

const OPAQUE = 'trusted.overlay.opaque';

/** Calls the visitor for each difference, parents before what is in them. */
export async function walkDiff(
  sys: Syscalls,
  input: TreeDiffInput,
  visitor: DiffVisitor,
): Promise<void> {
  using below = openLower(sys, input);
  using upper = OpenDirectory.open(sys, input.upper);
  using merged = OpenDirectory.open(sys, input.merged);
  const ignored = new Set(input.ignored.map((each) => fromText(each)));
  await walk({ sys, visitor, ignored }, { upper, merged, below, path: '' as ByteString });
}

/** What stays the same through a walk. */
export type Constant = {
  readonly sys: Syscalls;
  readonly visitor: DiffVisitor;
  readonly ignored: ReadonlySet<ByteString>;
};
type Level = {
  readonly upper: OpenDirectory;
  readonly merged: OpenDirectory;
  /** Undefined when no lower layer has this directory. */
  readonly below: OpenDirectory | undefined;
  readonly path: ByteString;
};

async function walk(constant: Constant, level: Level): Promise<void> {
  const { sys, visitor, ignored } = constant;
  for (const name of level.upper.names()) {
    const full = `${level.path}/${name}` as ByteString;
    if (ignored.has(full)) continue;
    const own = level.upper.stat(name);
    if (own === undefined) continue;
    const lower = level.below?.stat(name);
    if (own.isCharacterDevice() && own.rdev === 0n) {
      if (lower !== undefined) await visitor.deleted(full);
      continue;
    }
    const isDirectory = own.isDirectory();
    if (
      isDirectory &&
      lower?.isDirectory() &&
      holdsOnlyIgnored(constant, level.upper, name, full)
    ) {
      continue;
    }
    await visitor.present({
      path: full,
      inMerged: level.merged,
      name,
      isDirectory,
      below: lower !== undefined,
    });
    using merged = isDirectory ? enterIfThere(level.merged, name) : undefined;
    if (merged === undefined) continue;
    if (isRenamed(sys, level.upper, name)) {
      if (lower?.isDirectory()) await visitor.opaque(full);
      await walkNew(constant, merged, full);
      continue;
    }
    using upper = enterIfThere(level.upper, name);
    if (upper === undefined) continue;
    const isOpaque = isOpaqueDirectory(sys, level.upper, name);
    if (isOpaque) await visitor.opaque(full);
    using below = lower?.isDirectory() && !isOpaque ? level.below?.enter(name) : undefined;
    await walk(constant, { upper, merged, below, path: full });
  }
}

/**
 * All that is in a directory that lay elsewhere before: in the writable layer it is only what
 * changed since, and a layer has no way to say where the rest came from.
 */
export async function walkNew(
  constant: Constant,
  directory: OpenDirectory,
  path: ByteString,
): Promise<void> {
  const { visitor, ignored } = constant;
  for (const name of directory.names()) {
    const full = `${path}/${name}` as ByteString;
    const stats = directory.stat(name);
    if (stats === undefined || ignored.has(full)) continue;
    const isDirectory = stats.isDirectory();
    await visitor.present({ path: full, inMerged: directory, name, isDirectory, below: false });
    using inside = isDirectory ? enterIfThere(directory, name) : undefined;
    if (inside !== undefined) await walkNew(constant, inside, full);
  }
}

/** A directory of the image that is in the writable layer only for what the engine put there. */
function holdsOnlyIgnored(
  { ignored }: Constant,
  parent: OpenDirectory,
  name: ByteString,
  full: ByteString,
): boolean {
  using directory = enterIfThere(parent, name);
  if (directory === undefined) return false;
  const names = directory.names();
  return names.length > 0 && names.every((each) => ignored.has(`${full}/${each}` as ByteString));
}

/** Undefined when the container has removed the directory meanwhile. */
export function enterIfThere(parent: OpenDirectory, name: ByteString): OpenDirectory | undefined {
  try {
    return parent.enter(name);
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  }
}

/** A directory that hides what the layers below have of it. */
export function isOpaqueDirectory(sys: Syscalls, parent: OpenDirectory, name: ByteString): boolean {
  return Buffer.from(attribute(sys, parent, name, OPAQUE) ?? []).toString() === 'y';
}

/** A directory of the image that the container renamed. */
function isRenamed(sys: Syscalls, parent: OpenDirectory, name: ByteString): boolean {
  return attribute(sys, parent, name, REDIRECT) !== undefined;
}

/** An extended attribute of a name in a directory, of the file itself; undefined when it has none. */
export function attribute(
  sys: Syscalls,
  parent: OpenDirectory,
  name: ByteString,
  which: string,
): Uint8Array | undefined {
  return sys.lgetxattr(Buffer.concat([parent.at(name), Buffer.of(0)]), which);
}

/** All lower layers as one tree. Mounted in a namespace of this process's own. */
function openLower(
  sys: Syscalls,
  { lower, data }: Pick<TreeDiffInput, 'lower' | 'data'>,
): OpenDirectory {
  const [only, ...others] = lower;
  if (only !== undefined && others.length === 0) return OpenDirectory.open(sys, only);
  enterOwnMounts(sys);
  const target = mkdtempSync(path.join(os.tmpdir(), 'coracle-lower-'));
  try {
    mountOverlay(sys, { lower, data, upper: undefined, work: undefined, target });
    const opened = OpenDirectory.open(sys, target);
    sys.umount(target, MNT.DETACH);
    return opened;
  } finally {
    rmdirSync(target);
  }
}
