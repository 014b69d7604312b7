import { closeSync, mkdirSync, openSync, readdirSync, unlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import { CLONE, MNT, MS } from './constants.ts';
import { isMountPoint } from './mountinfo.ts';
import type { Syscalls } from './syscalls.ts';

/** Of the calling thread, which need not be the process's first one. */
const OWN_NAMESPACE = '/proc/thread-self/ns/net';

/**
 * Network namespaces that live as bind mounts (`NAME` in a folder of the exec root), as
 * `ip netns` keeps them.
 *
 * setns(2) moves only the calling thread. Every visit is synchronous and ends where it began;
 * a thread that cannot go back would do the rest of the daemon's work in a container's network, so
 * then the process aborts.
 */
export class NetworkNamespaces implements Disposable {
  readonly #sys: Syscalls;
  readonly #folder: string;
  readonly #home: number;

  constructor(sys: Syscalls, folder: string) {
    this.#sys = sys;
    this.#folder = folder;
    this.#home = openSync(OWN_NAMESPACE, 'r');
    mkdirSync(folder, { recursive: true, mode: 0o755 });
  }

  [Symbol.dispose](): void {
    closeSync(this.#home);
  }

  pathOf(name: string): string {
    return path.join(this.#folder, name);
  }

  /** Makes a namespace and runs `body` inside it. Leaves nothing when either fails. */
  create<T>(name: string, body: () => T): T {
    const file = this.pathOf(name);
    writeFileSync(file, '', { flag: 'wx', mode: 0o444 });
    try {
      return this.#visit(
        () => this.#sys.unshare(CLONE.NEWNET),
        () => {
          this.#sys.mount({ source: OWN_NAMESPACE, target: file, flags: MS.BIND });
          return body();
        },
      );
    } catch (error) {
      this.remove(name);
      throw error;
    }
  }

  /** Binds the namespace of a process under `name`, in place of what is there. */
  adopt(name: string, pid: number): void {
    const file = this.pathOf(name);
    this.remove(name);
    writeFileSync(file, '', { flag: 'wx', mode: 0o444 });
    this.#sys.mount({ source: `/proc/${pid}/ns/net`, target: file, flags: MS.BIND });
  }

  /** Runs a synchronous body inside a namespace. Sockets that it opens stay there. */
  enter<T>(name: string, body: () => T): T {
    const fd = openSync(this.pathOf(name), 'r');
    try {
      return this.#visit(() => this.#sys.setns(fd, CLONE.NEWNET), body);
    } finally {
      closeSync(fd);
    }
  }

  /** Opens a namespace, to give it to netlink as IFLA_NET_NS_FD. The caller closes it. */
  open(name: string): number {
    return openSync(this.pathOf(name), 'r');
  }

  /** True when `name` is a live namespace, visible from this process's mount namespace. */
  exists(name: string): boolean {
    return isMountPoint(this.pathOf(name));
  }

  /** The namespaces' names, dead ones too. */
  list(): string[] {
    return readdirSync(this.#folder).filter((name) => !name.includes('.'));
  }

  /** Lets go of a namespace: it ends with its last process and takes its links along. */
  remove(name: string): void {
    const file = this.pathOf(name);
    try {
      this.#sys.umount(file, MNT.DETACH);
    } catch (error) {
      if (!['EINVAL', 'ENOENT'].includes(errnoOf(error) ?? '')) throw error; // EINVAL: not mounted
    }
    try {
      unlinkSync(file);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
  }

  #visit<T>(go: () => void, body: () => T): T {
    go();
    try {
      return body();
    } finally {
      try {
        this.#sys.setns(this.#home, CLONE.NEWNET);
      } catch {
        process.abort();
      }
    }
  }
}
