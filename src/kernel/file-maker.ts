import { assert } from '../base/errors.ts';
import { addressOf, libraryFunctions, type Native } from './ffi-node.ts';
import { syscallError } from './syscall-error.ts';
import type { TimeSpec } from './syscalls.ts';

/**
 * Makes files on a thread of its own (`native/maker.so.c`) while this one decides what they are.
 *
 * What is to be made is posted as jobs, and nothing is given back: the thread opens, writes, sets
 * owner, mode and times, links, and keeps the file open until its bytes are written out
 * ({@link FileMaker.writeOut}). Jobs are carried out in the order in which they were posted. So who
 * posts must know that a job will do what is meant: that its name is not taken, and its directory's
 * descriptor is open until it is let go by a job ({@link FileMaker.letGo}). Where something depends
 * on what is there, {@link FileMaker.settle} waits for all jobs. A directory that a job makes is
 * known by a negative number, in place of a descriptor, in the jobs that follow.
 *
 * After a job that failed none is carried out any more, and some later call throws its error, which
 * is made for `whose` job it was. At most {@link RING_BYTES} bytes of {@link JOBS_MAX} jobs wait: who
 * posts more than that waits too.
 *
 *   job: u32 bytes, kind, number, dir, flags, mode, uid, gid; i64 atime, mtime;
 *        u32 atimeNsec, mtimeNsec, otherDir, nameBytes, otherBytes, contentBytes; names; content
 */
export type MadeFile = {
  /** A descriptor, or what {@link FileMaker.directory} gave. */
  readonly dirFd: number;
  /** One name, of bytes (latin1), without a NUL. */
  readonly name: string;
  readonly mode: number;
  /** Set when they are not those that a new file has. */
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** The mode has bits that a new file is not given, or that a new owner takes away. */
  readonly needsChmod: boolean;
  readonly atime: TimeSpec;
  readonly mtime: TimeSpec;
};

/** One more name of a file, below an open directory: `object` or `bucket/object`. */
export type OtherName = { readonly dirFd: number; readonly name: string };

/** Content of a file, and where it stands. */
export type Piece = {
  readonly content: Buffer;
  readonly isFirst: boolean;
  readonly isLast: boolean;
};

const RING_BYTES = 1 << 20;
const JOBS_MAX = 512;
/** So much is posted at once: waking the thread up costs more than most jobs. */
const POST_BYTES = 64 << 10;
const POST_JOBS = 32;
/** Content of one job at most. */
export const PIECE_BYTES = 128 << 10;
const HEAD_BYTES = 72;

const SKIP = 0;
const PIECE = 1;
const SYMLINK = 2;
const LINK = 3;
const LET_GO = 4;
const DIRECTORY = 5;

const BEGINS = 1;
const ENDS = 2;
const CHOWN = 4;
const CHMOD = 8;
const HAS_OBJECT = 16;

/** Words of a job; times have two. */
const KIND = 1;
const NUMBER = 2;
const DIR = 3;
const FLAGS = 4;
const MODE = 5;
const UID = 6;
const GID = 7;
const ATIME = 8;
const MTIME = 10;
const ATIME_NSEC = 12;
const MTIME_NSEC = 13;
const OTHER_DIR = 14;
const NAME_BYTES = 15;
const OTHER_BYTES = 16;
const CONTENT_BYTES = 17;

/** Directories that jobs made and that were not let go. */
const SLOTS = 512;
/** Where slots begin in what the thread tells, which is in words. */
const SLOTS_AT = 3;
/** -1. */
const NO_DIRECTORY = 0xffff_ffff;
const TWO_32 = 2 ** 32;

type Library = Readonly<Record<'open' | 'post' | 'wait' | 'held' | 'writeOut' | 'close', Native>>;

let functions: { readonly found: Library | undefined } | undefined;

function library(): Library | undefined {
  functions ??= {
    found: libraryFunctions('maker.so', {
      open: 'uintptr_t maker_open(uintptr_t ring, uint32_t bytes, uintptr_t progress)',
      post: 'void maker_post(uintptr_t maker, uint32_t bytes)',
      wait: 'void maker_wait(uintptr_t maker, uint32_t done)',
      held: 'uint32_t maker_held(uintptr_t maker)',
      writeOut: 'int maker_write_out(uintptr_t maker, int filesystem, int is_whole)',
      close: 'void maker_close(uintptr_t maker)',
    }),
  };
  return functions.found;
}

/** Makes files for several, who are told apart by a `Whose`. */
export class FileMaker<Whose> implements Disposable {
  readonly #native: Library;
  readonly #maker: number;
  readonly #ring: Buffer;
  readonly #words: Uint32Array;
  /** Bytes that are done, errno, number of the job that failed; then descriptors of directories. */
  readonly #progress: Uint32Array;
  readonly #freeSlots = Array.from({ length: SLOTS }, (_, i) => SLOTS - 1 - i);
  readonly #explain: (error: Error, whose: Whose) => unknown;
  /** By the number of the job: whose it is, and where it ends. */
  readonly #whose: Whose[] = [];
  readonly #ends = new Uint32Array(JOBS_MAX);
  #number = 0;
  /** Bytes of jobs that were made and posted; both wrap around as the thread's do. */
  #made = 0;
  #posted = 0;
  #unposted = 0;
  #isClosed = false;
  #failure: unknown;

  private constructor(
    native: Library,
    maker: number,
    memory: { readonly ring: Buffer; readonly progress: Uint32Array },
    explain: (error: Error, whose: Whose) => unknown,
  ) {
    this.#native = native;
    this.#maker = maker;
    this.#ring = memory.ring;
    this.#words = new Uint32Array(memory.ring.buffer, 0, RING_BYTES / 4);
    this.#progress = memory.progress;
    this.#explain = explain;
  }

  /**
   * Undefined where the library cannot be loaded, or there can be no such thread. `explain` makes
   * what is thrown for a job that failed.
   */
  static open<Whose>(
    explain: (error: Error, whose: Whose) => unknown,
  ): FileMaker<Whose> | undefined {
    const native = library();
    if (native === undefined) return undefined;
    const ring = Buffer.allocUnsafeSlow(RING_BYTES);
    const progress = new Uint32Array(new ArrayBuffer((SLOTS_AT + SLOTS) * 4));
    progress.fill(NO_DIRECTORY, SLOTS_AT);
    const told = addressOf(new Uint8Array(progress.buffer));
    const maker = native.open(addressOf(ring), RING_BYTES, told);
    return maker === 0 ? undefined : new FileMaker(native, maker, { ring, progress }, explain);
  }

  /**
   * The next piece of a regular file, of at most {@link PIECE_BYTES}: pieces of one file come one
   * after another. `object` is a name that it gets in the end.
   */
  piece(whose: Whose, file: MadeFile, piece: Piece, object: OtherName | undefined): void {
    const { content, isFirst, isLast } = piece;
    const { name } = file;
    const other = isLast && object !== undefined ? object.name : '';
    const start = this.#begin(whose, name.length + other.length + content.length);
    let flags = (isFirst ? BEGINS : 0) | (isLast ? ENDS : 0);
    if (isLast && object !== undefined) flags |= HAS_OBJECT;
    const at = this.#file(start, PIECE, flags, file);
    this.#words[at + OTHER_DIR] = object?.dirFd ?? 0;
    this.#words[at + CONTENT_BYTES] = content.length;
    const end = this.#names(start, name, other);
    content.copy(this.#ring, end);
    this.#end(start, end + content.length);
  }

  /** A symlink; its mode is of no account. */
  symlink(whose: Whose, file: MadeFile, target: string): void {
    const start = this.#begin(whose, file.name.length + target.length);
    this.#file(start, SYMLINK, 0, file);
    this.#end(start, this.#names(start, file.name, target));
  }

  /**
   * A directory, which is open until it is let go; gives the number by which it is known.
   * At most {@link SLOTS} at a time.
   */
  directory(whose: Whose, file: MadeFile): number {
    const slot = this.#freeSlots.pop();
    assert(slot !== undefined, 'too many open directories');
    const start = this.#begin(whose, file.name.length);
    const at = this.#file(start, DIRECTORY, 0, file);
    this.#words[at + OTHER_DIR] = slot;
    this.#end(start, this.#names(start, file.name, ''));
    return ~slot;
  }

  /** The descriptor of a directory that was made and is not let go; -1 while it is not made. */
  descriptor(directory: number): number {
    return (this.#progress[SLOTS_AT + ~directory] ?? NO_DIRECTORY) | 0;
  }

  /** Gives the file `first` one more name. */
  link(whose: Whose, { dirFd, name }: OtherName, first: OtherName): void {
    const start = this.#begin(whose, name.length + first.name.length);
    const at = this.#plain(start, LINK, dirFd);
    this.#words[at + OTHER_DIR] = first.dirFd;
    this.#end(start, this.#names(start, name, first.name));
  }

  /** Gives a directory its times and closes it: it belongs to the thread now. */
  letGo(whose: Whose, dirFd: number, times: Pick<MadeFile, 'atime' | 'mtime'>): void {
    const start = this.#begin(whose, 0);
    const at = this.#plain(start, LET_GO, dirFd);
    this.#times(at, times.atime, times.mtime);
    this.#end(start, this.#names(start, '', ''));
    // A job that takes the slot comes after this one.
    if (dirFd < 0) this.#freeSlots.push(~dirFd);
  }

  /** Waits until all that was posted is done. @throws what `explain` makes when something was not */
  settle(): void {
    this.#waitFor(this.#made);
    this.#check();
  }

  /** What `explain` made of the job that failed; undefined when none has by now. */
  get failure(): unknown {
    const errno = this.#progress[1] ?? 0;
    if (errno === 0 || this.#isClosed) return undefined;
    const whose = this.#whose[(this.#progress[2] ?? 0) % JOBS_MAX] as Whose;
    this.#failure ??= this.#explain(syscallError('make', errno), whose);
    return this.#failure;
  }

  /** How many files are complete and not written out; after {@link settle} of all that was posted. */
  get heldFiles(): number {
    return this.#native.held(this.#maker);
  }

  /**
   * Writes out files that are complete, and drops their pages: all of the filesystem at once, or
   * only these, one by one. Settle first where it must be all of them; one call at a time.
   */
  async writeOut(filesystemFd: number, isWhole: boolean): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const done = (error: unknown, errno: number): void => {
      if (error !== null) reject(error);
      else if (errno !== 0) reject(syscallError('syncfs', errno));
      else resolve();
    };
    this.#native.writeOut.async(this.#maker, filesystemFd, isWhole ? 1 : 0, done);
    await promise;
  }

  /** Room for a job with so many bytes of names and content; gives where it begins in the ring. */
  #begin(whose: Whose, bytes: number): number {
    this.#check();
    const total = rounded(HEAD_BYTES + 2 + bytes);
    assert(total <= RING_BYTES / 2, 'a job that is too large');
    const slot = this.#number % JOBS_MAX;
    if (this.#isAhead(this.#ends[slot] ?? 0)) {
      this.#waitFor(this.#ends[(this.#number + JOBS_MAX / 2) % JOBS_MAX] ?? 0);
    }
    let start = this.#made % RING_BYTES;
    const left = RING_BYTES - start;
    const needed = total <= left ? total : left + total;
    if (this.#isAhead((this.#made + needed - RING_BYTES) >>> 0)) {
      this.#waitFor((this.#made - Math.min(RING_BYTES / 2, RING_BYTES - needed)) >>> 0);
    }
    // What was waited for may be a job that failed: whose it was is still to be told.
    this.#check();
    if (total > left) {
      this.#words[start >> 2] = left;
      this.#words[(start >> 2) + KIND] = SKIP;
      this.#made = (this.#made + left) >>> 0;
      start = 0;
    }
    this.#whose[slot] = whose;
    return start;
  }

  /** So many bytes, counted from the beginning, are not done yet. */
  #isAhead(bytes: number): boolean {
    return (Atomics.load(this.#progress, 0) - bytes) >> 31 !== 0;
  }

  #waitFor(bytes: number): void {
    this.#post();
    if (this.#isAhead(bytes)) this.#native.wait(this.#maker, bytes);
  }

  #check(): void {
    if (Atomics.load(this.#progress, 1) !== 0) throw this.failure;
  }

  #post(): void {
    const bytes = (this.#made - this.#posted) >>> 0;
    this.#posted = this.#made;
    this.#unposted = 0;
    if (bytes > 0) this.#native.post(this.#maker, bytes);
  }

  #plain(start: number, kind: number, dirFd: number): number {
    const at = start >> 2;
    this.#words[at + KIND] = kind;
    this.#words[at + NUMBER] = this.#number;
    this.#words[at + DIR] = dirFd;
    this.#words[at + FLAGS] = 0;
    this.#words[at + CONTENT_BYTES] = 0;
    return at;
  }

  #file(start: number, kind: number, flags: number, file: MadeFile): number {
    const { dirFd, owner, mode, needsChmod, atime, mtime } = file;
    const at = this.#plain(start, kind, dirFd);
    const more = (owner === undefined ? 0 : CHOWN) | (needsChmod ? CHMOD : 0);
    this.#words[at + FLAGS] = flags | more;
    this.#words[at + MODE] = mode;
    this.#words[at + UID] = owner?.uid ?? 0;
    this.#words[at + GID] = owner?.gid ?? 0;
    this.#times(at, atime, mtime);
    return at;
  }

  #times(at: number, atime: TimeSpec, mtime: TimeSpec): void {
    const words = this.#words;
    // The low and the high half of an i64, modulo 2^32 as typed arrays take them.
    words[at + ATIME] = atime.sec;
    words[at + ATIME + 1] = Math.floor(atime.sec / TWO_32);
    words[at + MTIME] = mtime.sec;
    words[at + MTIME + 1] = Math.floor(mtime.sec / TWO_32);
    words[at + ATIME_NSEC] = atime.nsec;
    words[at + MTIME_NSEC] = mtime.nsec;
  }

  /** Gives where the names end. */
  #names(start: number, name: string, other: string): number {
    const ring = this.#ring;
    let end = start + HEAD_BYTES;
    end += ring.write(name, end, 'latin1');
    ring[end++] = 0;
    end += ring.write(other, end, 'latin1');
    ring[end++] = 0;
    const at = start >> 2;
    this.#words[at + NAME_BYTES] = name.length + 1;
    this.#words[at + OTHER_BYTES] = other.length + 1;
    return end;
  }

  #end(start: number, end: number): void {
    const bytes = rounded(end - start);
    this.#words[start >> 2] = bytes;
    this.#made = (this.#made + bytes) >>> 0;
    this.#ends[this.#number % JOBS_MAX] = this.#made;
    this.#number = (this.#number + 1) >>> 0;
    this.#unposted += 1;
    const waiting = (this.#made - this.#posted) >>> 0;
    if (waiting >= POST_BYTES || this.#unposted >= POST_JOBS) this.#post();
  }

  /** What was posted is done or, after a failure, left; {@link writeOut} must not be under way. */
  [Symbol.dispose](): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#post();
    this.#native.close(this.#maker);
  }
}

/** Jobs begin at multiples of 8. */
function rounded(bytes: number): number {
  return (bytes + 7) & ~7;
}
