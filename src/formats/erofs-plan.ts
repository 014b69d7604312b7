import { DOT, DOT_DOT, type ErofsTree } from './erofs-tree.ts';
import { xattrBytes } from './erofs-xattr.ts';
import { Rows } from './rows.ts';
import type { TarXattr } from './tar-pax.ts';

/** Where everything lies in an EROFS image (`erofs.ts`). */

export const BLOCK = 4096;
export const SUPERBLOCK = 1024;
export const INODE_BYTES = 64;
export const XATTRS_HEAD_BYTES = 12;
export const DIRENT_BYTES = 12;
/** Inodes begin at multiples of this. */
export const SLOT = 32;
const SUPERBLOCK_BYTES = 128;
/** What is longer gets blocks of its own, so that a place for it is found soon. */
const INLINE_BYTES_MAX = 3072;

/** What an image is made with. */
export type ErofsOptions = {
  /** Its UUID: 16 bytes, unique. */
  readonly id: Uint8Array;
  /** Attributes that many nodes have, each as this very object: what two have is stored once. */
  readonly common: readonly TarXattr[];
  /** All attributes of a node; the tree's own when it is left out. */
  readonly xattrs?: (node: number) => readonly TarXattr[];
};

/** Words of a row. */
const AT = 0;
const LINKS = 1;
const XATTR_BYTES = 2;
const DATA_BYTES = 3;
const DATA_BLOCK = 4;
const FIRST_SORTED = 5;
const END_SORTED = 6;
const WORDS = 7;

/** A block of a directory: those of the names that it has, and the bytes that they take. */
export type DirentBlock = { readonly names: Uint32Array; readonly bytes: number };

/** What is known of each node while its image is made. */
export class ErofsPlan {
  readonly tree: ErofsTree;
  /** Places of the attributes that are stored once. */
  readonly shared: ReadonlyMap<TarXattr, number>;
  /** All nodes, as they follow each other in the image. */
  readonly order: Uint32Array;
  /** Of the whole image. */
  readonly blocks: number;
  readonly #options: ErofsOptions;
  readonly #rows = new Rows(WORDS);
  /** The names of one directory after the other, each in the order of its entries. */
  readonly #sorted: Uint32Array;
  #sortedEnd = 0;
  /** Of nodes with several names, so that each has the same objects whenever it is asked. */
  readonly #linkedXattrs = new Map<number, readonly TarXattr[]>();

  constructor(tree: ErofsTree, options: ErofsOptions) {
    this.tree = tree;
    this.#options = options;
    let directories = 0;
    for (let name = 0; name < tree.count; name += 1) {
      this.#rows.add();
      if (isDirectory(tree, name)) directories += 1;
    }
    this.#sorted = new Uint32Array(tree.count + 2 * directories);
    let at = SUPERBLOCK + SUPERBLOCK_BYTES;
    const shared = this.#sharedXattrs();
    for (const [xattr] of shared) {
      shared.set(xattr, at);
      at += xattrBytes(xattr);
    }
    this.shared = shared;
    this.order = this.#collect();
    this.blocks = this.#place(at);
  }

  xattrs(node: number): readonly TarXattr[] {
    const known = this.#linkedXattrs.get(node);
    if (known !== undefined) return known;
    const xattrs = this.#options.xattrs?.(node) ?? this.tree.xattrs(node);
    if (this.tree.isLinked(node)) this.#linkedXattrs.set(node, xattrs);
    return xattrs;
  }

  /** Attributes that come about more than once, with 0 for their places. */
  #sharedXattrs(): Map<TarXattr, number> {
    const { tree } = this;
    const seen = new Set<TarXattr>();
    const shared = new Map<TarXattr, number>();
    for (const name of tree.names()) {
      const node = tree.node(name);
      for (const xattr of this.xattrs(node)) {
        if (seen.has(xattr)) shared.set(xattr, 0);
        else if (tree.isLinked(node) || this.#options.common.includes(xattr)) seen.add(xattr);
      }
    }
    return shared;
  }

  /** Finds out how large all is. Gives the nodes as their first names come. */
  #collect(): Uint32Array {
    const { tree } = this;
    const rows = this.#rows;
    const order = new Uint32Array(tree.count);
    let count = 0;
    for (const name of tree.names()) {
      const node = tree.node(name);
      const links = this.links(node);
      rows.set(node, LINKS, links + 1);
      if (links > 0 && tree.isLinked(node)) continue;
      order[count] = node;
      count += 1;
      rows.set(node, XATTR_BYTES, this.#xattrsBytes(node));
      const kind = tree.kind(node);
      if (kind === 'symlink') rows.set(node, DATA_BYTES, tree.linkBytes(node));
      if (kind === 'directory') this.#sort(node);
    }
    return order.slice(0, count);
  }

  #xattrsBytes(node: number): number {
    let sum = 0;
    for (const xattr of this.xattrs(node)) sum += this.shared.has(xattr) ? 4 : xattrBytes(xattr);
    return sum === 0 ? 0 : sum + XATTRS_HEAD_BYTES;
  }

  #sort(directory: number): void {
    const { tree } = this;
    const rows = this.#rows;
    const from = this.#sortedEnd;
    const take = (name: number): void => {
      this.#sorted[this.#sortedEnd] = name;
      this.#sortedEnd += 1;
    };
    take(DOT);
    take(DOT_DOT);
    let links = this.links(directory) + 1;
    for (let name = tree.first(directory); name !== undefined; name = tree.next(name)) {
      take(name);
      if (isDirectory(tree, name)) links += 1;
    }
    this.#sorted.subarray(from, this.#sortedEnd).sort((a, b) => tree.compareNames(a, b));
    rows.set(directory, LINKS, links);
    rows.set(directory, FIRST_SORTED, from);
    rows.set(directory, END_SORTED, this.#sortedEnd);
    let bytes = 0;
    for (const block of this.direntBlocks(directory)) {
      bytes = Math.ceil(bytes / BLOCK) * BLOCK + block.bytes;
    }
    rows.set(directory, DATA_BYTES, bytes);
  }

  /** The blocks of a directory. */
  *direntBlocks(directory: number): Generator<DirentBlock> {
    let from = this.#rows.get(directory, FIRST_SORTED);
    const end = this.#rows.get(directory, END_SORTED);
    let bytes = 0;
    for (let i = from; i < end; i += 1) {
      const more = DIRENT_BYTES + this.tree.nameBytes(this.#sorted[i] ?? 0);
      if (bytes + more > BLOCK) {
        yield { names: this.#sorted.subarray(from, i), bytes };
        from = i;
        bytes = 0;
      }
      bytes += more;
    }
    yield { names: this.#sorted.subarray(from, end), bytes };
  }

  /** Gives all a place from `at` on; gives the number of blocks. */
  #place(from: number): number {
    let at = from;
    for (const node of this.order) {
      at = this.#placeOf(node, at);
      this.#rows.set(node, AT, at);
      at += this.#inodeBytes(node);
    }
    let blocks = Math.ceil(at / BLOCK);
    for (const node of this.order) {
      this.#rows.set(node, DATA_BLOCK, blocks);
      blocks += Math.ceil((this.dataBytes(node) - this.tailBytes(node)) / BLOCK);
    }
    return blocks;
  }

  /** Where an inode can begin, not before `from`: its tail must lie in one block. */
  #placeOf(node: number, from: number): number {
    const tailBytes = this.tailBytes(node);
    for (let at = Math.ceil(from / SLOT) * SLOT; ; at += SLOT) {
      const tail = at + INODE_BYTES + this.xattrBytes(node);
      if (tailBytes === 0 || (tail % BLOCK) + tailBytes <= BLOCK) return at;
    }
  }

  #inodeBytes(node: number): number {
    return INODE_BYTES + this.xattrBytes(node) + (this.hasChunk(node) ? 4 : this.tailBytes(node));
  }

  /** A file that is not empty is one chunk. */
  hasChunk(node: number): boolean {
    return this.tree.sizeBytes(node) > 0;
  }

  /** Where the inode is. */
  at(node: number): number {
    return this.#rows.get(node, AT);
  }

  links(node: number): number {
    return this.#rows.get(node, LINKS);
  }

  /** Of all its attributes, with what precedes them. */
  xattrBytes(node: number): number {
    return this.#rows.get(node, XATTR_BYTES);
  }

  /** Of a directory's blocks, of a symlink's target. */
  dataBytes(node: number): number {
    return this.#rows.get(node, DATA_BYTES);
  }

  /** The part of them that follows the inode. */
  tailBytes(node: number): number {
    const rest = this.dataBytes(node) % BLOCK;
    return rest > INLINE_BYTES_MAX ? 0 : rest;
  }

  /** Block of the rest of them. */
  dataBlock(node: number): number {
    return this.#rows.get(node, DATA_BLOCK);
  }
}

function isDirectory(tree: ErofsTree, name: number): boolean {
  return tree.node(name) === name && tree.kind(name) === 'directory';
}
