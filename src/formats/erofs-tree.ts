import { randomBytes } from 'node:crypto';
import type { ByteString } from './byte-string.ts';
import { joined, Rows, Texts, upperOf } from './rows.ts';
import type { TarTime } from './tar-header.ts';
import type { TarXattr } from './tar-pax.ts';

export type ErofsKind = 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo';

/** What is known of a file of any kind, but for its names. */
export type ErofsNode = {
  readonly kind: ErofsKind;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: TarTime;
  readonly xattrs: readonly TarXattr[];
  /** Of a symlink: 1 … 4,095 bytes. */
  readonly link: ByteString;
  /** Of a file. */
  readonly sizeBytes: number;
  /** Of a device: below 4,096, and below 2^20. */
  readonly major: number;
  readonly minor: number;
};

const KINDS = ['directory', 'file', 'symlink', 'char', 'block', 'fifo'] as const;
/** What a name is that leads to the node of another one. */
const HARD_LINK = KINDS.length;

/** Words of a row. 0 is none: nothing leads to the root. */
const PARENT = 0;
const NEXT = 1;
const NAME = 2;
/** Bytes of the name, 8 bits; kind, 7; whether hard links lead here, 1; mode, 16. */
const TRAITS = 3;
const UID = 4;
const GID = 5;
const SEC = 6;
const SEC_UPPER = 7;
const NSEC = 8;
const XATTRS = 9;
/** First child; size; place of a symlink's target; major; node of a hard link. */
const FIRST = 10;
/** Last child; upper half of the size; bytes of a symlink's target; minor. */
const LAST = 11;
const WORDS = 12;
const IS_LINKED = 1 << 15;
const NO_LINK = '' as ByteString;

/** The directory itself, and the one above, as names among those that it has. */
export const DOT = 1;
export const DOT_DOT = 2;
const ROOT = 0;
/** So many names are found before the table of them is made larger. */
const SLOTS_MIN = 512;

/**
 * A tree of names without contents, in some 60 bytes for each name and those of the name itself. Nodes
 * are called by numbers, the root by 0; a hard link by that of what it leads to.
 */
export class ErofsTree {
  readonly #rows = new Rows(WORDS);
  readonly #texts = new Texts();
  readonly #xattrs: (readonly TarXattr[])[] = [[]];
  /** Rows by parent and name, hashed; a collision takes the next slot. */
  #slots = new Uint32Array(SLOTS_MIN);
  /** So that nobody can make names that all fall on one slot. */
  readonly #seed = randomBytes(4).readUInt32LE(0);

  constructor(root: ErofsNode) {
    this.#row(ROOT, '' as ByteString);
    this.set(ROOT, root);
    this.#row(ROOT, '.' as ByteString);
    this.#row(ROOT, '..' as ByteString);
  }

  /** Numbers of nodes and names are below this. */
  get count(): number {
    return this.#rows.count;
  }

  /** Adds a node with a name of 1 … 255 bytes that the directory does not have yet. */
  add(parent: number, name: ByteString, node: ErofsNode): number {
    const added = this.#name(parent, name);
    this.set(added, node);
    return added;
  }

  /** Gives a node another name. No directory has two. */
  addLink(parent: number, name: ByteString, node: number): void {
    const added = this.#name(parent, name);
    this.#rows.set(added, TRAITS, name.length | (HARD_LINK << 8));
    this.#rows.set(added, FIRST, node);
    this.#rows.set(node, TRAITS, this.#rows.get(node, TRAITS) | IS_LINKED);
  }

  /** Says anew what a node is, which stays of its kind. */
  set(at: number, node: ErofsNode): void {
    const rows = this.#rows;
    const kind = KINDS.indexOf(node.kind);
    const traits = rows.get(at, TRAITS) & (IS_LINKED | 0xff);
    rows.set(at, TRAITS, (traits | (kind << 8) | (node.mode << 16)) >>> 0);
    rows.set(at, UID, node.uid);
    rows.set(at, GID, node.gid);
    rows.set(at, SEC, node.mtime.sec);
    rows.set(at, SEC_UPPER, upperOf(node.mtime.sec));
    rows.set(at, NSEC, node.mtime.nsec);
    rows.set(at, XATTRS, node.xattrs.length === 0 ? 0 : this.#xattrs.push(node.xattrs) - 1);
    if (node.kind === 'directory') return;
    const [first, last] = this.#pairOf(node);
    rows.set(at, FIRST, first);
    rows.set(at, LAST, last);
  }

  #pairOf({ kind, link, sizeBytes, major, minor }: ErofsNode): readonly [number, number] {
    if (kind === 'file') return [sizeBytes, upperOf(sizeBytes)];
    if (kind === 'symlink') return [this.#texts.add(link), link.length];
    return [major, minor];
  }

  #row(parent: number, name: ByteString): number {
    const row = this.#rows.add();
    this.#rows.set(row, PARENT, parent);
    this.#rows.set(row, NAME, this.#texts.add(name));
    this.#rows.set(row, TRAITS, name.length);
    return row;
  }

  #name(parent: number, name: ByteString): number {
    const row = this.#row(parent, name);
    const last = this.#rows.get(parent, LAST);
    if (last === 0) this.#rows.set(parent, FIRST, row);
    else this.#rows.set(last, NEXT, row);
    this.#rows.set(parent, LAST, row);
    if (row * 2 >= this.#slots.length) this.#growSlots();
    else this.#slots[this.#freeSlot(parent, name)] = row;
    return row;
  }

  #growSlots(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    for (let row = DOT_DOT + 1; row < this.count; row += 1) {
      const slot = this.#freeSlot(this.#rows.get(row, PARENT), this.name(row));
      this.#slots[slot] = row;
    }
  }

  #freeSlot(parent: number, name: ByteString): number {
    const mask = this.#slots.length - 1;
    let slot = this.#hash(parent, name, 0, name.length) & mask;
    while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
    return slot;
  }

  #hash(parent: number, text: ByteString, from: number, to: number): number {
    let hash = Math.imul(parent ^ this.#seed, 0x9e37_79b1);
    for (let i = from; i < to; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x0100_0193);
    return hash ^ (hash >>> 15);
  }

  /** The node that a directory has under the characters `from` … `to` of a text. */
  find(parent: number, text: ByteString, from = 0, to = text.length): number | undefined {
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(parent, text, from, to) & mask; ; slot = (slot + 1) & mask) {
      const row = this.#slots[slot] ?? 0;
      if (row === 0) return undefined;
      if (this.#rows.get(row, PARENT) !== parent || this.nameBytes(row) !== to - from) continue;
      if (this.#texts.equals(this.#rows.get(row, NAME), text, from, to)) return this.node(row);
    }
  }

  /** The node of a name: another's, when it is a hard link. */
  node(name: number): number {
    return this.#kind(name) === HARD_LINK ? this.#rows.get(name, FIRST) : name;
  }

  #kind(name: number): number {
    return (this.#rows.get(name, TRAITS) >>> 8) & 0x7f;
  }

  kind(node: number): ErofsKind {
    const kind = KINDS[this.#kind(node)];
    if (kind === undefined) throw new Error('assertion failed: a link is its target');
    return kind;
  }

  /** True for a node that has several names. */
  isLinked(node: number): boolean {
    return (this.#rows.get(node, TRAITS) & IS_LINKED) !== 0;
  }

  /** All names, each directory's before those in it, as they were given; the root's first. */
  *names(): Generator<number> {
    let name: number | undefined = ROOT;
    while (name !== undefined) {
      yield name;
      const isDirectory: boolean = KINDS[this.#kind(name)] === 'directory';
      let next: number | undefined = isDirectory ? this.first(name) : undefined;
      for (; next === undefined && name !== ROOT; name = this.parent(name)) next = this.next(name);
      name = next;
    }
  }

  /** The first name that a directory was given; undefined when it has none. */
  first(directory: number): number | undefined {
    return this.#rows.get(directory, FIRST) || undefined;
  }

  /** The name that its directory was given next. */
  next(name: number): number | undefined {
    return this.#rows.get(name, NEXT) || undefined;
  }

  /** The directory of a name; the root's is itself. */
  parent(name: number): number {
    return this.#rows.get(name, PARENT);
  }

  name(name: number): ByteString {
    return this.#texts.get(this.#rows.get(name, NAME), this.nameBytes(name));
  }

  nameBytes(name: number): number {
    return this.#rows.get(name, TRAITS) & 0xff;
  }

  copyName(name: number, target: Buffer, at: number): void {
    this.#texts.copy(this.#rows.get(name, NAME), this.nameBytes(name), target, at);
  }

  /** In the order of bytes: below 0 when `a` comes first. */
  compareNames(a: number, b: number): number {
    const of = (name: number) => ({
      place: this.#rows.get(name, NAME),
      bytes: this.nameBytes(name),
    });
    return this.#texts.compare(of(a), of(b));
  }

  /** All that is known of a node. */
  get(node: number): ErofsNode {
    const rows = this.#rows;
    const kind = this.kind(node);
    const isDevice = kind === 'char' || kind === 'block';
    return {
      kind,
      mode: rows.get(node, TRAITS) >>> 16,
      uid: rows.get(node, UID),
      gid: rows.get(node, GID),
      mtime: {
        sec: joined(rows.get(node, SEC), rows.get(node, SEC_UPPER) | 0),
        nsec: rows.get(node, NSEC),
      },
      xattrs: this.xattrs(node),
      link: kind === 'symlink' ? this.#link(node) : NO_LINK,
      sizeBytes: this.sizeBytes(node),
      major: isDevice ? rows.get(node, FIRST) : 0,
      minor: isDevice ? rows.get(node, LAST) : 0,
    };
  }

  #link(node: number): ByteString {
    return this.#texts.get(this.#rows.get(node, FIRST), this.linkBytes(node));
  }

  xattrs(node: number): readonly TarXattr[] {
    return this.#xattrs[this.#rows.get(node, XATTRS)] ?? [];
  }

  /** Size of a file; 0 of what is none. */
  sizeBytes(node: number): number {
    if (this.kind(node) !== 'file') return 0;
    return joined(this.#rows.get(node, FIRST), this.#rows.get(node, LAST));
  }

  /** Bytes of a symlink's target. */
  linkBytes(node: number): number {
    return this.#rows.get(node, LAST);
  }

  copyLink(node: number, target: Buffer, at: number): void {
    this.#texts.copy(this.#rows.get(node, FIRST), this.linkBytes(node), target, at);
  }
}
