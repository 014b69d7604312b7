import { writeSync } from 'node:fs';
import { HEAD_BYTES, headSum } from '../formats/layer-contents.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { FileIdentity, LocalContent, LocalContents, OpenContent } from './local-contents.ts';

/** What a file's content goes through. */
export type ContentWriterOptions = {
  readonly sys: Syscalls;
  readonly local: LocalContents;
  /** At least {@link HEAD_BYTES}; used until the writer is done. */
  readonly head: Buffer;
  readonly sizeBytes: number;
  /** Sum of the file's path. */
  readonly place: number;
  /**
   * Makes the file, when something must be written to it; or gives one that has the first bytes of
   * this content already, or all of them.
   */
  readonly create: () => { readonly fd: number; readonly filledBytes: number };
  /**
   * Takes a content of which nothing is here, in order, for a file that is made elsewhere; false at
   * the first bytes where that cannot be: then `create` is called.
   */
  readonly post?: (bytes: Buffer, offset: number) => boolean;
  readonly onWritten: (bytes: number) => void;
  /** The file that the content is being read from: what lies in that very file is not compared. */
  readonly source: () => FileIdentity | undefined;
};

/**
 * Takes a file's content in order and writes it only when no local content is the same. A small
 * file is held in memory until it is whole; of a larger one the head is, and what comes after is
 * compared with the candidate as it comes. Where it differs, what was equal is copied from the
 * candidate and the rest is written. Bytes are compared, not digests: what was damaged here is
 * never taken for what it was. Only where they come out of the candidate itself that is spared.
 */
export class ContentWriter implements Disposable {
  readonly #options: ContentWriterOptions;
  /** Bytes that are needed to look for a candidate. */
  readonly #headBytes: number;
  /** Bytes dealt with so far. */
  #at = 0;
  #candidate: OpenContent | undefined;
  #isSource = false;
  #isPosted = false;
  #fd = -1;
  #filledBytes = 0;
  #sum = 0;

  constructor(options: ContentWriterOptions) {
    this.#options = options;
    this.#headBytes = Math.min(options.sizeBytes, HEAD_BYTES);
  }

  /**
   * Where the bytes so far lie: in the file, or in a local content that is the same up to here;
   * undefined while they are in memory alone.
   */
  get lies(): { readonly bytes: number; readonly content: LocalContent | undefined } | undefined {
    if (this.#at < this.#headBytes) return undefined;
    return { bytes: this.#at, content: this.#candidate?.content };
  }

  /** Of the content's head; known at the end. */
  get sum(): number {
    return this.#sum;
  }

  write(bytes: Buffer): void {
    let rest = bytes;
    if (this.#at === 0 && bytes.length >= this.#headBytes) {
      this.#at = this.#headBytes;
      this.#decide(bytes.subarray(0, this.#headBytes));
      rest = bytes.subarray(this.#headBytes);
    } else if (this.#at < this.#headBytes) {
      const taken = bytes.copy(this.#options.head, this.#at, 0, this.#headBytes - this.#at);
      this.#at += taken;
      if (this.#at < this.#headBytes) return;
      this.#decide(this.#options.head.subarray(0, this.#headBytes));
      rest = bytes.subarray(taken);
    }
    if (rest.length === 0) return;
    if (this.#isPosted) this.#options.post?.(rest, this.#at);
    else this.#compareOrWrite(rest);
    this.#at += rest.length;
  }

  #compareOrWrite(rest: Buffer): void {
    const isEqual = this.#isSource || this.#candidate?.equals(rest, this.#at) === true;
    if (this.#candidate !== undefined && !isEqual) this.#differs();
    if (this.#candidate === undefined) this.#write(rest, this.#at);
  }

  #decide(bytes: Buffer): void {
    const { local, sizeBytes, place } = this.#options;
    const source = this.#options.source();
    this.#sum = headSum(bytes);
    for (const content of local.find({ sum: this.#sum, bytes: sizeBytes, place })) {
      const open = local.open(content, source);
      this.#isSource = open?.isSource === true;
      if (this.#isSource || open?.equals(bytes, 0) === true) {
        this.#candidate = open;
        return;
      }
      open?.[Symbol.dispose]();
    }
    this.#isPosted = this.#options.post?.(bytes, 0) === true;
    if (!this.#isPosted) this.#write(bytes, 0);
  }

  #differs(): void {
    const candidate = this.#candidate;
    this.#candidate = undefined;
    if (candidate === undefined) return;
    using same = candidate;
    this.#create();
    if (this.#filledBytes >= this.#at) return;
    copyBytes(this.#options.sys, same.fd, this.#fd, this.#at);
    this.#options.onWritten(this.#at);
  }

  #create(): void {
    ({ fd: this.#fd, filledBytes: this.#filledBytes } = this.#options.create());
  }

  #write(bytes: Buffer, offset: number): void {
    if (this.#fd < 0) this.#create();
    const known = Math.max(0, Math.min(bytes.length, this.#filledBytes - offset));
    for (let at = known; at < bytes.length; ) {
      at += writeSync(this.#fd, bytes, at, bytes.length - at, offset + at);
    }
    this.#options.onWritten(bytes.length - known);
  }

  /** The local content that this is: the caller's to dispose of. Undefined when it was written. */
  end(): OpenContent | undefined {
    const candidate = this.#candidate;
    this.#candidate = undefined;
    return candidate;
  }

  [Symbol.dispose](): void {
    this.#candidate?.[Symbol.dispose]();
  }
}

/** Copies the first bytes of a file to the beginning of another; a reflink where there are any. */
export function copyBytes(sys: Syscalls, fromFd: number, toFd: number, bytes: number): void {
  for (let left = bytes; left > 0; ) {
    const copied = sys.copyFileRange(fromFd, toFd, Math.min(left, COPY_BYTES));
    if (copied === 0) throw new Error('assertion failed: a shared content is shorter than it was');
    left -= copied;
  }
}

const COPY_BYTES = 64 << 20;
