import { type Dirent, readdirSync, renameSync } from 'node:fs';
import { opendir, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { dataLoss, errnoOf } from '../../base/errors.ts';
import { type ByteString, fromText, pathArg, toBytes } from '../../formats/byte-string.ts';
import { decodeLayerContents } from '../../formats/layer-contents.ts';
import { readLayerHeaders } from '../../formats/layer-headers.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import { CWD, type Syscalls } from '../../kernel/syscalls.ts';
import {
  bucketOf,
  type ObjectName,
  objectPlace,
  parseObjectPlace,
  STAGED_OBJECTS,
} from './object-place.ts';

/**
 * Contents that layers share. `objects/GROUP/BUCKET/NUMBER` (`object-place.ts`) is one more name (a
 * hard link) of a file of the layer GROUP, the folder of that layer below `layers/`. Another layer
 * that has the same content has a hard link of the file itself when all else is equal too, or a
 * stub: a sparse file with its own owner, mode and times that says where its content is
 * (`trusted.overlay.metacopy`, `trusted.overlay.redirect=/GROUP/BUCKET/NUMBER`; overlayfs with
 * `objects` as a data-only layer).
 *
 * Each layer lists what it uses in its file `contents`, so nothing is counted. When a layer goes,
 * its group stays, trimmed to what layers that are here list.
 */

/** The file beside `diff/` and `headers` that lists a layer's contents (`formats/layer-contents.ts`). */
export const CONTENTS = 'contents';

export const METACOPY = 'trusted.overlay.metacopy';
export const REDIRECT = 'trusted.overlay.redirect';

/** The value of {@link METACOPY}. */
export const NO_VALUE = Buffer.alloc(0);

/** The value of {@link REDIRECT} of a file whose content is this object. */
export function redirectTo(object: ObjectName): Buffer {
  return Buffer.from(`/${objectPlace(object)}`);
}

/** Is there where overlayfs on this data root can show stubs: workers look at it. */
export function metacopyMarker(objects: string): string {
  return path.join(objects, '.metacopy');
}

/** Is there where overlayfs can show the image of a layer's names (`layer-images.ts`) too. */
export function imagesMarker(objects: string): string {
  return path.join(objects, '.images');
}

/** The data root that a staged or committed layer's folder lies in; undefined for any other folder. */
export function dataRootOf(layerDirectory: string): string | undefined {
  for (
    let folder = layerDirectory;
    folder !== path.dirname(folder);
    folder = path.dirname(folder)
  ) {
    const parent = path.dirname(folder);
    const name = path.basename(parent);
    if (name === 'staging' || name === 'layers') return path.dirname(parent);
  }
  return undefined;
}

/** The folder with the objects of all layers beside the one in `layerDirectory`. */
export function objectsBeside(layerDirectory: string): string {
  return path.join(dataRootOf(layerDirectory) ?? layerDirectory, 'objects');
}

/** True for a file whose content lies elsewhere; nothing and no regular file is none. */
export function isStub(sys: Syscalls, file: string): boolean {
  return sys.lgetxattr(file, METACOPY) !== undefined;
}

/**
 * Absolute path of the object that an open file of a layer has its content in; undefined for a file
 * that has its own.
 * @throws dataLoss for a stub that leads nowhere
 */
export function objectOf(sys: Syscalls, objects: string, fd: number): string | undefined {
  if (sys.fgetxattr(fd, METACOPY) === undefined) return undefined;
  return path.join(objects, objectPlace(parseRedirect(sys.fgetxattr(fd, REDIRECT))));
}

function parseRedirect(value: Uint8Array | undefined): ObjectName {
  const text = Buffer.from(value ?? []).toString('latin1');
  const object = text.startsWith('/') ? parseObjectPlace(text.slice(1)) : undefined;
  if (object === undefined) throw dataLoss('a stub does not say where its content is');
  return object;
}

/** Makes a staged layer's objects the group `name`; true when it has any. */
export function nameGroup(objects: string, layerDirectory: string, name: string): boolean {
  try {
    renameSync(path.join(layerDirectory, STAGED_OBJECTS), path.join(objects, name));
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/** What trimming works with. */
export type TrimContext = {
  readonly sys: Syscalls;
  readonly objects: string;
  readonly layers: string;
  /** False when a layer has gone since it was begun. */
  readonly isCurrent: () => boolean;
};

/** What of the group of a layer that is gone no layer uses: absolute paths. */
export type UnusedObjects = {
  readonly group: string;
  /** With all that is in them: the group itself, or folders in it. */
  readonly trees: readonly string[];
  readonly files: readonly string[];
};

/**
 * Finds what of the groups of layers that are gone no layer that is here uses. A layer that is
 * committed meanwhile uses only what those that are here do.
 */
export async function findUnusedObjects(
  { sys, objects, layers }: Omit<TrimContext, 'isCurrent'>,
  signal: AbortSignal,
): Promise<UnusedObjects[]> {
  const live = readdirSync(layers);
  const isLive = new Set(live);
  const orphans = new Map<string, Set<number>>();
  for (const name of readdirSync(objects)) {
    if (!isLive.has(name) && !name.startsWith('.')) orphans.set(name, new Set());
  }
  if (orphans.size === 0) return [];
  for (const layer of live) {
    signal.throwIfAborted();
    await noteUses(sys, path.join(layers, layer), orphans);
  }
  const found: UnusedObjects[] = [];
  for (const [group, needed] of orphans) {
    const unused = await findUnused(path.join(objects, group), needed);
    if (unused.trees.length + unused.files.length > 0) found.push({ ...unused, group });
  }
  return found;
}

async function findUnused(
  folder: string,
  needed: ReadonlySet<number>,
): Promise<Omit<UnusedObjects, 'group'>> {
  if (needed.size === 0) return { trees: [folder], files: [] };
  const buckets = new Set(Array.from(needed, bucketOf));
  const trees: string[] = [];
  const files: string[] = [];
  for (const name of await readdir(folder)) {
    const below = `${folder}/${name}`;
    if (buckets.has(name)) {
      const unused = (await readdir(below)).filter((each) => !needed.has(Number(each)));
      files.push(...unused.map((each) => `${below}/${each}`));
    } else trees.push(below);
  }
  return { trees, files };
}

/** Removes what {@link findUnusedObjects} finds; gives the number of groups that it was in. */
export async function trimGroups(context: TrimContext, signal: AbortSignal): Promise<number> {
  const { sys } = context;
  const unused = await findUnusedObjects(context, signal);
  if (!context.isCurrent()) return 0;
  for (const { trees, files } of unused) {
    for (const tree of trees) await removeTree(sys, tree, { signal });
    for (const [i, file] of files.entries()) {
      if (i % SLICE_FILES === 0) {
        await setImmediate();
        signal.throwIfAborted();
      }
      sys.unlinkat(CWD, file, 0);
    }
  }
  return unused.length;
}

const SLICE_FILES = 64;

type Orphans = ReadonlyMap<string, Set<number>>;

async function noteUses(sys: Syscalls, layer: string, orphans: Orphans): Promise<void> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path.join(layer, CONTENTS));
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    // It shares nothing, or has lost its list.
    await noteStubs(sys, fromText(path.join(layer, 'diff')), orphans);
    await noteHeaders(path.join(layer, 'headers'), orphans);
    return;
  }
  const contents = decodeLayerContents(bytes);
  if (!contents.groups.some((group) => orphans.has(group))) return;
  for (let i = 0; i < contents.count; i += 1) {
    const { group, number } = contents.at(i);
    orphans.get(group)?.add(number);
  }
}

/** What the stubs below a folder say that they use: a file that has its own content needs nothing. */
async function noteStubs(sys: Syscalls, folder: ByteString, orphans: Orphans): Promise<void> {
  for await (const entry of await opendirOrNone(folder)) {
    const below = `${folder}/${entry.name}` as ByteString;
    if (entry.isDirectory()) await noteStubs(sys, below, orphans);
    if (!entry.isFile()) continue;
    const file = pathArg(below);
    if (sys.lgetxattr(file, METACOPY) === undefined) continue;
    const { group, number } = parseRedirect(sys.lgetxattr(file, REDIRECT));
    orphans.get(group)?.add(number);
  }
}

/** What the headers say that a layer uses whose names are an image, or were about to become one. */
async function noteHeaders(file: string, orphans: Orphans): Promise<void> {
  let headers: Buffer;
  try {
    headers = await readFile(file);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return;
    throw error;
  }
  let at = 0;
  const read = (n: number): Buffer => {
    at += n;
    return headers.subarray(at - n, at);
  };
  for (const record of readLayerHeaders(read)) {
    if (record.kind !== 'contents' || record.place.kind !== 'object') continue;
    orphans.get(record.place.group)?.add(record.place.number);
  }
}

/** Entries of a directory, with names that are strings of bytes; none of one that went meanwhile. */
async function opendirOrNone(
  folder: ByteString,
): Promise<AsyncIterable<Dirent> | Iterable<Dirent>> {
  try {
    return await opendir(toBytes(folder), { encoding: 'latin1' });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}
