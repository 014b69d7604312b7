import { invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { ByteString } from './byte-string.ts';
import { invalidHeader, type TarHeader, type TarTime } from './tar-header.ts';
import { type PaxRecords, paxInteger, paxTime, type TarXattr } from './tar-pax.ts';
import type { Segment } from './tar-sparse.ts';

/** What an entry is. Contiguous files of old archives are plain files. */
export type TarKind = 'file' | 'directory' | 'symlink' | 'hardlink' | 'char' | 'block' | 'fifo';

/** One entry with everything that headers of any format said about it. */
export type TarEntry = {
  readonly kind: TarKind;
  /** As the archive has it; a directory may end with a slash. */
  readonly path: ByteString;
  /** Target of a symlink, or path in the archive of a hard link's first name; else ''. */
  readonly link: ByteString;
  /** Permission bits with setuid, setgid and sticky. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly uname: ByteString;
  readonly gname: ByteString;
  readonly mtime: TarTime;
  /** The mtime where the archive has none. */
  readonly atime: TarTime;
  /** Size of the file; 0 for all but files. */
  readonly sizeBytes: number;
  /** Bytes of content in the archive; less than `sizeBytes` for a sparse file. */
  readonly storedBytes: number;
  /** Where the stored bytes belong; undefined when the file has no holes. */
  readonly segments: readonly Segment[] | undefined;
  readonly major: number;
  readonly minor: number;
  readonly xattrs: readonly TarXattr[];
};

/** What of `Stats` tells a kind. */
export type FileType = {
  isFile(): boolean;
  isDirectory(): boolean;
  isSymbolicLink(): boolean;
  isCharacterDevice(): boolean;
  isBlockDevice(): boolean;
  isFIFO(): boolean;
};

/** What an archive calls a file; undefined for a socket, which none holds. */
export function kindOfFile(type: FileType): TarKind | undefined {
  if (type.isFile()) return 'file';
  if (type.isDirectory()) return 'directory';
  if (type.isSymbolicLink()) return 'symlink';
  if (type.isFIFO()) return 'fifo';
  if (type.isCharacterDevice()) return 'char';
  return type.isBlockDevice() ? 'block' : undefined;
}

const KINDS: Readonly<Record<string, TarKind>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hardlink',
  '2': 'symlink',
  '3': 'char',
  '4': 'block',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
  S: 'file',
};

/** What a header is once long names, PAX records and its type are taken into account. */
export type TarMetadata = {
  readonly header: TarHeader;
  readonly pax: PaxRecords;
  readonly longName: ByteString | undefined;
  readonly longLink: ByteString | undefined;
};

/** Bytes of content that follow an entry's header. Only files have any, whatever their headers say. */
export function storedBytesOf({ header, pax }: TarMetadata, kind: TarKind): number {
  if (kind !== 'file') return 0;
  const size = pax.values.get('size');
  return size === undefined ? header.sizeBytes : paxInteger(size, 'size');
}

/**
 * The kind of an entry.
 * @throws invalidArgument for types that no filesystem has
 */
export function kindOf({ header, pax, longName }: TarMetadata): TarKind {
  const kind = KINDS[header.type];
  if (kind === undefined) {
    throw invalidArgument(`unhandled tar header type ${header.type.charCodeAt(0)}`);
  }
  if (header.type === '\0') {
    const name = longName ?? pax.values.get('path') ?? header.name;
    if (name.endsWith('/')) return 'directory';
  }
  return kind;
}

/** Puts an entry together. `sparse` is what was found out about its holes. */
export function makeEntry(
  metadata: TarMetadata,
  kind: TarKind,
  sparse: { segments: readonly Segment[] | undefined; storedBytes: number; realBytes: number },
): TarEntry {
  const { header, pax } = metadata;
  const { values } = pax;
  const id = (key: 'uid' | 'gid'): number => {
    const text = values.get(key);
    const number = text === undefined ? header[key] : paxInteger(text, key);
    if (number < 0 || number > 0xffff_ffff) throw invalidHeader(`${key} is out of range`);
    return number;
  };
  const time = (key: 'mtime' | 'atime'): TarTime | undefined => {
    const text = values.get(key);
    return text === undefined ? undefined : paxTime(text, key);
  };
  const path =
    metadata.longName ?? values.get('GNU.sparse.name') ?? values.get('path') ?? header.name;
  const hasLink = kind === 'symlink' || kind === 'hardlink';
  const link = metadata.longLink ?? values.get('linkpath') ?? header.link;
  checkLength(path, 'path', LIMITS.tarPathBytesMax);
  if (hasLink) checkLength(link, 'link target', LIMITS.tarLinkBytesMax);
  const mtime = time('mtime') ?? { sec: header.mtimeSec, nsec: 0 };
  return {
    kind,
    path,
    link: hasLink ? link : ('' as ByteString),
    mode: header.mode,
    uid: id('uid'),
    gid: id('gid'),
    uname: values.get('uname') ?? header.uname,
    gname: values.get('gname') ?? header.gname,
    mtime,
    atime: time('atime') ?? mtime,
    sizeBytes: sparse.realBytes,
    storedBytes: sparse.storedBytes,
    segments: sparse.segments,
    major: header.major,
    minor: header.minor,
    xattrs:
      pax.xattrs.size === 0
        ? NO_XATTRS
        : Array.from(pax.xattrs, ([name, value]) => ({ name, value })),
  };
}

const NO_XATTRS: readonly TarXattr[] = [];

function checkLength(name: ByteString, what: string, bytesMax: number): void {
  if (name.length <= bytesMax) return;
  throw invalidArgument(
    `tar entry with a ${what} of ${name.length} bytes; at most ${bytesMax} work`,
  );
}
