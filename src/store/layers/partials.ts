import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { type Digest, hexOf } from '../../base/digest.ts';
import { errnoOf } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { type DataRoot, dataRootAt } from '../paths.ts';
import {
  CHECKPOINT,
  CHECKPOINT_KINDS,
  type CheckpointKind,
  type CheckpointOf,
  findCheckpoint,
  type LayerCheckpoint,
} from './layer-checkpoint.ts';
import { dataRootOf } from './objects.ts';

/**
 * Layers that a pull could not bring to their end, because the link, the engine or the power went:
 * `partial/HEX`, named by the blob's digest. The next pull of the layer takes it from there and goes
 * on. They are few, and go when the layer has come, after a time, or when images are pruned.
 */
function placeOf(dataRoot: DataRoot, digest: Digest): string {
  return path.join(dataRoot.partial, hexOf(digest));
}

/** Keeps what a pull's folder in staging has of layers that can be gone on with. */
export function keepPartials(dataRoot: DataRoot, operation: string): void {
  for (const name of names(operation)) {
    const directory = path.join(operation, name);
    const checkpoint = findCheckpoint(directory, CHECKPOINT_KINDS);
    if (checkpoint === undefined) continue;
    const place = placeOf(dataRoot, checkpoint.digest);
    const before = findCheckpoint(place, CHECKPOINT_KINDS);
    const { outputBytes } = checkpoint.point;
    if (before !== undefined && before.point.outputBytes >= outputBytes) continue;
    mkdirSync(dataRoot.partial, { recursive: true, mode: 0o700 });
    // What was there is in the operation's folder now, and goes with it.
    if (existsSync(place)) renameSync(place, path.join(operation, `${name}-before`));
    renameSync(directory, place);
  }
}

/** What there is of a layer that was cut off: moved into an operation's staging, to be gone on with. */
export type EarlierPart<C extends LayerCheckpoint = LayerCheckpoint> = {
  readonly directory: string;
  readonly checkpoint: C;
};

/**
 * Takes what has come of a blob; undefined when there is nothing, or nothing of this kind.
 * `to` is below the staging of the data root.
 */
export function takeEarlier<K extends CheckpointKind>(
  digest: Digest,
  kinds: readonly K[],
  to: string,
): EarlierPart<CheckpointOf<K>> | undefined {
  const root = dataRootOf(to);
  if (root === undefined) return undefined;
  if (!takePartial(dataRootAt(root).partial, digest, to)) return undefined;
  const checkpoint = findCheckpoint(to, kinds);
  if (checkpoint?.digest === digest) return { directory: to, checkpoint };
  dropPartial(to);
  return undefined;
}

function takePartial(partial: string, digest: Digest, to: string): boolean {
  try {
    renameSync(path.join(partial, hexOf(digest)), to);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** The part of a blob that has come by now; undefined when there is none. */
export function findPartial(dataRoot: DataRoot, digest: Digest): string | undefined {
  const place = placeOf(dataRoot, digest);
  return existsSync(place) ? place : undefined;
}

/** Folders of parts that are too many or too old, or without a checkpoint; `all` names every one. */
export function stalePartials(dataRoot: DataRoot, nowMs: number, all = false): string[] {
  const known = names(dataRoot.partial).map((name) => {
    const directory = path.join(dataRoot.partial, name);
    const stats = statSync(path.join(directory, CHECKPOINT), { throwIfNoEntry: false });
    return { directory, atMs: stats?.mtimeMs ?? 0 };
  });
  return known
    .toSorted((a, b) => b.atMs - a.atMs)
    .filter(
      ({ atMs }, i) => all || i >= LIMITS.partialLayersMax || nowMs - atMs > LIMITS.partialLayerMs,
    )
    .map(({ directory }) => directory);
}

/** A part turned out to be of no use. */
export function dropPartial(directory: string): void {
  rmSync(directory, { recursive: true, force: true });
}

function names(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return [];
    throw error;
  }
}
