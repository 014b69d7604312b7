import { type EngineError, invalidArgument } from '../base/errors.ts';
import { type ByteString, byteString } from './byte-string.ts';

/**
 * The 512-byte header block that all tar formats share. Source: POSIX pax (ustar), GNU tar manual
 * "Basic Tar Format", star(5).
 *
 *   0    name      100     257  magic     6   "ustar\0" POSIX, "ustar " GNU
 *   100  mode      8       263  version   2   "00" POSIX, " \0" GNU
 *   108  uid       8       265  uname     32
 *   116  gid       8       297  gname     32
 *   124  size      12      329  devmajor  8
 *   136  mtime     12      337  devminor  8
 *   148  checksum  8       345  prefix    155 POSIX; 131, then atime and ctime, in star ("tar\0" at 508)
 *   156  type      1       386  sparse    GNU: 4 × (offset 12, bytes 12), more 1 at 482, real size 12 at 483
 *   157  linkname  100
 *
 * Numbers are octal text, or big-endian two's complement with the first bit of the field set.
 */
export const BLOCK_BYTES = 512;

/** A time of a tar entry: `sec` may be negative, `nsec` is 0 … 999,999,999. */
export type TarTime = { readonly sec: number; readonly nsec: number };

/** A header block's fields, before long names and PAX records replace them. */
export type TarHeader = {
  readonly name: ByteString;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Bytes that follow in the archive. */
  readonly sizeBytes: number;
  readonly mtimeSec: number;
  /** One character; `\0` of old archives is given as it is. */
  readonly type: string;
  readonly link: ByteString;
  readonly uname: ByteString;
  readonly gname: ByteString;
  readonly major: number;
  readonly minor: number;
  readonly isGnu: boolean;
};

/** The one error for what cannot be read as tar; the text is the one Docker's users know. */
export function invalidHeader(why: string): EngineError {
  return invalidArgument('archive/tar: invalid tar header', { detail: { why } });
}

/** A chain of bytes up to the first NUL or the end of the field. */
function text(block: Buffer, start: number, bytes: number): ByteString {
  const whole = byteString(block, start, start + bytes);
  const end = whole.indexOf('\0');
  return end < 0 ? whole : (whole.slice(0, end) as ByteString);
}

function base256(block: Buffer, start: number, bytes: number): number {
  const first = block[start] ?? 0;
  const negative = (first & 0x40) !== 0;
  let value = BigInt(first & 0x7f);
  for (let i = start + 1; i < start + bytes; i += 1) value = (value << 8n) | BigInt(block[i] ?? 0);
  if (negative) value -= 1n << BigInt(bytes * 8 - 1);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw invalidHeader('a number is out of range');
  return number;
}

/** A number field. Leading spaces, and NULs or spaces at its end, are allowed; an empty one is 0. */
export function parseNumber(block: Buffer, start: number, bytes: number): number {
  if (((block[start] ?? 0) & 0x80) !== 0) return base256(block, start, bytes);
  let at = start;
  let end = start + bytes;
  while (at < end && (block[at] === 0x20 || block[at] === 0)) at += 1;
  while (end > at && (block[end - 1] === 0x20 || block[end - 1] === 0)) end -= 1;
  let value = 0;
  for (; at < end; at += 1) {
    const digit = (block[at] ?? 0) - 0x30;
    // Text after a NUL is padding that some writers leave.
    if (block[at] === 0) break;
    if (digit < 0 || digit > 7) throw invalidHeader('a number is not octal');
    value = value * 8 + digit;
  }
  return value;
}

const CHECKSUM = { start: 148, bytes: 8 } as const;

/** The sum of all bytes, the checksum's own counted as spaces; signed as some old writers took it. */
export function checksums(block: Buffer): { unsigned: number; signed: number } {
  let unsigned = 0;
  let high = 0;
  for (let i = 0; i < BLOCK_BYTES; i += 1) {
    const byte = block[i] ?? 0;
    unsigned += byte;
    high += byte >>> 7;
  }
  for (let i = CHECKSUM.start; i < CHECKSUM.start + CHECKSUM.bytes; i += 1) {
    const byte = block[i] ?? 0;
    unsigned += 0x20 - byte;
    high -= byte >>> 7;
  }
  return { unsigned, signed: unsigned - 256 * high };
}

const ZERO_BLOCK = Buffer.alloc(BLOCK_BYTES);

/** True for a block of zeros, of which two end an archive. */
export function isZeroBlock(block: Buffer): boolean {
  return block.equals(ZERO_BLOCK);
}

/**
 * Decodes a header block of exactly 512 bytes.
 * @throws invalidArgument ("archive/tar: invalid tar header")
 */
export function decodeHeader(block: Buffer): TarHeader {
  const stored = parseNumber(block, CHECKSUM.start, CHECKSUM.bytes);
  const sums = checksums(block);
  if (stored !== sums.unsigned && stored !== sums.signed) throw invalidHeader('wrong checksum');
  const magic = byteString(block, 257, 265);
  const isGnu = magic === 'ustar  \0';
  const isPosix = magic.startsWith('ustar\0');
  let name = text(block, 0, 100);
  if (isPosix) {
    const isStar = byteString(block, 508, 512) === 'tar\0';
    const prefix = text(block, 345, isStar ? 131 : 155);
    if (prefix !== '') name = `${prefix}/${name}` as ByteString;
  }
  const sizeBytes = parseNumber(block, 124, 12);
  if (sizeBytes < 0) throw invalidHeader('negative size');
  const hasMore = isGnu || isPosix;
  return {
    name,
    mode: parseNumber(block, 100, 8) & 0o7777,
    uid: parseNumber(block, 108, 8),
    gid: parseNumber(block, 116, 8),
    sizeBytes,
    mtimeSec: parseNumber(block, 136, 12),
    type: byteString(block, 156, 157),
    link: text(block, 157, 100),
    uname: hasMore ? text(block, 265, 32) : ('' as ByteString),
    gname: hasMore ? text(block, 297, 32) : ('' as ByteString),
    major: hasMore ? parseNumber(block, 329, 8) : 0,
    minor: hasMore ? parseNumber(block, 337, 8) : 0,
    isGnu,
  };
}
