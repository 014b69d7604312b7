import { closeSync } from 'node:fs';
import { errnoOf, forbidden, invalidArgument } from '../../base/errors.ts';
import { fromText } from '../../formats/byte-string.ts';
import { TarReader } from '../../formats/tar-reader.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { OpenDirectory, openInRoot } from '../../kernel/tree-walk.ts';
import { becomeFileOwner } from '../../kernel/user-namespace.ts';
import { rootOf } from '../../policy/user-remap.ts';
import type { JobContext } from '../job.ts';
import { plainBytes } from '../plain-bytes.ts';
import type { TreeUnpackInput } from '../tree-protocol.ts';
import { TreeUnpacker } from '../tree-unpack.ts';
import { isAbsent, missingPath, openParent, openView, wantedPath } from '../tree-view.ts';

/**
 * The job `tree-unpack`: a tar from stdin, plain or compressed, is extracted into a folder of a
 * container. What was extracted before a failure stays.
 */
export async function treeUnpack(input: unknown, context: JobContext): Promise<null> {
  const options = input as TreeUnpackInput;
  const sys = openSyscalls();
  const root = openView(sys, options.view);
  process.umask(0);
  const { users } = options.view;
  if (users !== undefined) becomeFileOwner(sys, rootOf(users));
  checkFolder(sys, root, options);
  const unpacker = new TreeUnpacker({
    sys,
    root,
    into: wantedPath(options.path).clean,
    noOverwriteDirNonDir: options.noOverwriteDirNonDir,
    owner: options.owner,
    users,
    onWarning: (message) => context.report({ warning: message }),
  });
  const reader = new TarReader(unpacker);
  for await (const chunk of plainBytes(context.stdinPieces(), context.signal)) reader.push(chunk);
  reader.end();
  unpacker.end();
  return null;
}

/** @throws notFound, invalidArgument for what is no folder, forbidden for one that is read-only */
function checkFolder(sys: Syscalls, root: OpenDirectory, options: TreeUnpackInput): void {
  const wanted = wantedPath(options.path);
  let fd: number;
  try {
    fd = openInRoot(sys, root, wanted.clean, { directory: true });
  } catch (error) {
    if (!isAbsent(error)) throw error;
    if (errnoOf(error) === 'ENOTDIR' && wanted.clean !== '/') {
      using parent = openParent(sys, root, wanted, options.path);
      const name = fromText(wanted.clean.slice(wanted.clean.lastIndexOf('/') + 1));
      if (parent.stat(name) !== undefined) {
        throw invalidArgument('extraction point is not a directory');
      }
    }
    throw missingPath(options.path, error);
  }
  try {
    // The kernel knows whether it lies on the root's filesystem or on another mount.
    const directory = new OpenDirectory(sys, fd);
    const dot = fromText('.');
    const onRoot = directory.stat(dot)?.dev === root.stat(dot)?.dev;
    if (onRoot && options.readOnlyRoot) {
      throw forbidden('container rootfs is marked read-only');
    }
    const bind = options.view.binds.findLast(({ destination }) =>
      `${wanted.clean}/`.startsWith(`${destination}/`),
    );
    if (bind?.readOnly === true) throw forbidden('mounted volume is marked read-only');
  } finally {
    closeSync(fd);
  }
}
