import { closeSync, createReadStream, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, invalidArgument, isEngineError } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { fromText } from '../../formats/byte-string.ts';
import { BLOCK_BYTES, decodeHeader, isZeroBlock } from '../../formats/tar-header.ts';
import { TarReader, type TarSink } from '../../formats/tar-reader.ts';
import { makeDirectoryInRoot, readInRoot } from '../../kernel/rootfs-file.ts';
import { detectCompression } from '../../kernel/sync-inflate.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { followInRoot, OpenDirectory, openInRoot } from '../../kernel/tree-walk.ts';
import { copyOwner } from '../../policy/build/copy-owner.ts';
import type { BuildCommand, BuildSource } from '../build-protocol.ts';
import { plainBytes } from '../plain-bytes.ts';
import { feed } from '../tree-layer.ts';
import { TreePacker } from '../tree-pack.ts';
import { TreeUnpacker } from '../tree-unpack.ts';
import { isAbsent } from '../tree-view.ts';

/** COPY and ADD: files from a tree into the root of an image that is being made. */

type Owner = { readonly uid: number; readonly gid: number };
type Copy = Extract<BuildCommand, { do: 'copy' }>;
type Copying = {
  readonly sys: Syscalls;
  readonly command: Copy;
  readonly from: OpenDirectory;
  /** The root, and its path. */
  readonly root: OpenDirectory;
  readonly merged: string;
  readonly owner: Owner;
  readonly signal: AbortSignal;
};

const ROOT: Owner = { uid: 0, gid: 0 };

/**
 * Carries a command out.
 * @throws invalidArgument for a place that cannot be, and a user that the image does not know
 */
export async function copySources(
  sys: Syscalls,
  command: Copy,
  options: { readonly from: OpenDirectory; readonly signal: AbortSignal },
): Promise<void> {
  const { merged } = command.of;
  using root = OpenDirectory.open(sys, merged);
  const read = (file: string): string => readInRoot(sys, merged, file, LIMITS.accountFileBytesMax);
  const owner =
    command.owner === ''
      ? ROOT
      : copyOwner(command.owner, { passwd: read('/etc/passwd'), group: read('/etc/group') });
  const copying: Copying = { sys, command, root, merged, owner, ...options };
  for (const source of command.sources) await copySource(copying, source);
}

async function copySource(copying: Copying, source: BuildSource): Promise<void> {
  const { sys, command, from, root } = copying;
  const to = followInRoot(sys, root, command.to);
  if (source.download !== '') {
    using folder = OpenDirectory.open(sys, path.dirname(source.download));
    const place = { parent: folder, name: fromText(path.basename(source.download)) };
    await copyFile(copying, { ...place, to: fileTarget(copying, to, source.path) });
    return;
  }
  const real = followInRoot(sys, from, `/${source.path}`);
  const parentPath = path.posix.dirname(real);
  using parent = new OpenDirectory(sys, openInRoot(sys, from, parentPath, { directory: true }));
  const name = fromText(real === '/' ? '.' : path.posix.basename(real));
  if (parent.stat(name)?.isDirectory() === true) {
    makeFolder(copying, to);
    using inside = parent.enter(name);
    await into(copying, to, (packer) => packer.contents(inside, fromText('')));
    return;
  }
  const archive = command.unpacks ? await archiveAt(parent, name, copying.signal) : undefined;
  if (archive !== undefined) {
    makeFolder(copying, to);
    await unpackArchive(copying, archive, to);
    return;
  }
  await copyFile(copying, { parent, name, to: fileTarget(copying, to, source.path) });
}

/** Where a file goes: into a folder under its name, or to a name. */
function fileTarget(copying: Copying, to: string, name: string): string {
  const isFolder = copying.command.to.endsWith('/') || isFolderAt(copying, to);
  if (!isFolder) return to;
  const inside = path.posix.join(to, path.posix.basename(name));
  return followInRoot(copying.sys, copying.root, inside);
}

function isFolderAt({ sys, root }: Copying, place: string): boolean {
  try {
    closeSync(openInRoot(sys, root, place, { directory: true }));
    return true;
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

function makeFolder({ sys, merged, owner }: Copying, folder: string): void {
  try {
    makeDirectoryInRoot(sys, merged, folder, owner);
  } catch (error) {
    if (!['ENOTDIR', 'EEXIST'].includes(errnoOf(error) ?? '')) throw error;
    throw invalidArgument(`failed to copy files: cannot copy to non-directory: ${folder}`, {
      cause: error,
    });
  }
}

type Place = {
  readonly parent: OpenDirectory;
  readonly name: ReturnType<typeof fromText>;
  readonly to: string;
};

async function copyFile(copying: Copying, { parent, name, to }: Place): Promise<void> {
  const folder = path.posix.dirname(to);
  makeFolder(copying, folder);
  if (isFolderAt(copying, to)) {
    throw invalidArgument(`failed to copy files: cannot copy to directory: ${to}`);
  }
  await into(copying, folder, (packer) =>
    packer.entry(parent, name, fromText(path.posix.basename(to))),
  );
}

function unpackerInto(copying: Copying, folder: string, owner: Owner | undefined): TreeUnpacker {
  return new TreeUnpacker({
    ...{ sys: copying.sys, root: copying.root, into: folder, noOverwriteDirNonDir: false },
    ...{ owner, users: undefined, onWarning: () => undefined },
  });
}

/** What `pack` packs comes into a folder of the root. */
async function into(
  copying: Copying,
  folder: string,
  pack: (packer: TreePacker) => Promise<void>,
): Promise<void> {
  const { sys, signal, command, owner } = copying;
  const unpacker = unpackerInto(copying, folder, command.keepsOwner ? undefined : owner);
  const reader = new TarReader(command.keepsOwner ? unpacker : withoutSetId(unpacker));
  await feed(
    (chunk) => reader.push(chunk),
    async (output) => {
      const packer = new TreePacker(sys, output, { signal, users: undefined });
      await pack(packer);
      await packer.end();
    },
  );
  reader.end();
  unpacker.end();
}

const [SETUID, SETGID, GROUP_EXECUTES] = [0o4000, 0o2000, 0o010];

/** A program that gets another owner does not run as that one, as after chown(2). */
function withoutSetId(sink: TarSink): TarSink {
  return {
    ...{ content: sink.content, entryEnd: sink.entryEnd },
    entry: (entry) => {
      const dropped = SETUID | (entry.mode & GROUP_EXECUTES ? SETGID : 0);
      sink.entry(entry.kind === 'file' ? { ...entry, mode: entry.mode & ~dropped } : entry);
    },
  };
}

/** A descriptor of a file that is a tar, plain or compressed; undefined for others. */
async function archiveAt(
  parent: OpenDirectory,
  name: ReturnType<typeof fromText>,
  signal: AbortSignal,
): Promise<number | undefined> {
  const fd = parent.openFile(name);
  if (fd === undefined) return undefined;
  try {
    if (await isTar(fd, signal)) return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return undefined;
}

/** @throws invalidArgument for what is packed in a way that cannot be read */
async function isTar(fd: number, signal: AbortSignal): Promise<boolean> {
  const head = Buffer.alloc(BLOCK_BYTES);
  detectCompression(head.subarray(0, readSync(fd, head, 0, head.length, 0)));
  const chunks: Buffer[] = [];
  let bytes = 0;
  try {
    for await (const chunk of plainBytes(streamOf(fd), signal)) {
      chunks.push(Buffer.from(chunk));
      bytes += chunk.length;
      if (bytes >= BLOCK_BYTES) break;
    }
    const block = Buffer.concat(chunks).subarray(0, BLOCK_BYTES);
    if (block.length < BLOCK_BYTES || isZeroBlock(block)) return false;
    decodeHeader(block);
    return true;
  } catch (error) {
    if (isEngineError(error, 'invalidArgument', 'dataLoss')) return false;
    throw error;
  }
}

/** A file from its beginning. Opened anew, because the stream closes what it reads from. */
function streamOf(fd: number): AsyncIterable<Buffer> {
  return createReadStream('', { fd: openSync(`/proc/self/fd/${fd}`, 'r') });
}

/** An archive of ADD. Owners are those that it says, unless --chown is given. */
async function unpackArchive(copying: Copying, fd: number, to: string): Promise<void> {
  const { command, owner, signal } = copying;
  const unpacker = unpackerInto(copying, to, command.owner === '' ? undefined : owner);
  const reader = new TarReader(unpacker);
  const source = streamOf(fd);
  closeSync(fd);
  for await (const chunk of plainBytes(source, signal)) reader.push(chunk);
  reader.end();
  unpacker.end();
}
