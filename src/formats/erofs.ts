import {
  BLOCK,
  DIRENT_BYTES,
  type DirentBlock,
  type ErofsOptions,
  ErofsPlan,
  INODE_BYTES,
  SLOT,
  SUPERBLOCK,
  XATTRS_HEAD_BYTES,
} from './erofs-plan.ts';
import { DOT, DOT_DOT, type ErofsKind, type ErofsTree } from './erofs-tree.ts';
import { writeXattrHead, xattrBytes, xattrHeadBytes } from './erofs-xattr.ts';
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
 *             (`erofs-xattr.ts`)
 *   block of a directory = (u64 nid, u16 offset of the name, u8 type, u8 0)…, names…; by name
 *
 * What lies inside of an inode's last part must not go over a block's end; the kernel refuses it.
 * Source: fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst of Linux.
 */
const MAGIC = 0xe0f5_e1e2;
const CHUNKED_FILE = 4;
/** One chunk of 2^43 bytes. */
const CHUNK_BITS = 31;
const LAYOUT = { plain: 0, inline: 2, chunks: 4 } as const;
/** An image comes in pieces of at most so many bytes. */
const PIECE_BYTES = 64 << 10;
const TWO_32 = 2 ** 32;

/** By file type in i_mode, and in an entry of a directory. */
const KINDS: Readonly<Record<ErofsKind, { readonly format: number; readonly type: number }>> = {
  file: { format: 0o100000, type: 1 },
  directory: { format: 0o040000, type: 2 },
  char: { format: 0o020000, type: 3 },
  block: { format: 0o060000, type: 4 },
  fifo: { format: 0o010000, type: 5 },
  symlink: { format: 0o120000, type: 7 },
};

/**
 * Makes the image of a tree. Its bytes come to `take` in order, a multiple of 4 KiB in all; a piece
 * is only valid until `take` returns.
 */
export function encodeErofs(
  tree: ErofsTree,
  options: ErofsOptions,
  take: (piece: Buffer) => void,
): void {
  const plan = new ErofsPlan(tree, options);
  const image = new ImageWriter(take);
  writeSuperblock(image, plan, options.id);
  for (const [xattr, place] of plan.shared) writeXattr(image, place, xattr);
  for (const [i, node] of plan.order.entries()) {
    writeInode(image, plan, node, i + 1);
    if (plan.tailBytes(node) > 0) writeData(image, plan, node, 'tail');
  }
  for (const node of plan.order) {
    if (plan.dataBytes(node) > plan.tailBytes(node)) writeData(image, plan, node, 'blocks');
  }
  image.end(plan.blocks * BLOCK);
}

/** Takes in the image from its start to its end; what is left out is zeros. */
class ImageWriter {
  /** Begins at {@link #from} of the image, and is zeros behind what was written. */
  readonly piece = Buffer.alloc(PIECE_BYTES);
  readonly #take: (piece: Buffer) => void;
  #from = 0;

  constructor(take: (piece: Buffer) => void) {
    this.#take = take;
  }

  /** Makes room in the piece for the bytes from `at` of the image on; gives their place in it. */
  room(at: number, bytes: number): number {
    if (at + bytes > this.#from + PIECE_BYTES) this.end(at);
    return at - this.#from;
  }

  /** Writes bytes, as many as there are. */
  write(bytes: Uint8Array, at: number): void {
    for (let done = 0; done < bytes.length; done += PIECE_BYTES) {
      const part = bytes.subarray(done, done + PIECE_BYTES);
      this.piece.set(part, this.room(at + done, part.length));
    }
  }

  /** Gives away all before `at`. */
  end(at: number): void {
    while (this.#from < at) {
      const bytes = Math.min(PIECE_BYTES, at - this.#from);
      this.#take(this.piece.subarray(0, bytes));
      this.piece.fill(0);
      this.#from += bytes;
    }
  }
}

function writeSuperblock(image: ImageWriter, plan: ErofsPlan, id: Uint8Array): void {
  const { piece } = image;
  const at = image.room(SUPERBLOCK, 128);
  piece.writeUInt32LE(MAGIC, at);
  piece[at + 12] = Math.log2(BLOCK);
  piece.writeUInt16LE(plan.at(0) / SLOT, at + 14);
  writeInteger(piece, plan.order.length, at + 16);
  piece.writeUInt32LE(plan.blocks, at + 36);
  // Inodes and shared attributes are counted from block 0.
  piece.set(id, at + 48);
  piece.writeUInt32LE(CHUNKED_FILE, at + 80);
}

function writeXattr(image: ImageWriter, at: number, xattr: TarXattr): void {
  const headBytes = xattrHeadBytes(xattr);
  writeXattrHead(xattr, image.piece, image.room(at, headBytes));
  image.write(xattr.value, at + headBytes);
}

function writeInode(image: ImageWriter, plan: ErofsPlan, node: number, number: number): void {
  const { tree } = plan;
  const { piece } = image;
  const place = plan.at(node);
  const at = image.room(place, INODE_BYTES);
  const { kind, mode, uid, gid, mtime, sizeBytes, major, minor } = tree.get(node);
  const xattrsBytes = plan.xattrBytes(node);
  piece.writeUInt16LE(1 | (layoutOf(plan, node) << 1), at);
  piece.writeUInt16LE(xattrsBytes === 0 ? 0 : (xattrsBytes - XATTRS_HEAD_BYTES) / 4 + 1, at + 2);
  piece.writeUInt16LE(KINDS[kind].format | mode, at + 4);
  writeInteger(piece, sizeBytes + plan.dataBytes(node), at + 8);
  const isDevice = kind === 'char' || kind === 'block';
  piece.writeUInt32LE(isDevice ? encodeDevice(major, minor) : placeOf(plan, node), at + 16);
  piece.writeUInt32LE(number, at + 20);
  piece.writeUInt32LE(uid, at + 24);
  piece.writeUInt32LE(gid, at + 28);
  writeInteger(piece, mtime.sec, at + 32);
  piece.writeUInt32LE(mtime.nsec, at + 40);
  piece.writeUInt32LE(plan.links(node), at + 44);
  if (xattrsBytes > 0) writeXattrs(image, plan, node);
  if (!plan.hasChunk(node)) return;
  piece.writeUInt32LE(0xffff_ffff, image.room(place + INODE_BYTES + xattrsBytes, 4));
}

function layoutOf(plan: ErofsPlan, node: number): number {
  if (plan.hasChunk(node)) return LAYOUT.chunks;
  return plan.tailBytes(node) > 0 ? LAYOUT.inline : LAYOUT.plain;
}

function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

/** The format of chunks, or the first block. */
function placeOf(plan: ErofsPlan, node: number): number {
  if (plan.hasChunk(node)) return CHUNK_BITS;
  return plan.dataBytes(node) > plan.tailBytes(node) ? plan.dataBlock(node) : 0;
}

function writeXattrs(image: ImageWriter, plan: ErofsPlan, node: number): void {
  const { piece } = image;
  const xattrs = plan.xattrs(node);
  const places = xattrs.flatMap((xattr) => plan.shared.get(xattr) ?? []);
  const from = plan.at(node) + INODE_BYTES;
  const head = image.room(from, XATTRS_HEAD_BYTES + 4 * places.length);
  piece[head + 4] = places.length;
  let at = head + XATTRS_HEAD_BYTES;
  for (const place of places) at = piece.writeUInt32LE(place / 4, at);
  at = from + XATTRS_HEAD_BYTES + 4 * places.length;
  for (const xattr of xattrs) {
    if (plan.shared.has(xattr)) continue;
    writeXattr(image, at, xattr);
    at += xattrBytes(xattr);
  }
}

/** Writes the part of a node's data that follows the inode, or that which does not. */
function writeData(
  image: ImageWriter,
  plan: ErofsPlan,
  node: number,
  part: 'tail' | 'blocks',
): void {
  const { tree } = plan;
  const bytes = plan.dataBytes(node);
  const tailFrom = bytes - plan.tailBytes(node);
  const at = (from: number): number =>
    part === 'tail'
      ? plan.at(node) + INODE_BYTES + plan.xattrBytes(node)
      : plan.dataBlock(node) * BLOCK + from;
  if (tree.kind(node) === 'symlink') {
    tree.copyLink(node, image.piece, image.room(at(0), bytes));
    return;
  }
  let from = 0;
  for (const block of plan.direntBlocks(node)) {
    if ((from === tailFrom) === (part === 'tail')) {
      writeDirents(image, plan, { directory: node, block, place: at(from) });
    }
    from += BLOCK;
  }
}

function writeDirents(
  image: ImageWriter,
  plan: ErofsPlan,
  {
    directory,
    block: { names, bytes },
    place,
  }: { directory: number; block: DirentBlock; place: number },
): void {
  const { tree } = plan;
  const { piece } = image;
  const start = image.room(place, bytes);
  let nameAt = names.length * DIRENT_BYTES;
  let at = start;
  for (const name of names) {
    const node =
      name === DOT ? directory : name === DOT_DOT ? tree.parent(directory) : tree.node(name);
    writeInteger(piece, plan.at(node) / SLOT, at);
    piece.writeUInt16LE(nameAt, at + 8);
    piece[at + 10] = KINDS[tree.kind(node)].type;
    tree.copyName(name, piece, start + nameAt);
    nameAt += tree.nameBytes(name);
    at += DIRENT_BYTES;
  }
}

/** Eight bytes, two's complement; a bigint for each would be garbage. */
function writeInteger(piece: Buffer, value: number, at: number): void {
  const high = Math.floor(value / TWO_32);
  piece.writeUInt32LE(value - high * TWO_32, at);
  piece.writeInt32LE(high, at + 4);
}
