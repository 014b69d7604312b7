import type { BigIntStats } from 'node:fs';
import { type ByteString, fromText } from '../formats/byte-string.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { OpenDirectory } from '../kernel/tree-walk.ts';
import { isWhiteout } from '../store/layers/whiteout.ts';
import {
  attribute,
  type Constant,
  type DiffVisitor,
  enterIfThere,
  isOpaqueDirectory,
  walkNew,
} from './tree-diff.ts';
import type { TreeDiffInput } from './tree-protocol.ts';

/** The layers below as one directory, put together here because there is no overlayfs to do it. */
class LayeredDirectory implements Disposable {
  readonly #sys: Syscalls;
  /** Those that show through, top first. */
  readonly #layers: readonly OpenDirectory[];

  constructor(sys: Syscalls, layers: readonly OpenDirectory[]) {
    this.#sys = sys;
    this.#layers = layers;
  }

  /** Of all layers, those too that are hidden. */
  names(): ByteString[] {
    return this.#layers.flatMap((layer) => layer.names());
  }

  /** The topmost file of this name, with the layer that has it; undefined when it is hidden or nowhere. */
  find(
    name: ByteString,
  ): { readonly stats: BigIntStats; readonly inLayer: OpenDirectory } | undefined {
    for (const layer of this.#layers) {
      const stats = layer.stat(name);
      if (stats === undefined) continue;
      const hides = isWhiteout(this.#sys, Buffer.concat([layer.at(name), Buffer.of(0)]), stats);
      return hides ? undefined : { stats, inLayer: layer };
    }
    return undefined;
  }

  /** A directory of this name with all that shows through it. @throws ENOTDIR for another file */
  enter(name: ByteString): LayeredDirectory {
    const entered: OpenDirectory[] = [];
    for (const layer of this.#layers) {
      const stats = layer.stat(name);
      if (stats === undefined) continue;
      if (!stats.isDirectory() && entered.length > 0) break;
      entered.push(layer.enter(name));
      if (isOpaqueDirectory(this.#sys, layer, name)) break;
    }
    return new LayeredDirectory(this.#sys, entered);
  }

  [Symbol.dispose](): void {
    for (const layer of this.#layers) layer[Symbol.dispose]();
  }
}

type Level = {
  /** The container's copy, without what the runtime mounts over it. */
  readonly own: OpenDirectory;
  readonly merged: OpenDirectory;
  readonly below: LayeredDirectory;
  readonly path: ByteString;
  /** Tells of this directory, once; called when something in it differs. */
  readonly announce: () => Promise<void>;
};

/**
 * The difference between a container that is a whole copy of its image's files and the image: the
 * two trees side by side. A directory that differs in nothing but its times is told of only for
 * what differs in it, as overlayfs does. Contents are taken for equal when size and time are.
 */
export async function walkCopyDiff(
  sys: Syscalls,
  input: TreeDiffInput,
  visitor: DiffVisitor,
): Promise<void> {
  const layers = input.lower.map((layer) => OpenDirectory.open(sys, layer));
  using below = new LayeredDirectory(sys, layers);
  using own = OpenDirectory.open(sys, input.upper);
  using merged = OpenDirectory.open(sys, input.merged);
  const ignored = new Set(input.ignored.map((each) => fromText(each)));
  const announce = async (): Promise<void> => undefined;
  await walk({ sys, visitor, ignored }, { own, merged, below, path: '' as ByteString, announce });
}

async function walk(constant: Constant, level: Level): Promise<void> {
  const { visitor, ignored } = constant;
  const there = new Set(level.own.names());
  for (const name of [...new Set([...there, ...level.below.names()])].sort()) {
    const full = `${level.path}/${name}` as ByteString;
    if (ignored.has(full)) continue;
    const stats = there.has(name) ? level.own.stat(name) : undefined;
    if (stats !== undefined) {
      await compare(constant, level, { name, full, stats });
      continue;
    }
    if (level.below.find(name) === undefined) continue;
    await level.announce();
    await visitor.deleted(full);
  }
}

async function compare(
  constant: Constant,
  level: Level,
  { name, full, stats }: { name: ByteString; full: ByteString; stats: BigIntStats },
): Promise<void> {
  const { sys, visitor } = constant;
  const lower = level.below.find(name);
  const isDirectory = stats.isDirectory();
  let isTold = false;
  const announce = async (): Promise<void> => {
    if (isTold) return;
    isTold = true;
    await level.announce();
    const at = { path: full, inMerged: level.merged, name, isDirectory };
    await visitor.present({ ...at, below: lower !== undefined });
  };
  const isChanged =
    lower === undefined ||
    differs(lower.stats, stats) ||
    capabilities(sys, lower.inLayer, name) !== capabilities(sys, level.own, name);
  if (isChanged) await announce();
  using merged = isDirectory ? enterIfThere(level.merged, name) : undefined;
  if (merged === undefined) return;
  if (lower?.stats.isDirectory() !== true) {
    await walkNew(constant, merged, full);
    return;
  }
  using own = enterIfThere(level.own, name);
  if (own === undefined) return;
  using below = level.below.enter(name);
  await walk(constant, { own, merged, below, path: full, announce });
}

function differs(before: BigIntStats, now: BigIntStats): boolean {
  if (before.mode !== now.mode || before.uid !== now.uid || before.gid !== now.gid) return true;
  if (now.isDirectory()) return false;
  return before.rdev !== now.rdev || before.size !== now.size || before.mtimeNs !== now.mtimeNs;
}

function capabilities(sys: Syscalls, parent: OpenDirectory, name: ByteString): string {
  return Buffer.from(attribute(sys, parent, name, 'security.capability') ?? []).toString('hex');
}
