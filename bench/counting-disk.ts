import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { eventually, run, runOk } from '../test/support/processes.ts';

/** A tmpfs. */
const MEMORY = '/dev/shm';

/**
 * A fresh ext4 in memory, on a loop device that counts what is written to it. An old filesystem takes
 * many times the metadata, more each time that something large is deleted from it, and a disk that
 * others use too says more about them than about an engine.
 */
export class CountingDisk implements AsyncDisposable {
  readonly mountPoint: string;
  readonly #image: string;
  readonly #device: string;

  private constructor(image: string, mountPoint: string, device: string) {
    this.#image = image;
    this.mountPoint = mountPoint;
    this.#device = device;
  }

  static async make(folder: string): Promise<CountingDisk> {
    const image = path.join(MEMORY, `coracle-bench-${process.pid}-${path.basename(folder)}.img`);
    mkdirSync(folder);
    writeFileSync(image, '');
    truncateSync(image, 6 * 2 ** 30);
    // Nothing is left to be initialised later, and counted then.
    const whole = ['-E', 'lazy_itable_init=0,lazy_journal_init=0'];
    await runOk('mkfs.ext4', ['-q', '-F', ...whole, image]);
    const device = (await runOk('losetup', ['--find', '--show', image])).trim();
    await runOk('mount', [device, folder]);
    return new CountingDisk(image, folder, device);
  }

  /** So far; what is dirty is written first. */
  async writtenBytes(): Promise<number> {
    await runOk('sync', ['--file-system', this.mountPoint]);
    const stat = readFileSync(`/sys/block/${path.basename(this.#device)}/stat`, 'utf8');
    return Number(stat.trim().split(/\s+/)[6]) * 512;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // What the engine had open is let go of in a moment.
    await eventually(async () => (await run('umount', [this.mountPoint])).code === 0, {
      what: `umount ${this.mountPoint}`,
    });
    await runOk('losetup', ['--detach', this.#device]);
    rmSync(this.#image);
  }
}
