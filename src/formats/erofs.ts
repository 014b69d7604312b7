import { type ByteString, toBytes } from './byte-string.ts';
import type { TarTime } from './tar-header.ts';
import type { TarXattr } from './tar-pax.ts';

/**
 * A tree of names without contents as an EROFS image, which Linux mounts from a file. All integers
 * are little-endian; blocks are of 4 KiB.
 *
 *   image   = 1024 zeros, superblock (128 bytes), shared xattrs, inodes…, to the end of a block,
 *             blocks of directories that are larger than one
 *   inode   = 64 bytes (extended), xattrs, then by kind: the last part of a directory, the target of
 *             a symlink, or ff ff ff ff (a file is one chunk that is a hole); begins at a multiple
 *             of 32, and is called by its number of these from the image's start ("nid")
 *   xattrs  = u32 0, u8 count, 7 zeros, count × u32 (place of a shared one / 4), own ones…
 *   xattr   = u8 bytes of the name, u8 prefix, u16 bytes of the value, name, value, to 4 bytes
 *   block of a directory = (u64 nid, u16 offset of the name, u8 type, u8 0)…, names…; by name
 *
 * What lies inside of an inode's last part must not go over a block's end; the kernel refuses it.
 * Source: fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst of Linux.
 */
export type ErofsNode = {
  readonly kind: 'file' | 'directory' | 'symlink' | 'char' | 'block' | 'fifo';
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtime: TarTime;
  /** An attribute that is the same object in several nodes is stored once. */
  readonly xattrs: readonly TarXattr[];
  /** Of a symlink: 1 … 4,095 bytes. */
  readonly link: ByteString;
  readonly sizeBytes: number;
  readonly major: number;
  readonly minor: number;
  /** Of a directory; names of 1 … 255 bytes. A node that is in several places has hard links. */
  readonly children: ReadonlyMap<ByteString, ErofsNode>;
};

const BLOCK = 4096;
const SUPERBLOCK = 1024;
const MAGIC = 0xe0f5_e1e2;
const SLOT = 32;
const INODE_BYTES = 64;
const DIRENT_BYTES = 12;
const XATTRS_HEAD_BYTES = 12;
/** What is longer gets blocks of its own, so that a place for it is found soon. */
const INLINE_BYTES_MAX = 3072;
const CHUNKED_FILE = 4;
/** One chunk of 2^43 bytes. */
const CHUNK_BITS = 31;
const LAYOUT = { plain: 0, inline: 2, chunks: 4 } as const;

/** By file type in i_mode, and in an entry of a directory. */
const KINDS = {
  file: { format: 0o100000, type: 1 },
  directory: { format: 0o040000, type: 2 },
  char: { format: 0o020000, type: 3 },
  block: { format: 0o060000, type: 4 },
  fifo: { format: 0o010000, type: 5 },
  symlink: { format: 0o120000, type: 7 },
} as const;

/** Longer ones first: the first that fits is the one. */
const XATTR_PREFIXES = [
  ['system.posix_acl_access', 2],
  ['system.posix_acl_default', 3],
  ['security.', 6],
  ['trusted.', 4],
  ['user.', 1],
] as const;

/** True for an attribute that an image can hold. */
export function isErofsXattr({ name, value }: TarXattr): boolean {
  const known = xattrName(name);
  return known !== undefined && known.suffix.length <= 255 && value.length < 0x1_0000;
}

function xattrName(name: string): { prefix: number; suffix: Buffer } | undefined {
  for (const [text, prefix] of XATTR_PREFIXES) {
    const isWhole = !text.endsWith('.');
    if (isWhole ? name === text : name.startsWith(text) && name.length > text.length) {
      return { prefix, suffix: Buffer.from(name.slice(text.length)) };
    }
  }
  return undefined;
}

/** What is known of a node while the image is made. */
type Inode = {
  readonly node: ErofsNode;
  readonly parent: Inode | undefined;
  readonly xattrBytes: number;
  /** Of the data: of a directory's blocks, of a symlink's target. */
  readonly dataBytes: number;
  /** The part of it that follows the inode. */
  readonly tailBytes: number;
  at: number;
  /** Block of the rest of the data. */
  dataBlock: number;
  links: number;
};

/** The image's bytes, a multiple of 4 KiB. `id` is its UUID: 16 bytes, unique. */
export function encodeErofs(root: ErofsNode, id: Uint8Array): Buffer {
  const shared = sharedXattrs(root);
  const inodes = new Map<ErofsNode, Inode>();
  collect(root, undefined, shared, inodes);
  let at = SUPERBLOCK + 128;
  for (const [xattr] of shared) {
    shared.set(xattr, at);
    at += xattrBytes(xattr);
  }
  for (const inode of inodes.values()) {
    at = placeOf(inode, at);
    inode.at = at;
    at += inodeBytes(inode);
  }
  let blocks = Math.ceil(at / BLOCK);
  for (const inode of inodes.values()) {
    inode.dataBlock = blocks;
    blocks += Math.ceil((inode.dataBytes - inode.tailBytes) / BLOCK);
  }
  const image = Buffer.alloc(blocks * BLOCK);
  for (const [xattr, place] of shared) writeXattr(image, place, xattr);
  for (const [i, inode] of [...inodes.values()].entries()) {
    writeInode(image, inode, i + 1, shared);
    writeData(image, inode, inodes);
  }
  writeSuperblock(image, { inodes: inodes.size, rootNid: nidOf(inodes.get(root)), blocks, id });
  return image;
}

/** Attributes that several nodes have, by identity, with 0 for their places. */
function sharedXattrs(root: ErofsNode): Map<TarXattr, number> {
  const seen = new Set<TarXattr>();
  const shared = new Map<TarXattr, number>();
  const visit = (node: ErofsNode): void => {
    for (const xattr of node.xattrs) {
      if (seen.has(xattr)) shared.set(xattr, 0);
      else seen.add(xattr);
    }
    for (const child of node.children.values()) visit(child);
  };
  visit(root);
  return shared;
}

function collect(
  node: ErofsNode,
  parent: Inode | undefined,
  shared: ReadonlyMap<TarXattr, number>,
  inodes: Map<ErofsNode, Inode>,
): void {
  const known = inodes.get(node);
  if (known !== undefined) {
    known.links += 1;
    return;
  }
  const dataBytes =
    node.kind === 'directory'
      ? directoryBytes(node)
      : node.kind === 'symlink'
        ? node.link.length
        : 0;
  const rest = dataBytes % BLOCK;
  const inode: Inode = {
    node,
    parent,
    xattrBytes: xattrsBytes(node, shared),
    dataBytes,
    tailBytes: rest > INLINE_BYTES_MAX ? 0 : rest,
    at: 0,
    dataBlock: 0,
    links: 1,
  };
  inodes.set(node, inode);
  if (node.kind !== 'directory') return;
  inode.links += 1;
  if (parent !== undefined) parent.links += 1;
  for (const child of node.children.values()) collect(child, inode, shared, inodes);
}

function xattrsBytes({ xattrs }: ErofsNode, shared: ReadonlyMap<TarXattr, number>): number {
  if (xattrs.length === 0) return 0;
  const bytes = (xattr: TarXattr): number => (shared.has(xattr) ? 4 : xattrBytes(xattr));
  return xattrs.reduce((sum, xattr) => sum + bytes(xattr), XATTRS_HEAD_BYTES);
}

function xattrBytes({ name, value }: TarXattr): number {
  const suffix = xattrName(name)?.suffix.length ?? 0;
  return Math.ceil((4 + suffix + value.length) / 4) * 4;
}

function inodeBytes({ node, xattrBytes: bytes, tailBytes }: Inode): number {
  return INODE_BYTES + bytes + (hasChunk(node) ? 4 : tailBytes);
}

function hasChunk({ kind, sizeBytes }: ErofsNode): boolean {
  return kind === 'file' && sizeBytes > 0;
}

/** Where an inode can begin, not before `from`: its tail must lie in one block. */
function placeOf({ xattrBytes: bytes, tailBytes }: Inode, from: number): number {
  for (let at = Math.ceil(from / SLOT) * SLOT; ; at += SLOT) {
    const tail = at + INODE_BYTES + bytes;
    if (tailBytes === 0 || (tail % BLOCK) + tailBytes <= BLOCK) return at;
  }
}

function nidOf(inode: Inode | undefined): number {
  if (inode === undefined) throw new Error('assertion failed: a node without an inode');
  return inode.at / SLOT;
}

/** Names of a directory in the order of its entries. */
function namesOf(node: ErofsNode): ByteString[] {
  const names = ['.', '..', ...node.children.keys()] as ByteString[];
  // One character is one byte, so that this is the order of bytes.
  return names.toSorted((a, b) => (a < b ? -1 : 1));
}

/** Calls `take` with what each block of a directory has, and gives the bytes of the last. */
function blocksOf(node: ErofsNode, take: (names: readonly ByteString[]) => void): number {
  let names: ByteString[] = [];
  let bytes = 0;
  for (const name of namesOf(node)) {
    const more = DIRENT_BYTES + name.length;
    if (bytes + more > BLOCK) {
      take(names);
      names = [];
      bytes = 0;
    }
    names.push(name);
    bytes += more;
  }
  take(names);
  return bytes;
}

function directoryBytes(node: ErofsNode): number {
  let blocks = 0;
  const last = blocksOf(node, () => {
    blocks += 1;
  });
  return (blocks - 1) * BLOCK + last;
}

function writeXattr(image: Buffer, at: number, { name, value }: TarXattr): void {
  const known = xattrName(name);
  if (known === undefined) throw new Error(`assertion failed: an image holds no ${name}`);
  const { prefix, suffix } = known;
  image[at] = suffix.length;
  image[at + 1] = prefix;
  image.writeUInt16LE(value.length, at + 2);
  suffix.copy(image, at + 4);
  image.set(value, at + 4 + suffix.length);
}

function writeInode(
  image: Buffer,
  inode: Inode,
  number: number,
  shared: ReadonlyMap<TarXattr, number>,
): void {
  const { node, at } = inode;
  const { format } = KINDS[node.kind];
  const layout = layoutOf(inode);
  image.writeUInt16LE(1 | (layout << 1), at);
  const { xattrBytes: bytes } = inode;
  image.writeUInt16LE(bytes === 0 ? 0 : (bytes - XATTRS_HEAD_BYTES) / 4 + 1, at + 2);
  image.writeUInt16LE(format | node.mode, at + 4);
  const size = node.kind === 'file' ? node.sizeBytes : inode.dataBytes;
  writeInteger(image, size, at + 8);
  image.writeUInt32LE(unionOf(inode), at + 16);
  image.writeUInt32LE(number, at + 20);
  image.writeUInt32LE(node.uid, at + 24);
  image.writeUInt32LE(node.gid, at + 28);
  writeInteger(image, node.mtime.sec, at + 32);
  image.writeUInt32LE(node.mtime.nsec, at + 40);
  image.writeUInt32LE(inode.links, at + 44);
  if (bytes > 0) writeXattrs(image, at + INODE_BYTES, node.xattrs, shared);
  if (hasChunk(node)) image.writeUInt32LE(0xffff_ffff, at + INODE_BYTES + bytes);
}

function layoutOf({ node, tailBytes }: Inode): number {
  if (hasChunk(node)) return LAYOUT.chunks;
  return tailBytes > 0 ? LAYOUT.inline : LAYOUT.plain;
}

/** The field that is a device number, a format of chunks, or the first block. */
function unionOf({ node, dataBytes, tailBytes, dataBlock }: Inode): number {
  if (hasChunk(node)) return CHUNK_BITS;
  if (node.kind === 'char' || node.kind === 'block') {
    const { major, minor } = node;
    return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
  }
  return dataBytes > tailBytes ? dataBlock : 0;
}

function writeXattrs(
  image: Buffer,
  from: number,
  xattrs: readonly TarXattr[],
  shared: ReadonlyMap<TarXattr, number>,
): void {
  const places = xattrs.flatMap((xattr) => shared.get(xattr) ?? []);
  image[from + 4] = places.length;
  let at = from + XATTRS_HEAD_BYTES;
  for (const place of places) at = image.writeUInt32LE(place / 4, at);
  for (const xattr of xattrs) {
    if (shared.has(xattr)) continue;
    writeXattr(image, at, xattr);
    at += xattrBytes(xattr);
  }
}

function writeData(image: Buffer, inode: Inode, inodes: ReadonlyMap<ErofsNode, Inode>): void {
  const { node, dataBytes, tailBytes } = inode;
  const tailAt = inode.at + INODE_BYTES + inode.xattrBytes;
  const blockAt = (from: number): number =>
    dataBytes - from === tailBytes ? tailAt : inode.dataBlock * BLOCK + from;
  if (node.kind === 'symlink') toBytes(node.link).copy(image, blockAt(0));
  if (node.kind !== 'directory') return;
  let from = 0;
  blocksOf(node, (names) => {
    writeDirents(image, blockAt(from), names, (name) => {
      if (name === '.') return inode;
      if (name === '..') return inode.parent ?? inode;
      const child = node.children.get(name);
      return child && inodes.get(child);
    });
    from += BLOCK;
  });
}

function writeDirents(
  image: Buffer,
  from: number,
  names: readonly ByteString[],
  find: (name: ByteString) => Inode | undefined,
): void {
  let nameAt = names.length * DIRENT_BYTES;
  for (const [i, name] of names.entries()) {
    const inode = find(name);
    const at = from + i * DIRENT_BYTES;
    writeInteger(image, nidOf(inode), at);
    image.writeUInt16LE(nameAt, at + 8);
    image[at + 10] = KINDS[inode?.node.kind ?? 'file'].type;
    nameAt += image.write(name, from + nameAt, 'latin1');
  }
}

/** Eight bytes, two's complement; a bigint for each would be garbage. */
function writeInteger(image: Buffer, value: number, at: number): void {
  const high = Math.floor(value / 2 ** 32);
  image.writeUInt32LE(value - high * 2 ** 32, at);
  image.writeInt32LE(high, at + 4);
}

function writeSuperblock(
  image: Buffer,
  about: { inodes: number; rootNid: number; blocks: number; id: Uint8Array },
): void {
  image.writeUInt32LE(MAGIC, SUPERBLOCK);
  image[SUPERBLOCK + 12] = Math.log2(BLOCK);
  image.writeUInt16LE(about.rootNid, SUPERBLOCK + 14);
  writeInteger(image, about.inodes, SUPERBLOCK + 16);
  image.writeUInt32LE(about.blocks, SUPERBLOCK + 36);
  // Inodes and shared attributes are counted from block 0.
  image.set(about.id, SUPERBLOCK + 48);
  image.writeUInt32LE(CHUNKED_FILE, SUPERBLOCK + 80);
}
