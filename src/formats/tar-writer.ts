import { invalidArgument } from '../base/errors.ts';
import { type ByteString, fromText, isAscii, toBytes } from './byte-string.ts';
import type { TarKind } from './tar-entry.ts';
import { BLOCK_BYTES, checksums, type TarTime } from './tar-header.ts';
import type { TarXattr } from './tar-pax.ts';

/**
 * Writes tar: POSIX ustar headers, with a PAX header before those whose values do not fit (long or
 * non-ASCII names, sizes from 8 GiB, IDs from 2^21, fractions of seconds and times before 1970,
 * xattrs). That is what Docker's own archives look like, and what every tar reads.
 */
export type NewTarEntry = {
  readonly kind: TarKind;
  /** A directory gets its slash here when it has none. */
  readonly path: ByteString;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  /** Bytes of content that will follow; only files have any. Default 0. */
  readonly sizeBytes?: number;
  /** Target of a symlink or hard link. */
  readonly link?: ByteString;
  readonly uid?: number;
  readonly gid?: number;
  readonly uname?: ByteString;
  readonly gname?: ByteString;
  /** Default: the epoch. */
  readonly mtime?: TarTime;
  readonly major?: number;
  readonly minor?: number;
  readonly xattrs?: readonly TarXattr[];
};

const TYPE: Readonly<Record<TarKind, string>> = {
  file: '0',
  hardlink: '1',
  symlink: '2',
  char: '3',
  block: '4',
  directory: '5',
  fifo: '6',
};

/** The two blocks of zeros that end an archive. */
export const TAR_END: Buffer = Buffer.alloc(2 * BLOCK_BYTES);

/** Zeros that follow a content of `sizeBytes`. */
export function tarPadding(sizeBytes: number): Buffer {
  return TAR_END.subarray(0, (BLOCK_BYTES - (sizeBytes % BLOCK_BYTES)) % BLOCK_BYTES);
}

/**
 * The header of an entry, PAX header included; its content and {@link tarPadding} come next.
 * @throws invalidArgument for values that no header can hold
 */
export function encodeTarHeader(entry: NewTarEntry): Buffer {
  const isDirectory = entry.kind === 'directory';
  const path = isDirectory && !entry.path.endsWith('/') ? `${entry.path}/` : entry.path;
  const sizeBytes = entry.kind === 'file' ? (entry.sizeBytes ?? 0) : 0;
  const pax: Buffer[] = [];
  const split = splitName(path);
  if (split === undefined) pax.push(record('path', toBytes(path as ByteString)));
  const link = entry.link ?? '';
  if (link.length > 100 || !isAscii(link)) {
    pax.push(record('linkpath', toBytes(link as ByteString)));
  }
  const mtime = entry.mtime ?? { sec: 0, nsec: 0 };
  if (mtime.nsec !== 0 || mtime.sec < 0 || mtime.sec > OCTAL_11_MAX) {
    pax.push(record('mtime', Buffer.from(paxTimeText(mtime))));
  }
  if (sizeBytes > OCTAL_11_MAX) pax.push(record('size', Buffer.from(String(sizeBytes))));
  for (const key of ['uid', 'gid'] as const) {
    const id = entry[key] ?? 0;
    if (id > OCTAL_7_MAX) pax.push(record(key, Buffer.from(String(id))));
  }
  for (const key of ['uname', 'gname'] as const) {
    const name = entry[key] ?? '';
    if (name.length > 31 || !isAscii(name)) pax.push(record(key, toBytes(name as ByteString)));
  }
  for (const { name, value } of entry.xattrs ?? []) pax.push(record(`SCHILY.xattr.${name}`, value));

  const plain = { ...entry, path: path as ByteString, sizeBytes, mtime };
  const header = block(plain, TYPE[entry.kind], split ?? { prefix: '', name: path.slice(0, 100) });
  if (pax.length === 0) return header;
  const records = Buffer.concat(pax);
  const extended = block(
    { kind: 'file', path: '' as ByteString, mode: 0o644, sizeBytes: records.length, mtime: EPOCH },
    'x',
    { prefix: '', name: `PaxHeaders.0/${asciiName(path)}`.slice(0, 99) },
  );
  return Buffer.concat([extended, records, tarPadding(records.length), header]);
}

const EPOCH: TarTime = { sec: 0, nsec: 0 };
const OCTAL_11_MAX = 8 ** 11 - 1;
const OCTAL_7_MAX = 8 ** 7 - 1;

/** Name and prefix of a ustar header; undefined when it takes a PAX record. */
function splitName(path: string): { prefix: string; name: string } | undefined {
  if (!isAscii(path) || path.includes('\0')) return undefined;
  if (path.length <= 100) return { prefix: '', name: path };
  // A slash parts the two; the name must not be empty (a directory ends with one).
  const slash = path.indexOf('/', path.length - 101);
  if (slash <= 0 || slash > 155 || slash >= path.length - 1) return undefined;
  return { prefix: path.slice(0, slash), name: path.slice(slash + 1) };
}

function asciiName(path: string): string {
  return path.replace(/[^\x20-\x7e]/g, '_');
}

function paxTimeText({ sec, nsec }: TarTime): string {
  if (nsec === 0) return String(sec);
  const fraction = (digits: number): string => String(digits).padStart(9, '0').replace(/0+$/, '');
  if (sec >= 0) return `${sec}.${fraction(nsec)}`;
  return `-${-sec - 1}.${fraction(1_000_000_000 - nsec)}`;
}

/** `LENGTH KEY=VALUE\n`, where LENGTH counts itself. */
function record(key: string, value: Uint8Array): Buffer {
  const head = toBytes(fromText(`${key}=`));
  const rest = 1 + head.length + value.length + 1;
  let length = rest + String(rest).length;
  if (rest + String(length).length > length) length = rest + String(length).length;
  return Buffer.concat([Buffer.from(`${length} `), head, value, Buffer.from('\n')]);
}

function block(
  entry: NewTarEntry,
  type: string,
  { prefix, name }: { prefix: string; name: string },
): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  const octal = (at: number, bytes: number, value: number, max: number): void => {
    const shown = value > max || value < 0 ? 0 : value;
    header.write(`${shown.toString(8).padStart(bytes - 1, '0')}\0`, at, 'latin1');
  };
  if (!Number.isSafeInteger(entry.sizeBytes ?? 0) || (entry.uid ?? 0) < 0 || (entry.gid ?? 0) < 0) {
    throw invalidArgument('cannot write a tar header: a number is out of range');
  }
  header.write(name, 0, 100, 'latin1');
  octal(100, 8, entry.mode & 0o7777, OCTAL_7_MAX);
  octal(108, 8, entry.uid ?? 0, OCTAL_7_MAX);
  octal(116, 8, entry.gid ?? 0, OCTAL_7_MAX);
  octal(124, 12, entry.sizeBytes ?? 0, OCTAL_11_MAX);
  octal(136, 12, entry.mtime?.sec ?? 0, OCTAL_11_MAX);
  header.write(type, 156, 'latin1');
  header.write((entry.link ?? '').slice(0, 100), 157, 100, 'latin1');
  header.write('ustar\x0000', 257, 'latin1');
  header.write((entry.uname ?? '').slice(0, 31), 265, 'latin1');
  header.write((entry.gname ?? '').slice(0, 31), 297, 'latin1');
  octal(329, 8, entry.major ?? 0, OCTAL_7_MAX);
  octal(337, 8, entry.minor ?? 0, OCTAL_7_MAX);
  header.write(prefix, 345, 155, 'latin1');
  const sum = checksums(header).unsigned;
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return header;
}
