import { LIMITS } from '../base/limits.ts';
import type { ByteString } from './byte-string.ts';
import { encodeErofs } from './erofs.ts';
import { type ErofsNode, ErofsTree } from './erofs-tree.ts';
import { isErofsXattr } from './erofs-xattr.ts';
import type { ContentRecord } from './layer-contents.ts';
import {
  classifyLayerName,
  cleanLayerPath,
  isReservedXattr,
  splitLayerPath,
} from './layer-path.ts';
import { joined, Rows, upperOf } from './rows.ts';
import type { TarEntry } from './tar-entry.ts';
import type { TarXattr } from './tar-pax.ts';

/** Words of a row, for what an image has no place for. The content of a file that is not empty: */
const GROUP = 0;
const NUMBER = 1;
const PLACE = 2;
const SUM = 3;
const ATIME_SEC = 4;
const ATIME_SEC_UPPER = 5;
const ATIME_NSEC = 6;
const FLAGS = 7;
const WORDS = 8;

/** It had an entry: it is no directory that was only on the way to one, and no whiteout. */
const HAS_ENTRY = 1;
const IS_WHITEOUT = 2;
const IS_OPAQUE = 4;
/** Hard links lead to the file that its content is of. */
const IS_CONTENT_LINKED = 8;

const ROOT = 0;
const MAJOR_MAX = 0xfff;
const MINOR_MAX = 0xfffff;
const NAME_BYTES_MAX = 255;
const TARGET_BYTES_MAX = 4095;
/** EROFS counts a file's shared attributes in one byte; those of a stub come on top. */
const XATTRS_MAX = 200;
/** Of all of one name: what an inode of an image has room for, with something to spare. */
const XATTR_BYTES_MAX = 128 << 10;
const NONE = '' as ByteString;
const IMPLIED = { mode: 0o755, uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 } } as const;
const NO_NODE = { ...IMPLIED, xattrs: [], link: NONE, sizeBytes: 0, major: 0, minor: 0 } as const;
const OPAQUE: TarXattr = { name: 'trusted.overlay.opaque', value: Buffer.from('y') };

/** An entry, and the content of a file that is not empty. */
export type NameTreeEntry = {
  readonly entry: TarEntry;
  readonly object: ContentRecord | undefined;
};

/** How the image of a layer's names is made. */
export type NameImageOptions = {
  /** The image's UUID: 16 bytes, unique. */
  readonly id: Uint8Array;
  /** What a file needs that has its content in an object. */
  readonly objectXattrs: (object: ContentRecord) => readonly TarXattr[];
  /** Those of these that are the same object for all files. */
  readonly common: readonly TarXattr[];
};

/**
 * The names of a layer as its entries come to, in memory: some 90 bytes for each, and the names. It
 * takes what nearly all layers are made of; a real tree has to be made of a layer with anything
 * else: a path that is taken, or leads through a symlink, more names than fit.
 */
export class NameTree {
  readonly #tree = new ErofsTree({ ...NO_NODE, kind: 'directory' });
  readonly #rows = new Rows(WORDS);
  /** Groups of objects, called by their places. */
  readonly #groups: string[] = [];
  readonly #groupPlaces = new Map<string, number>();
  #count = 0;
  /** Of paths, targets and attributes. */
  #bytes = 0;
  #last: { readonly path: ByteString; readonly node: number } = { path: NONE, node: ROOT };

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
    if (folder !== undefined && (folder === 'blocked' || !this.#isDirectory(folder))) return false;
    if (classifyLayerName(name).kind !== 'plain') return entry.storedBytes === 0;
    const there = folder === undefined ? undefined : this.#tree.find(folder, name);
    if (entry.kind === 'hardlink') return there === undefined && this.#isLinkable(entry);
    return there === undefined || (entry.kind === 'directory' && this.#isDirectory(there));
  }

  #isLinkable({ link }: TarEntry): boolean {
    const target = this.#find(cleanLayerPath(link));
    if (target === undefined || target === 'blocked') return false;
    return this.#has(target, HAS_ENTRY) && !this.#isDirectory(target);
  }

  #isDirectory(node: number): boolean {
    return this.#tree.kind(node) === 'directory';
  }

  /** Adds an entry that it {@link takes}; a file that is not empty with its content. */
  add(entry: TarEntry, object: ContentRecord | undefined): void {
    const clean = cleanLayerPath(entry.path);
    this.#bytes += bytesOf(entry);
    if (clean === '') {
      this.#dress(ROOT, entry);
      return;
    }
    const { parent, name } = splitLayerPath(clean);
    const folder = this.#open(parent);
    const special = classifyLayerName(name);
    if (special.kind === 'opaque') this.#mark(folder, IS_OPAQUE);
    if (special.kind === 'whiteout') this.#whiteout(folder, special.target);
    if (special.kind !== 'plain') return;
    const there = this.#tree.find(folder, name);
    if (there !== undefined) this.#dress(there, entry);
    else if (entry.kind === 'hardlink') this.#link(folder, name, entry);
    else {
      const added = this.#put(folder, name, nodeOf(entry));
      this.#note(added, entry);
      if (object !== undefined) this.#noteContent(added, object);
    }
  }

  #link(folder: number, name: ByteString, entry: TarEntry): void {
    const target = this.#find(cleanLayerPath(entry.link));
    if (target === undefined || target === 'blocked') throw new Error('assertion failed: a link');
    this.#tree.addLink(folder, name, target);
    this.#count += 1;
  }

  /** A directory that comes again gets the new attributes on top of those it has. */
  #dress(node: number, entry: TarEntry): void {
    const own = nodeOf(entry);
    const stay = this.#tree
      .xattrs(node)
      .filter((each) => own.xattrs.every((other) => other.name !== each.name));
    this.#tree.set(node, { ...own, xattrs: [...stay, ...own.xattrs] });
    this.#note(node, entry);
  }

  /** What the layer itself has under the name stays: a directory then hides the one below it. */
  #whiteout(folder: number, target: ByteString): void {
    const there = this.#tree.find(folder, target);
    if (there === undefined) {
      this.#mark(this.#put(folder, target, { ...NO_NODE, kind: 'char', mode: 0 }), IS_WHITEOUT);
    } else if (this.#isDirectory(there)) this.#mark(there, IS_OPAQUE);
  }

  #put(folder: number, name: ByteString, node: ErofsNode): number {
    this.#count += 1;
    return this.#tree.add(folder, name, node);
  }

  #note(node: number, { atime }: TarEntry): void {
    this.#mark(node, HAS_ENTRY);
    this.#rows.set(node, ATIME_SEC, atime.sec);
    this.#rows.set(node, ATIME_SEC_UPPER, upperOf(atime.sec));
    this.#rows.set(node, ATIME_NSEC, atime.nsec);
  }

  #noteContent(node: number, { group, number, place, sum, isLinked }: ContentRecord): void {
    let at = this.#groupPlaces.get(group);
    if (at === undefined) {
      at = this.#groups.push(group);
      this.#groupPlaces.set(group, at);
    }
    this.#rows.set(node, GROUP, at);
    this.#rows.set(node, NUMBER, number);
    this.#rows.set(node, PLACE, place);
    this.#rows.set(node, SUM, sum);
    if (isLinked) this.#mark(node, IS_CONTENT_LINKED);
  }

  #mark(node: number, flag: number): void {
    while (this.#rows.count <= node) this.#rows.add();
    this.#rows.set(node, FLAGS, this.#rows.get(node, FLAGS) | flag);
  }

  #has(node: number, flag: number): boolean {
    return (this.#rows.get(node, FLAGS) & flag) !== 0;
  }

  /** The node at a clean path; undefined for none, `blocked` for one below what is no directory. */
  #find(path: ByteString): number | 'blocked' | undefined {
    if (path === this.#last.path) return this.#last.node;
    let node = ROOT;
    for (let from = 0; from < path.length; ) {
      if (!this.#isDirectory(node)) return 'blocked';
      const to = endOfPart(path, from);
      const next = this.#tree.find(node, path, from, to);
      if (next === undefined) return undefined;
      node = next;
      from = to + 1;
    }
    return node;
  }

  /** The directory at a clean path; those that are missing are made. */
  #open(path: ByteString): number {
    if (path === this.#last.path) return this.#last.node;
    let node = ROOT;
    for (let from = 0; from < path.length; ) {
      const to = endOfPart(path, from);
      node =
        this.#tree.find(node, path, from, to) ??
        this.#put(node, path.slice(from, to) as ByteString, { ...NO_NODE, kind: 'directory' });
      from = to + 1;
    }
    this.#last = { path, node };
    return node;
  }

  /**
   * Everything as entries again, in an order in which they can be made; a file's first name with
   * its object. What the names of its owners are is forgotten.
   */
  *entries(): Generator<NameTreeEntry> {
    yield* this.#entriesBelow(ROOT, NONE, new Map());
  }

  *#entriesBelow(
    folder: number,
    at: ByteString,
    linked: Map<number, ByteString>,
  ): Generator<NameTreeEntry> {
    const tree = this.#tree;
    const below = (name: string): ByteString => (at === '' ? name : `${at}/${name}`) as ByteString;
    if (this.#has(folder, HAS_ENTRY)) yield this.#entry(folder, at === '' ? DOT : at);
    if (this.#has(folder, IS_OPAQUE)) yield plain(emptyFile(below('.wh..wh..opq')));
    for (let name = tree.first(folder); name !== undefined; name = tree.next(name)) {
      const path = below(tree.name(name));
      const node = tree.node(name);
      const first = linked.get(node);
      if (first !== undefined) yield plain({ ...emptyFile(path), kind: 'hardlink', link: first });
      else if (this.#has(node, IS_WHITEOUT))
        yield plain(emptyFile(below(`.wh.${tree.name(name)}`)));
      else if (this.#isDirectory(node)) yield* this.#entriesBelow(node, path, linked);
      else {
        if (tree.isLinked(node)) linked.set(node, path);
        yield this.#entry(node, path);
      }
    }
  }

  #entry(node: number, path: ByteString): NameTreeEntry {
    const rows = this.#rows;
    const sec = joined(rows.get(node, ATIME_SEC), rows.get(node, ATIME_SEC_UPPER) | 0);
    const known = this.#tree.get(node);
    const atime = { sec, nsec: rows.get(node, ATIME_NSEC) };
    return {
      entry: { ...emptyFile(path), ...known, atime, storedBytes: known.sizeBytes },
      object: this.#object(node),
    };
  }

  /** The content of a file that is not empty. */
  #object(node: number): ContentRecord | undefined {
    const rows = this.#rows;
    const group = this.#groups[rows.get(node, GROUP) - 1];
    if (group === undefined) return undefined;
    return {
      sum: rows.get(node, SUM),
      place: rows.get(node, PLACE),
      group,
      number: rows.get(node, NUMBER),
      isLinked: this.#has(node, IS_CONTENT_LINKED),
      bytes: this.#tree.sizeBytes(node),
    };
  }

  /** Makes the image of the names; its bytes come to `take`, as those of {@link encodeErofs}. */
  encode({ id, objectXattrs, common }: NameImageOptions, take: (piece: Buffer) => void): void {
    const xattrs = (node: number): readonly TarXattr[] => {
      const own = this.#tree.xattrs(node).filter((each) => !isReservedXattr(each.name));
      const object = this.#object(node);
      if (object !== undefined) return [...own, ...objectXattrs(object)];
      return this.#has(node, IS_OPAQUE) ? [...own, OPAQUE] : own;
    };
    encodeErofs(this.#tree, { id, common: [...common, OPAQUE], xattrs }, take);
  }
}

const DOT = '.' as ByteString;

/** Where the part of a path that begins at `from` ends. */
function endOfPart(path: ByteString, from: number): number {
  const slash = path.indexOf('/', from);
  return slash < 0 ? path.length : slash;
}

function nodeOf({ kind, link, mode, ...rest }: TarEntry): ErofsNode {
  if (kind === 'hardlink') throw new Error('assertion failed: a link is its target');
  const { uid, gid, mtime, xattrs, sizeBytes, major, minor } = rest;
  return {
    kind,
    mode: kind === 'symlink' ? 0o777 : mode & 0o7777,
    ...{ uid, gid, mtime, xattrs, link, sizeBytes, major, minor },
  };
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
  if (xattrs.length > XATTRS_MAX) return false;
  return xattrs.every(isHeld);
}

/** A layer's own attributes that mean something to overlayfs are left out everywhere. */
function isHeld(xattr: TarXattr): boolean {
  return isReservedXattr(xattr.name) || isErofsXattr(xattr);
}

function plain(entry: TarEntry): NameTreeEntry {
  return { entry, object: undefined };
}

function emptyFile(path: ByteString): TarEntry {
  return {
    ...NO_NODE,
    ...{ kind: 'file', path, uname: NONE, gname: NONE, atime: IMPLIED.mtime },
    ...{ storedBytes: 0, segments: undefined },
  };
}
