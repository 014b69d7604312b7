import { LIMITS } from '../base/limits.ts';
import type { ByteString } from './byte-string.ts';
import { type ErofsNode, isErofsXattr } from './erofs.ts';
import type { ContentRecord } from './layer-contents.ts';
import {
  classifyLayerName,
  cleanLayerPath,
  isReservedXattr,
  splitLayerPath,
} from './layer-path.ts';
import type { TarEntry } from './tar-entry.ts';
import type { TarXattr } from './tar-pax.ts';

/** What is known of a name. */
type Name = {
  /** Undefined for a directory that was only on the way to another entry, and for a whiteout. */
  entry: TarEntry | undefined;
  /** Undefined for what is no directory. */
  readonly children: Map<ByteString, Name> | undefined;
  /** The content of a file that is not empty. */
  readonly object: ContentRecord | undefined;
  readonly isWhiteout: boolean;
  isOpaque: boolean;
  isLinked: boolean;
};

const MAJOR_MAX = 0xfff;
const MINOR_MAX = 0xfffff;
const NAME_BYTES_MAX = 255;
const TARGET_BYTES_MAX = 4095;
/** Of all of one name: what an inode of an image has room for, with something to spare. */
const XATTR_BYTES_MAX = 128 << 10;
const IMPLIED = { mode: 0o755, uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 } } as const;
const OPAQUE: TarXattr = { name: 'trusted.overlay.opaque', value: Buffer.from('y') };

/**
 * The names of a layer as its entries come to, in memory. It takes what nearly all layers are made
 * of; a real tree has to be made of a layer with anything else: a path that is taken, or leads
 * through a symlink, more names than fit.
 */
export class NameTree {
  readonly #root: Name = directory(undefined);
  #count = 0;
  /** Of paths, targets and attributes. */
  #bytes = 0;
  #last: { readonly path: ByteString; readonly name: Name } = {
    path: '' as ByteString,
    name: this.#root,
  };

  /** False for an entry that it cannot take, or cannot take here. @throws for paths that nothing can take */
  takes(entry: TarEntry): boolean {
    const clean = cleanLayerPath(entry.path);
    if (this.#count >= LIMITS.layerImageNamesMax || !isFit(entry)) return false;
    if (this.#bytes + bytesOf(entry) > LIMITS.layerImageBytesMax) return false;
    if (clean === '') return entry.kind === 'directory';
    const { parent, name } = splitLayerPath(clean);
    if (name.length > NAME_BYTES_MAX) return false;
    const folder = this.#find(parent);
    if (folder === undefined && parent.split('/').some((each) => each.length > NAME_BYTES_MAX)) {
      return false;
    }
    if (folder !== undefined && (folder === 'blocked' || folder.children === undefined))
      return false;
    const special = classifyLayerName(name);
    if (special.kind !== 'plain') return entry.storedBytes === 0;
    const there = folder?.children?.get(name);
    if (entry.kind === 'hardlink') {
      const target = this.#find(cleanLayerPath(entry.link));
      return there === undefined && target !== 'blocked' && target?.entry !== undefined
        ? target.children === undefined
        : false;
    }
    return there === undefined || (entry.kind === 'directory' && there.children !== undefined);
  }

  /** Adds an entry that it {@link takes}; a file that is not empty with its content. */
  add(entry: TarEntry, object: ContentRecord | undefined): void {
    const clean = cleanLayerPath(entry.path);
    this.#bytes += bytesOf(entry);
    if (clean === '') {
      dress(this.#root, entry);
      return;
    }
    const { parent, name } = splitLayerPath(clean);
    const folder = this.#open(parent);
    const special = classifyLayerName(name);
    if (special.kind === 'opaque') folder.isOpaque = true;
    if (special.kind === 'whiteout') this.#whiteout(folder, special.target);
    if (special.kind !== 'plain') return;
    const there = folder.children?.get(name);
    if (there !== undefined) dress(there, entry);
    else this.#put(folder, name, this.#made(entry, object));
  }

  #made(entry: TarEntry, object: ContentRecord | undefined): Name {
    if (entry.kind === 'directory') return directory(entry);
    if (entry.kind !== 'hardlink') return leaf(entry, object);
    const target = this.#find(cleanLayerPath(entry.link));
    if (target === undefined || target === 'blocked') throw new Error('assertion failed: a link');
    target.isLinked = true;
    return target;
  }

  /** What the layer itself has under the name stays: a directory then hides the one below it. */
  #whiteout(folder: Name, target: ByteString): void {
    const there = folder.children?.get(target);
    if (there === undefined)
      this.#put(folder, target, { ...leaf(undefined, undefined), isWhiteout: true });
    else if (there.children !== undefined) there.isOpaque = true;
  }

  #put(folder: Name, name: ByteString, made: Name): void {
    folder.children?.set(name, made);
    this.#count += 1;
  }

  /** The name at a clean path; undefined for none, `blocked` for one below what is no directory. */
  #find(path: ByteString): Name | 'blocked' | undefined {
    if (path === this.#last.path) return this.#last.name;
    let at: Name = this.#root;
    for (const part of path === '' ? [] : path.split('/')) {
      if (at.children === undefined) return 'blocked';
      const next = at.children.get(part as ByteString);
      if (next === undefined) return undefined;
      at = next;
    }
    return at;
  }

  /** The directory at a clean path; those that are missing are made. */
  #open(path: ByteString): Name {
    if (path === this.#last.path) return this.#last.name;
    let at: Name = this.#root;
    for (const part of path === '' ? [] : (path.split('/') as ByteString[])) {
      let next = at.children?.get(part);
      if (next === undefined) {
        next = directory(undefined);
        this.#put(at, part, next);
      }
      at = next;
    }
    this.#last = { path, name: at };
    return at;
  }

  /**
   * Everything as entries again, in an order in which they can be made; a file's first name with
   * its object.
   */
  *entries(): Generator<{ readonly entry: TarEntry; readonly object: ContentRecord | undefined }> {
    const linked = new Map<Name, ByteString>();
    yield* entriesBelow(this.#root, '' as ByteString, linked);
  }

  /** The image's nodes; `objectXattrs` gives what a file needs that has its content in an object. */
  image(objectXattrs: (object: ContentRecord) => readonly TarXattr[]): ErofsNode {
    const linked = new Map<Name, ErofsNode>();
    return nodeOf(this.#root, objectXattrs, linked);
  }
}

function directory(entry: TarEntry | undefined): Name {
  return { ...leaf(entry, undefined), children: new Map() };
}

function leaf(entry: TarEntry | undefined, object: ContentRecord | undefined): Name {
  const flags = { isWhiteout: false, isOpaque: false, isLinked: false };
  return { entry, object, children: undefined, ...flags };
}

/** A directory that comes again gets the new attributes on top of those it has. */
function dress(name: Name, entry: TarEntry): void {
  const before = name.entry?.xattrs ?? [];
  const stay = before.filter((each) => entry.xattrs.every((other) => other.name !== each.name));
  name.entry = stay.length === 0 ? entry : { ...entry, xattrs: [...stay, ...entry.xattrs] };
}

function bytesOf({ path, link, xattrs }: TarEntry): number {
  return path.length + link.length + xattrBytesOf(xattrs);
}

function xattrBytesOf(xattrs: readonly TarXattr[]): number {
  return xattrs.reduce((sum, { name, value }) => sum + name.length + value.length, 0);
}

function isFit(entry: TarEntry): boolean {
  const { kind, link, major, minor, xattrs, segments } = entry;
  if (kind === 'symlink' && (link === '' || link.length > TARGET_BYTES_MAX)) return false;
  if (major < 0 || major > MAJOR_MAX || minor < 0 || minor > MINOR_MAX) return false;
  if (segments !== undefined || xattrBytesOf(xattrs) > XATTR_BYTES_MAX) return false;
  return xattrs.every(isHeld);
}

/** A layer's own attributes that mean something to overlayfs are left out everywhere. */
function isHeld(xattr: TarXattr): boolean {
  return isReservedXattr(xattr.name) || isErofsXattr(xattr);
}

function* entriesBelow(
  folder: Name,
  at: ByteString,
  linked: Map<Name, ByteString>,
): ReturnType<NameTree['entries']> {
  const below = (name: string): ByteString => (at === '' ? name : `${at}/${name}`) as ByteString;
  if (folder.entry !== undefined) yield plain({ ...folder.entry, path: at === '' ? DOT : at });
  if (folder.isOpaque) yield plain(emptyFile(below('.wh..wh..opq')));
  for (const [name, child] of folder.children ?? []) {
    const path = below(name);
    const first = linked.get(child);
    if (first !== undefined) yield plain({ ...emptyFile(path), kind: 'hardlink', link: first });
    else if (child.isWhiteout) yield plain(emptyFile(below(`.wh.${name}`)));
    else if (child.children !== undefined) yield* entriesBelow(child, path, linked);
    else if (child.entry !== undefined) {
      if (child.isLinked) linked.set(child, path);
      yield { entry: { ...child.entry, path }, object: child.object };
    }
  }
}

const DOT = '.' as ByteString;

function plain(entry: TarEntry) {
  return { entry, object: undefined };
}

function emptyFile(path: ByteString): TarEntry {
  const none = '' as ByteString;
  return {
    ...{ kind: 'file', path, link: none, ...IMPLIED, uname: none, gname: none },
    ...{ atime: IMPLIED.mtime, sizeBytes: 0, storedBytes: 0, segments: undefined },
    ...{ major: 0, minor: 0, xattrs: [] },
  };
}

/** One for all files: a map of its own takes more than the rest of what is known of one. */
const NO_CHILDREN: ReadonlyMap<ByteString, ErofsNode> = new Map();

function nodeOf(
  name: Name,
  objectXattrs: (object: ContentRecord) => readonly TarXattr[],
  linked: Map<Name, ErofsNode>,
): ErofsNode {
  const known = linked.get(name);
  if (known !== undefined) return known;
  const { entry, object, children, isOpaque, isWhiteout } = name;
  const { mode, uid, gid, mtime } = entry ?? { ...IMPLIED, mode: isWhiteout ? 0 : IMPLIED.mode };
  const own = entry?.xattrs.filter((each) => !isReservedXattr(each.name)) ?? [];
  const ours = object === undefined ? (isOpaque ? [OPAQUE] : []) : objectXattrs(object);
  const node: ErofsNode = {
    kind: kindOf(name),
    ...{ mode: entry?.kind === 'symlink' ? 0o777 : mode & 0o7777, uid, gid, mtime },
    xattrs: own.length === 0 ? ours : [...own, ...ours],
    link: entry?.kind === 'symlink' ? entry.link : ('' as ByteString),
    sizeBytes: entry?.sizeBytes ?? 0,
    ...{ major: entry?.major ?? 0, minor: entry?.minor ?? 0 },
    children:
      children === undefined
        ? NO_CHILDREN
        : new Map(
            Array.from(children, ([each, child]) => [each, nodeOf(child, objectXattrs, linked)]),
          ),
  };
  if (name.isLinked) linked.set(name, node);
  return node;
}

function kindOf({ entry, children, isWhiteout }: Name): ErofsNode['kind'] {
  if (children !== undefined) return 'directory';
  if (isWhiteout || entry === undefined) return 'char';
  if (entry.kind === 'hardlink') throw new Error('assertion failed: a link is its target');
  return entry.kind;
}
