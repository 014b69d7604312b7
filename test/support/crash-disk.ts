import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { eventually, run, runOk } from './processes.ts';
import { temporaryFolder } from './temp.ts';

export type FilesystemKind = 'ext4' | 'xfs' | 'btrfs' | 'f2fs';

/** EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN: _IOR('X', 125, __u32); its flag for no log flush. */
const SHUTDOWN = 0x8004587d;
const NO_LOG_FLUSH = 2;
const DISK_BYTES = 768 << 20;
const MAKE: Readonly<Record<FilesystemKind, readonly string[]>> = {
  ext4: ['mkfs.ext4', '-q', '-F'],
  xfs: ['mkfs.xfs', '-q', '-f'],
  btrfs: ['mkfs.btrfs', '-q', '-f'],
  f2fs: ['mkfs.f2fs', '-q', '-f'],
};

/** True when this kernel can mount such a filesystem; its module is loaded when it has one. */
export function hasFilesystem(kind: FilesystemKind): boolean {
  const isKnown = (): boolean =>
    readFileSync('/proc/filesystems', 'utf8').split(/\s/).includes(kind);
  return isKnown() || (spawnSync('modprobe', [kind]).status === 0 && isKnown());
}

/**
 * A filesystem on a loop device whose power can be cut: from then on nothing reaches the disk, and
 * what was not yet on it is lost, the journal's tail included. ext4 and xfs do that themselves when
 * asked; what they have written by then is kept. Another filesystem, or one that wants a cache, lies in a
 * file on such an ext4, which is then the disk with its volatile cache: what was flushed to it is kept,
 * what was only written may be lost, in any order.
 */
export class CrashDisk implements AsyncDisposable {
  /** Where the filesystem is mounted. */
  readonly mountPoint: string;
  readonly #kind: FilesystemKind;
  readonly #folder = temporaryFolder('disk');
  /** The mounts, outermost first; the power is cut at the first. */
  readonly #stages: readonly Stage[];

  private constructor(kind: FilesystemKind, isNested: boolean) {
    this.#kind = kind;
    const at = (name: string): string => path.join(this.#folder.path, name);
    const outer = new Stage(at('disk.img'), at('mnt'));
    this.#stages = isNested ? [outer, new Stage(at('mnt/inner.img'), at('inner'))] : [outer];
    this.mountPoint = at(isNested ? 'inner' : 'mnt');
  }

  /** A fresh one, mounted; `hasCache`: with a volatile cache in any case. */
  static async make(kind: FilesystemKind, hasCache = false): Promise<CrashDisk> {
    const disk = new CrashDisk(kind, hasCache || kind === 'btrfs' || kind === 'f2fs');
    try {
      for (const [depth, stage] of disk.#stages.entries()) {
        const isLast = depth === disk.#stages.length - 1;
        await stage.format(isLast ? kind : 'ext4', DISK_BYTES * (isLast ? 1 : 1.25));
        await stage.mount();
      }
    } catch (error) {
      await disk[Symbol.asyncDispose]();
      throw error;
    }
    return disk;
  }

  get kind(): FilesystemKind {
    return this.#kind;
  }

  /** The mount at whose filesystem the power is cut. */
  get cutPoint(): string {
    return this.#stages[0]?.mountPoint ?? this.mountPoint;
  }

  /** Cuts the power, now. */
  cut(): void {
    const fd = openSync(this.cutPoint, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      const flags = Buffer.alloc(4);
      flags.writeUInt32LE(NO_LOG_FLUSH);
      openSyscalls().ioctl(fd, SHUTDOWN, flags);
    } finally {
      closeSync(fd);
    }
  }

  /** Takes the disk out and puts it in again: the next mount reads what the disk really has. */
  async reboot(): Promise<void> {
    for (const stage of [...this.#stages].reverse()) await stage.unmount();
    for (const stage of this.#stages) await stage.mount();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const stage of [...this.#stages].reverse()) await stage.release('--lazy');
    this.#folder[Symbol.dispose]();
  }
}

/** A filesystem in a file, on a loop device of its own. */
class Stage {
  readonly image: string;
  readonly mountPoint: string;
  #device = '';
  #options: readonly string[] = [];
  #isMounted = false;

  constructor(image: string, mountPoint: string) {
    this.image = image;
    this.mountPoint = mountPoint;
  }

  async format(kind: FilesystemKind, bytes: number): Promise<void> {
    mkdirSync(this.mountPoint, { recursive: true });
    writeFileSync(this.image, '');
    truncateSync(this.image, bytes);
    const [command = '', ...args] = MAKE[kind];
    await runOk(command, [...args, this.image]);
    // Processes in mount namespaces of their own may hold on to the dead one for a while.
    if (kind === 'xfs') this.#options = ['-o', 'nouuid'];
  }

  async mount(): Promise<void> {
    this.#device = (await runOk('losetup', ['--find', '--show', this.image])).trim();
    // The kernel may need a moment to let go of the filesystem that was unmounted before.
    let said = '';
    await eventually(
      async () => {
        const { code, stderr } = await run('mount', [
          ...this.#options,
          this.#device,
          this.mountPoint,
        ]);
        said = stderr;
        return code === 0;
      },
      { what: 'the mount' },
    ).catch((cause: unknown) => {
      throw new Error(`mount ${this.image}: ${said}`, { cause });
    });
    this.#isMounted = true;
  }

  /** Takes it out so that it can be put in again. */
  async unmount(): Promise<void> {
    await this.release();
    // A mount namespace that was made meanwhile, anybody's, has a copy of the mount and keeps the
    // dead filesystem. A second device beside it would be the end of both.
    await eventually(
      async () => (await runOk('losetup', ['--associated', this.image])).trim() === '',
      { what: 'other mount namespaces to let go of the disk', timeoutMs: 60_000 },
    );
  }

  /** What a killed process still holds is let go of in a moment; the device goes with the last mount. */
  async release(...options: readonly string[]): Promise<void> {
    if (this.#isMounted) {
      let said = '';
      await eventually(
        async () => {
          const { code, stderr } = await run('umount', [...options, this.mountPoint]);
          said = stderr;
          return code === 0;
        },
        { what: `umount: ${said}` },
      );
      this.#isMounted = false;
    }
    if (this.#device === '') return;
    await runOk('losetup', ['--detach', this.#device]);
    this.#device = '';
  }
}
