import { closeSync, statSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, notFound } from '../base/errors.ts';
import { CLONE, MS, O_CLOEXEC, RESOLVE } from '../kernel/constants.ts';
import { makeDirectoryInRoot } from '../kernel/rootfs-file.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { OpenDirectory, openInRoot } from '../kernel/tree-walk.ts';
import { MISSING, type TreeView } from './tree-protocol.ts';

let hasOwnMounts = false;

/**
 * Gives this process a mount namespace of its own, if it has none yet. What was opened before lies
 * on other mounts than what is opened after, and cannot be linked with it.
 */
export function enterOwnMounts(sys: Syscalls): void {
  if (hasOwnMounts) return;
  sys.unshare(CLONE.NEWNS);
  sys.mount({ source: 'none', target: '/', flags: MS.REC | MS.PRIVATE });
  hasOwnMounts = true;
}

/**
 * Opens a container's root. What its start would mount is mounted in a mount namespace of this
 * process's own, so that nothing of it is seen outside and all of it goes with the process.
 */
export function openView(sys: Syscalls, view: TreeView): OpenDirectory {
  if (view.binds.length > 0) {
    enterOwnMounts(sys);
    for (const bind of view.binds) mountBind(sys, view.root, bind);
  }
  return OpenDirectory.open(sys, view.root);
}

function mountBind(sys: Syscalls, root: string, bind: TreeView['binds'][number]): void {
  makeTarget(sys, root, bind);
  const top = OpenDirectory.open(sys, root);
  try {
    const fd = openInRoot(sys, top, bind.destination, { directory: false });
    try {
      const target = `/proc/self/fd/${fd}`;
      sys.mount({ source: bind.source, target, flags: MS.BIND | MS.REC });
    } finally {
      closeSync(fd);
    }
  } finally {
    top[Symbol.dispose]();
  }
}

/** As the runtime does at a start: a folder or an empty file where there is nothing to mount on. */
function makeTarget(sys: Syscalls, root: string, bind: TreeView['binds'][number]): void {
  const nobody = { uid: 0, gid: 0 };
  if (statSync(bind.source).isDirectory()) {
    makeDirectoryInRoot(sys, root, bind.destination, nobody);
    return;
  }
  const parent = path.posix.dirname(bind.destination);
  makeDirectoryInRoot(sys, root, parent, nobody);
  const top = OpenDirectory.open(sys, root);
  try {
    const flags = 0o100 | O_CLOEXEC; // O_CREAT
    const how = { flags, mode: 0o644, resolve: RESOLVE.IN_ROOT };
    closeSync(sys.openat2(top.fd, bind.destination.replace(/^\/+/, ''), how));
  } finally {
    top[Symbol.dispose]();
  }
}

/** A path of the user's, taken apart. */
export type WantedPath = {
  /** Absolute within the root, without `.`, `..` and slashes at the end. */
  readonly clean: string;
  /** It ended with a slash or `/.`: a directory is meant, and a symlink to one is followed. */
  readonly meansDirectory: boolean;
  /** It ended with `/.`: the directory's contents are meant. */
  readonly meansContents: boolean;
};

export function wantedPath(text: string): WantedPath {
  const clean = path.posix.normalize(`/${text}`).replace(/(.)\/$/, '$1');
  const meansContents = /(?:^|\/)\.$/.test(text);
  return { clean, meansDirectory: meansContents || text.endsWith('/'), meansContents };
}

/** The error of a path that is not there; the daemon knows the container's name and says it whole. */
export function missingPath(text: string, cause: unknown): Error {
  return notFound(`Could not find the file ${text}`, { cause, detail: { [MISSING]: text } });
}

/** Opens the directory that holds a path's last part. @throws notFound */
export function openParent(
  sys: Syscalls,
  root: OpenDirectory,
  wanted: WantedPath,
  text: string,
): OpenDirectory {
  try {
    const fd = openInRoot(sys, root, path.posix.dirname(wanted.clean), { directory: true });
    return new OpenDirectory(sys, fd);
  } catch (error) {
    throw isAbsent(error) ? missingPath(text, error) : error;
  }
}

export function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENAMETOOLONG'].includes(errnoOf(error) ?? '');
}
