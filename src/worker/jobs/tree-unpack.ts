import { closeSync } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip, createZstdDecompress } from 'node:zlib';
import { errnoOf, forbidden, invalidArgument } from '../../base/errors.ts';
import { asBuffer, fromText } from '../../formats/byte-string.ts';
import { TarReader } from '../../formats/tar-reader.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { detectCompression, MAGIC_BYTES } from '../../kernel/sync-inflate.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { OpenDirectory, openInRoot } from '../../kernel/tree-walk.ts';
import { becomeFileOwner } from '../../kernel/user-namespace.ts';
import { rootOf } from '../../policy/user-remap.ts';
import type { JobContext } from '../job.ts';
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
  for await (const chunk of plainBytes(context.stdin)) reader.push(asBuffer(chunk));
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

/** The bytes without their compression, if they have one. */
async function* plainBytes(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const chunks = source[Symbol.asyncIterator]();
  const rest: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => chunks };
  let head = Buffer.alloc(0);
  while (head.length < MAGIC_BYTES) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    head = Buffer.concat([head, value]);
  }
  const compression = detectCompression(head);
  if (compression === 'none') {
    yield head;
    yield* rest;
    return;
  }
  const inflate = compression === 'gzip' ? createGunzip() : createZstdDecompress();
  pipeline(prepend(head, rest), inflate, () => undefined); // its failure is the reader's too
  yield* inflate;
}

async function* prepend(
  head: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield head;
  yield* rest;
}
