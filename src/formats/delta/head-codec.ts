import { assert, dataLoss } from '../../base/errors.ts';
import { ReusedBuffer } from './reused-buffer.ts';
import type { ByteReader, ByteWriter } from './varint.ts';

/**
 * Tar heads as differences. The head of an entry is every byte of the archive between the content
 * before it and its own content: padding, extension records (PAX, GNU long names), the header.
 * A head is coded against a reference head, the base's entry of the same path or else the target's
 * entry before it, so that a rebuild that touches every mtime costs a few bits an entry; and exactly,
 * so that the archive's own bytes come back.
 *
 * Columns, one value or more for each entry (u unsigned, s signed LEB128):
 *
 *   masks      u  which fields of the header's last block differ; bit FIELDS.length: the extension
 *                 differs, bit FIELDS.length + 1: the checksum is not what follows from the rest
 *   times      s  seconds by which the mtime differs from that of the entry before
 *   sizes      s  bytes by which the size differs from the reference's
 *   names      front coding against the name of the entry before: u shared, u length, bytes
 *   others     for each other field that differs: its bytes, all of them
 *   extensions u bytes in front that agree with the reference's, u bytes behind, u length, bytes
 *
 * Source of the fields: POSIX ustar, GNU tar's `tar.h`.
 */
const FIELDS = [
  { name: 'name', at: 0, bytes: 100 },
  { name: 'mode', at: 100, bytes: 8 },
  { name: 'uid', at: 108, bytes: 8 },
  { name: 'gid', at: 116, bytes: 8 },
  { name: 'size', at: 124, bytes: 12 },
  { name: 'mtime', at: 136, bytes: 12 },
  { name: 'type', at: 156, bytes: 1 },
  { name: 'link', at: 157, bytes: 100 },
  { name: 'magic', at: 257, bytes: 8 },
  { name: 'uname', at: 265, bytes: 32 },
  { name: 'gname', at: 297, bytes: 32 },
  { name: 'devices', at: 329, bytes: 16 },
  { name: 'prefix', at: 345, bytes: 155 },
  { name: 'pad', at: 500, bytes: 12 },
] as const;
const CHECKSUM = { at: 148, bytes: 8 } as const;
const EXTENSION_BIT = 2 ** FIELDS.length;
const CHECKSUM_BIT = EXTENSION_BIT * 2;
/** The numeric fields were written as canonical octal, and come as differences. */
const TIME_BIT = CHECKSUM_BIT * 2;
const SIZE_BIT = TIME_BIT * 2;
export const HEADER_BYTES = 512;

export const HEAD_COLUMNS = ['masks', 'times', 'sizes', 'names', 'others', 'extensions'] as const;
type ColumnName = (typeof HEAD_COLUMNS)[number];
export type HeadWriters = Readonly<Record<ColumnName, ByteWriter>>;
export type HeadReaders = Readonly<Record<ColumnName, ByteReader>>;

/** The first header of an archive is coded against this. */
export const NO_HEAD: Uint8Array = new Uint8Array(HEADER_BYTES);

const view = (head: Uint8Array): Uint8Array => head.subarray(head.length - HEADER_BYTES);

/** Value of eleven octal digits and a NUL, which is how every writer writes what fits; -1 for others. */
function octal(field: Uint8Array): number {
  let value = 0;
  for (let i = 0; i < 11; i++) {
    const digit = (field[i] as number) - 0x30;
    if (digit < 0 || digit > 7) return -1;
    value = value * 8 + digit;
  }
  return field[11] === 0 ? value : -1;
}

function writeOctal(field: Uint8Array, value: number): void {
  if (value < 0 || value >= 8 ** 11) throw dataLoss('invalid delta: a number is out of range');
  writeDigits(field, value, 11);
  field[11] = 0;
}

/** Octal digits, with zeros in front. */
function writeDigits(field: Uint8Array, value: number, digits: number): void {
  let rest = value;
  for (let i = digits - 1; i >= 0; i--) {
    field[i] = 0x30 + (rest % 8);
    rest = Math.floor(rest / 8);
  }
}

/** The checksum of a block, in the layout of the reference's (`NNNNNN\0 ` or `NNNNNN \0`). */
function checksumField(block: Uint8Array, reference: Uint8Array): Uint8Array {
  let sum = 8 * 0x20;
  for (let i = 0; i < HEADER_BYTES; i++) {
    if (i < CHECKSUM.at || i >= CHECKSUM.at + CHECKSUM.bytes) sum += block[i] as number;
  }
  const field = new Uint8Array(CHECKSUM.bytes);
  writeDigits(field, sum, 6);
  // `reference` ends its digits with NUL and space, or the other way round.
  field[reference[CHECKSUM.at + 6] === 0x20 ? 6 : 7] = 0x20;
  return field;
}

const equal = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;

/** Length of a field without its trailing NULs. */
function trimmed(field: Uint8Array): number {
  let length = field.length;
  while (length > 0 && field[length - 1] === 0) length -= 1;
  return length;
}

function commonPrefix(a: Uint8Array, b: Uint8Array): number {
  const max = Math.min(a.length, b.length);
  let n = 0;
  while (n < max && a[n] === b[n]) n += 1;
  return n;
}

function commonSuffix(a: Uint8Array, b: Uint8Array, max: number): number {
  let n = 0;
  while (n < max && a[a.length - 1 - n] === b[b.length - 1 - n]) n += 1;
  return n;
}

/** Bytes of zeros that fill the block after content of this length. */
export function paddingBytes(contentBytes: number): number {
  return (HEADER_BYTES - (contentBytes % HEADER_BYTES)) % HEADER_BYTES;
}

/**
 * Writes heads. `head` is without the padding of the content before it and at least a header long;
 * `previous` is the target's entry before.
 */
export function encodeHead(
  out: HeadWriters,
  head: Uint8Array,
  reference: Uint8Array,
  previous: Uint8Array,
): void {
  const block = view(head);
  const like = view(reference);
  const before = view(previous);
  let mask = 0;
  for (const [i, { name, at, bytes }] of FIELDS.entries()) {
    const field = block.subarray(at, at + bytes);
    if (name === 'mtime') {
      const [time, last] = [octal(field), octal(before.subarray(at, at + bytes))];
      if (time >= 0 && last >= 0) {
        mask += TIME_BIT;
        out.times.signed(time - last);
        continue;
      }
    }
    const old = like.subarray(at, at + bytes);
    if (equal(field, old)) continue;
    mask += 2 ** i;
    if (name === 'size') {
      const [size, last] = [octal(field), octal(old)];
      if (size >= 0 && last >= 0) {
        mask += SIZE_BIT;
        out.sizes.signed(size - last);
        continue;
      }
    }
    if (name === 'name') encodeName(out.names, field, before.subarray(at, at + bytes));
    else out.others.bytes(field);
  }
  const sum = block.subarray(CHECKSUM.at, CHECKSUM.at + CHECKSUM.bytes);
  if (!equal(sum, checksumField(block, like))) {
    mask += CHECKSUM_BIT;
    out.others.bytes(sum);
  }
  const extension = head.subarray(0, head.length - HEADER_BYTES);
  const oldExtension = reference.subarray(0, reference.length - HEADER_BYTES);
  if (!equal(extension, oldExtension)) {
    mask += EXTENSION_BIT;
    encodeMiddle(out.extensions, extension, oldExtension);
  }
  out.masks.unsigned(mask);
}

/** A name: what it shares with the one before, and the rest up to the trailing NULs. */
function encodeName(out: ByteWriter, field: Uint8Array, before: Uint8Array): void {
  const length = trimmed(field);
  const shared = Math.min(commonPrefix(field, before), length);
  out.unsigned(shared);
  out.unsigned(length - shared);
  out.bytes(field.subarray(shared, length));
}

function encodeMiddle(out: ByteWriter, bytes: Uint8Array, old: Uint8Array): void {
  const front = commonPrefix(bytes, old);
  const back = commonSuffix(bytes, old, Math.min(bytes.length, old.length) - front);
  out.unsigned(front);
  out.unsigned(back);
  out.unsigned(bytes.length - front - back);
  out.bytes(bytes.subarray(front, bytes.length - back));
}

/** Most bytes of extension records of one entry. */
export const EXTENSION_BYTES_MAX = 1 << 20;

/**
 * Reads what {@link encodeHead} wrote, with the same reference and predecessor, neither of which lies
 * in `into`.
 * @throws dataLoss
 */
export function decodeHead(
  from: HeadReaders,
  reference: Uint8Array,
  previous: Uint8Array,
  into = new ReusedBuffer(),
): Uint8Array {
  const mask = from.masks.unsigned();
  if (mask >= SIZE_BIT * 2) throw dataLoss('invalid delta: an unknown kind of difference');
  const has = (bit: number): boolean => (mask & bit) !== 0;
  let extension = reference.subarray(0, reference.length - HEADER_BYTES);
  if (has(EXTENSION_BIT)) extension = decodeMiddle(from.extensions, extension);
  const head = into.take(extension.length + HEADER_BYTES);
  head.set(extension);
  const block = view(head);
  const like = view(reference);
  const before = view(previous);
  block.set(like);
  for (let i = 0; i < FIELDS.length; i++) {
    const { name, at, bytes } = FIELDS[i] as (typeof FIELDS)[number];
    const isTime = name === 'mtime' && has(TIME_BIT);
    if (!isTime && !has(2 ** i)) continue;
    const field = block.subarray(at, at + bytes);
    if (isTime) {
      writeOctal(field, octal(before.subarray(at, at + bytes)) + from.times.signed());
    } else if (name === 'size' && has(SIZE_BIT)) {
      writeOctal(field, octal(like.subarray(at, at + bytes)) + from.sizes.signed());
    } else if (name === 'name') {
      decodeName(from.names, field, before.subarray(at, at + bytes));
    } else field.set(from.others.take(bytes));
  }
  const sum = has(CHECKSUM_BIT) ? from.others.take(CHECKSUM.bytes) : checksumField(block, like);
  block.set(sum, CHECKSUM.at);
  return head;
}

function decodeName(from: ByteReader, field: Uint8Array, before: Uint8Array): void {
  const shared = from.unsigned();
  const length = from.unsigned();
  if (shared + length > field.length) throw dataLoss('invalid delta: a name is too long');
  field.fill(0);
  field.set(before.subarray(0, shared));
  field.set(from.take(length), shared);
}

function decodeMiddle(from: ByteReader, old: Uint8Array): Uint8Array {
  const front = from.unsigned();
  const back = from.unsigned();
  const length = from.unsigned();
  if (front + back > old.length || length > EXTENSION_BYTES_MAX) {
    throw dataLoss('invalid delta: extension records do not fit their reference');
  }
  assert(front + back + length <= EXTENSION_BYTES_MAX + old.length, 'bounded by the above');
  return Buffer.concat([
    old.subarray(0, front),
    from.take(length),
    old.subarray(old.length - back),
  ]);
}
