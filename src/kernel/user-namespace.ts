import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { internal } from '../base/errors.ts';
import {
  AT,
  MOUNT_ATTR,
  O_CLOEXEC,
  OPEN_TREE_CLONE,
  PR,
  SECBIT_NO_SETUID_FIXUP,
} from './constants.ts';
import { CWD, type Syscalls } from './syscalls.ts';

/** User namespaces: made by `native/userns.c`, kept by whoever takes them from its process. */

/** Texts of uid_map and gid_map. */
export type IdMaps = { readonly uids: string; readonly gids: string };

/** A process that holds new namespaces (`/proc/PID/ns`) until it is disposed. */
export type NamespaceHolder = AsyncDisposable & { readonly pid: number };

/** @throws internal when the kernel makes none, or refuses the maps */
export async function holdNamespaces(
  program: string,
  maps: IdMaps,
  options: { readonly network: boolean },
): Promise<NamespaceHolder> {
  const child = spawn(program, options.network ? ['net'] : [], { stdio: 'pipe' });
  // Its end tells all: it could not be started, or went before it was told to.
  child.once('error', () => undefined);
  child.stdin.once('error', () => undefined);
  const { pid } = child;
  if (pid === undefined) throw internal(`cannot start ${program}`);
  try {
    await step(child);
    writeFileSync(`/proc/${pid}/uid_map`, maps.uids);
    writeFileSync(`/proc/${pid}/gid_map`, maps.gids);
    child.stdin.write('.');
    await step(child);
  } catch (cause) {
    child.kill('SIGKILL');
    throw internal('cannot make a user namespace', { cause });
  }
  return {
    pid,
    [Symbol.asyncDispose]: async () => {
      const ended = once(child, 'exit');
      child.stdin.end();
      await ended;
    },
  };
}

/** Waits for a byte. */
async function step(child: ChildProcess): Promise<void> {
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw internal('no pipes');
  let said = '';
  stderr.on('data', (bytes: Buffer) => {
    said += bytes.toString();
  });
  await new Promise<void>((resolve, reject) => {
    const failed = (): void => reject(internal(said || 'the process that holds it has ended'));
    child.once('close', failed);
    stdout.once('data', () => {
      child.off('close', failed);
      resolve();
    });
  });
}

/** The data root, mounted with mapped owners, and who is root in it. */
export type MappedView = {
  readonly folder: string;
  /** Mounts what is mounted on a folder of the data root there as well, if it is not yet. */
  readonly mapMount: (mountPoint: string) => Promise<void>;
  readonly root: { readonly uid: number; readonly gid: number };
};

/**
 * Runs a synchronous body in which this thread is another user to filesystems, and keeps all its
 * capabilities: the real root has no number in a mapped mount, and can make nothing there.
 */
export function asFileOwner<T>(sys: Syscalls, owner: MappedView['root'], body: () => T): T {
  const bits = sys.prctl(PR.GET_SECUREBITS, 0);
  becomeFileOwner(sys, owner);
  try {
    return body();
  } finally {
    sys.setfsuid(0);
    sys.setfsgid(0);
    sys.prctl(PR.SET_SECUREBITS, bits);
  }
}

/** {@link asFileOwner} for the rest of this thread's life. */
export function becomeFileOwner(sys: Syscalls, owner: MappedView['root']): void {
  sys.prctl(PR.SET_SECUREBITS, sys.prctl(PR.GET_SECUREBITS, 0) | SECBIT_NO_SETUID_FIXUP);
  sys.setfsgid(owner.gid);
  sys.setfsuid(owner.uid);
}

/**
 * Mounts a folder a second time, with its owners mapped as in the user namespace of a process; what
 * is mounted below it is not there. Files are stored as they are without it.
 * @throws a syscall error where the filesystem or the kernel (before 5.12) cannot
 */
export function mountMapped(
  sys: Syscalls,
  mount: { readonly source: string; readonly target: string; readonly pid: number },
): void {
  const namespace = openSync(`/proc/${mount.pid}/ns/user`, 'r');
  try {
    const tree = sys.openTree(CWD, mount.source, OPEN_TREE_CLONE | O_CLOEXEC);
    try {
      const attributes = { set: MOUNT_ATTR.IDMAP, userNsFd: namespace };
      sys.mountSetattr(tree, '', AT.EMPTY_PATH, attributes);
      mkdirSync(mount.target, { recursive: true, mode: 0o711 });
      sys.moveMount(tree, CWD, mount.target);
    } finally {
      closeSync(tree);
    }
  } finally {
    closeSync(namespace);
  }
}
