import { closeSync, constants, openSync, readSync } from 'node:fs';
import { EntryTable, TarScan, type TarSpan } from '../../formats/delta/entry-table.ts';
import { paddingBytes } from '../../formats/delta/head-codec.ts';
import { O_CLOEXEC } from '../../kernel/constants.ts';
import type { EntrySource } from './delta-source.ts';

const CHUNK_BYTES = 1 << 20;

/** An image's layers as plain tars in files. */
export class TarFiles implements EntrySource, Disposable {
  readonly table = new EntryTable();
  readonly spans: TarSpan[] = [];
  readonly #fds: number[] = [];
  /** Where in its tar the content of each entry begins. */
  readonly #offsets: number[] = [];

  /** @throws invalidArgument for what is not tar */
  constructor(files: readonly string[]) {
    try {
      for (const file of files) this.#scan(file);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #scan(file: string): void {
    this.#fds.push(openSync(file, constants.O_RDONLY | O_CLOEXEC));
    const scan = new TarScan(this.table);
    for (const chunk of this.tar(this.#fds.length - 1)) scan.push(chunk);
    const span = scan.end();
    this.spans.push(span);
    let at = 0;
    for (let i = span.first; i < span.first + span.count; i++) {
      at += this.table.headBytes(i);
      this.#offsets.push(at);
      const content = this.table.contentBytes(i);
      at += content + paddingBytes(content);
    }
  }

  /** A whole tar, in chunks that are the consumer's to keep. */
  *tar(position: number): Generator<Buffer> {
    for (let at = 0; ; ) {
      const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
      const bytes = readSync(this.#fds[position] ?? -1, chunk, 0, chunk.length, at);
      if (bytes === 0) return;
      at += bytes;
      yield chunk.subarray(0, bytes);
    }
  }

  read(index: number, into: Uint8Array, position: number): boolean {
    if (position + into.length > this.table.contentBytes(index)) return false;
    const fd = this.#fds[this.spans.findLastIndex(({ first }) => first <= index)] ?? -1;
    const from = (this.#offsets[index] ?? 0) + position;
    for (let at = 0; at < into.length; ) {
      const bytes = readSync(fd, into, at, into.length - at, from + at);
      if (bytes === 0) return false;
      at += bytes;
    }
    return true;
  }

  [Symbol.dispose](): void {
    for (const fd of this.#fds) closeSync(fd);
    this.#fds.length = 0;
  }
}
