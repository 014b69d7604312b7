import { LIMITS } from '../base/limits.ts';
import { asBuffer, type ByteString, byteString } from './byte-string.ts';
import { invalidHeader, type TarTime } from './tar-header.ts';

/**
 * PAX extended header records: `LENGTH KEY=VALUE\n` one after the other, LENGTH in decimal and
 * counting the whole record. Source: POSIX pax, "pax Extended Header"; star(5) for SCHILY.*;
 * libarchive-formats(5) for LIBARCHIVE.*; GNU tar manual for GNU.sparse.*.
 */

/** One extended attribute of an entry. */
export type TarXattr = { readonly name: string; readonly value: Uint8Array };

/** Records by key; a later record of the same key wins. An empty value takes an earlier one back. */
export type PaxRecords = {
  /** Values of the known keys of text and numbers. */
  readonly values: Map<string, ByteString>;
  /** By attribute name. */
  readonly xattrs: Map<string, Uint8Array>;
  /** GNU sparse 0.0: its keys come once for each segment. */
  readonly sparseOffsets: ByteString[];
  readonly sparseBytes: ByteString[];
};

const SCHILY = 'SCHILY.xattr.';
const LIBARCHIVE = 'LIBARCHIVE.xattr.';

export function noPaxRecords(): PaxRecords {
  return { values: new Map(), xattrs: new Map(), sparseOffsets: [], sparseBytes: [] };
}

/**
 * Adds the records of one PAX header to `into`.
 * @throws invalidArgument ("archive/tar: invalid tar header")
 */
export function parsePax(content: Uint8Array, into: PaxRecords): void {
  const buffer = asBuffer(content);
  let at = 0;
  while (at < buffer.length) {
    const space = buffer.indexOf(0x20, at);
    const digits = space < 0 || space - at > 10 ? '' : buffer.toString('latin1', at, space);
    const end = at + Number(digits);
    if (!/^[0-9]+$/.test(digits) || end > buffer.length || end <= space + 2) {
      throw invalidHeader('a PAX record has a wrong length');
    }
    const equals = buffer.indexOf(0x3d, space + 1);
    if (equals <= space + 1 || equals >= end || buffer[end - 1] !== 0x0a) {
      throw invalidHeader('a PAX record is not KEY=VALUE and a line feed');
    }
    add(into, byteString(buffer, space + 1, equals), buffer.subarray(equals + 1, end - 1));
    at = end;
  }
}

function add(into: PaxRecords, key: string, value: Buffer): void {
  if (key.startsWith(SCHILY)) {
    addXattr(into, key.slice(SCHILY.length), value);
  } else if (key.startsWith(LIBARCHIVE)) {
    const name = percentDecoded(key.slice(LIBARCHIVE.length));
    // libarchive writes both forms; the plain one is exact and comes first.
    if (!into.xattrs.has(name)) {
      addXattr(into, name, Buffer.from(value.toString('latin1'), 'base64'));
    }
  } else if (key === 'GNU.sparse.offset') {
    into.sparseOffsets.push(byteString(value));
  } else if (key === 'GNU.sparse.numbytes') {
    into.sparseBytes.push(byteString(value));
  } else if (value.length === 0) {
    into.values.delete(key);
  } else {
    if (isText(key) && value.includes(0)) throw invalidHeader(`NUL in the PAX record ${key}`);
    into.values.set(key, byteString(value));
  }
}

function isText(key: string): boolean {
  return key === 'path' || key === 'linkpath' || key === 'uname' || key === 'gname';
}

function addXattr(into: PaxRecords, name: string, value: Uint8Array): void {
  if (name === '' || name.includes('\0')) throw invalidHeader('an xattr without a name');
  if (into.xattrs.size >= LIMITS.tarXattrsMax && !into.xattrs.has(name)) {
    throw invalidHeader(`more than ${LIMITS.tarXattrsMax} xattrs on one entry`);
  }
  into.xattrs.set(name, new Uint8Array(value));
}

function percentDecoded(text: string): string {
  return text.replace(/%([0-9a-fA-F]{2})/g, (_, hex: string) =>
    String.fromCharCode(Number.parseInt(hex, 16)),
  );
}

/** A copy, for entries that follow a global header. */
export function copyPax(records: PaxRecords): PaxRecords {
  return {
    values: new Map(records.values),
    xattrs: new Map(records.xattrs),
    sparseOffsets: [...records.sparseOffsets],
    sparseBytes: [...records.sparseBytes],
  };
}

/** A decimal integer from 0 to 2^53-1. */
export function paxInteger(value: string, key: string): number {
  const number = Number(value);
  if (!/^\d{1,16}$/.test(value) || !Number.isSafeInteger(number)) {
    throw invalidHeader(`the PAX record ${key} is not a number`);
  }
  return number;
}

/** `1350244992.023960108`, `-1.5`. Digits beyond the nanosecond are cut. */
export function paxTime(value: string, key: string): TarTime {
  const m = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(value);
  if (m === null) throw invalidHeader(`the PAX record ${key} is not a time`);
  const sec = Number(m[2]);
  const nsec = Number((m[3] ?? '').slice(0, 9).padEnd(9, '0'));
  if (m[1] === '') return { sec, nsec };
  return nsec === 0 ? { sec: 0 - sec, nsec: 0 } : { sec: -sec - 1, nsec: 1_000_000_000 - nsec };
}
