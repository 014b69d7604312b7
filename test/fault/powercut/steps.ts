import { closeSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs';
import path from 'node:path';
import { runOk } from '../../support/processes.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { CHECKOUT } from '../../support/tools.ts';

/** `struct steps` of steps.c. */
const STEPS_BYTES = 24 + 256;

type Where = {
  /** Where the filesystem that is cut is mounted. */
  readonly disk: string;
  /** The folder in which steps count. */
  readonly data: string;
};

/**
 * Counts the steps that a daemon and its workers take towards what is durable (steps.c says which),
 * and cuts the power of a disk just before one of them.
 */
export class Steps implements Disposable {
  /** For the daemon. */
  readonly env: Readonly<Record<string, string>>;
  readonly #folder: Disposable;
  readonly #fd: number;

  private constructor(folder: Disposable & { readonly path: string }, where: Where) {
    this.#folder = folder;
    const file = path.join(folder.path, 'steps');
    writeFileSync(file, Buffer.alloc(STEPS_BYTES));
    this.#fd = openSync(file, 'r+');
    this.env = {
      LD_PRELOAD: path.join(folder.path, 'steps.so'),
      POWERCUT_STEPS: file,
      POWERCUT_DISK: where.disk,
      POWERCUT_DATA: where.data,
    };
  }

  /** Builds the library. */
  static async open(where: Where): Promise<Steps> {
    const folder = temporaryFolder('steps');
    const source = path.join(CHECKOUT, 'test/fault/powercut/steps.c');
    const library = path.join(folder.path, 'steps.so');
    await runOk('cc', ['-shared', '-fPIC', '-O2', '-Wall', '-Werror', '-o', library, source]);
    return new Steps(folder, where);
  }

  /** Counts from 0 again; the power goes before step `cutAt`, counted from 1; never at 0. */
  arm(cutAt: number): void {
    const bytes = Buffer.alloc(STEPS_BYTES);
    bytes.writeBigUInt64LE(BigInt(cutAt), 8);
    writeSync(this.#fd, bytes, 0, bytes.length, 0);
  }

  #read(): Buffer {
    const bytes = Buffer.alloc(STEPS_BYTES);
    readSync(this.#fd, bytes, 0, bytes.length, 0);
    return bytes;
  }

  /** The step that it was armed for. */
  get cutAt(): number {
    return Number(this.#read().readBigUInt64LE(8));
  }

  get count(): number {
    return Number(this.#read().readBigUInt64LE(0));
  }

  /** The call that the power went before; undefined while it is on. */
  get cutBefore(): string | undefined {
    const bytes = this.#read();
    if (bytes.readBigUInt64LE(16) === 0n) return undefined;
    return bytes.toString('utf8', 24, bytes.indexOf(0, 24));
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
    this.#folder[Symbol.dispose]();
  }
}
