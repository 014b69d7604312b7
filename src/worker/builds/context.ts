import type { Hash } from 'node:crypto';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { invalidArgument } from '../../base/errors.ts';
import { firstBytes, prepend } from '../../base/first-bytes.ts';
import { LIMITS } from '../../base/limits.ts';
import { fromText, toText } from '../../formats/byte-string.ts';
import { parseIgnorePatterns } from '../../formats/ignore-patterns.ts';
import type { TarEntry } from '../../formats/tar-entry.ts';
import { TarReader, type TarSink } from '../../formats/tar-reader.ts';
import { readInRoot } from '../../kernel/rootfs-file.ts';
import { detectCompression } from '../../kernel/sync-inflate.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { OpenDirectory, openInRoot } from '../../kernel/tree-walk.ts';
import { plainBytes } from '../plain-bytes.ts';
import { TreeUnpacker } from '../tree-unpack.ts';
import { beginDigest, folderDigest } from './entry-digest.ts';

/** A build's context: its files in staging, and their digests, which are taken as they come. */
export class BuildContext {
  readonly #sys: Syscalls;
  /** Absolute. */
  readonly folder: string;
  /** By clean path; a folder's own digest is that of its header. */
  readonly #digests = new Map<string, string>();
  readonly #symlinks = new Set<string>();
  /** A file came by way of a symlink and lies elsewhere than it is called: no digest is sure. */
  #isTwisted = false;

  constructor(sys: Syscalls, folder: string) {
    this.#sys = sys;
    this.folder = folder;
    mkdirSync(folder, { mode: 0o755 });
  }

  /** Takes a tar in, plain or compressed. @throws invalidArgument for a bad one */
  async unpack(source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    using root = OpenDirectory.open(this.#sys, this.folder);
    const unpacker = new TreeUnpacker({
      ...{ sys: this.#sys, root, into: '/', noOverwriteDirNonDir: false },
      ...{ owner: undefined, users: undefined },
      // What a copy would lack is lacking in the build as well.
      onWarning: () => undefined,
    });
    const reader = new TarReader(this.#digesting(unpacker));
    for await (const chunk of plainBytes(source, signal)) reader.push(chunk);
    reader.end({ mayLackPadding: true });
    unpacker.end();
  }

  /** A tar, or a Dockerfile, from a URL. */
  async takeRemote(source: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<void> {
    const chunks = source[Symbol.asyncIterator]();
    const rest: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => chunks };
    const head = await firstBytes(chunks, TAR_HEAD_BYTES);
    if (isArchive(Buffer.concat(head))) {
      await this.unpack(prepend(head, rest), signal);
      return;
    }
    const text: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of prepend(head, rest)) {
      bytes += chunk.length;
      if (bytes > LIMITS.dockerfileBytesMax) {
        throw invalidArgument(
          'what the URL names is neither a tar nor a Dockerfile: it is too long',
        );
      }
      text.push(chunk);
    }
    writeFileSync(path.join(this.folder, DOCKERFILE), Buffer.concat(text), { mode: 0o600 });
    this.#digests.set(DOCKERFILE, '');
  }

  /**
   * The text of the Dockerfile. What `.dockerignore` leaves out of what it is itself, and the
   * Dockerfile, was sent for this alone and goes.
   * @throws invalidArgument when it is not there
   */
  takeDockerfile(wanted: string): string {
    const name = this.#findDockerfile(clean(wanted === '' ? DOCKERFILE : wanted));
    if (name === undefined) {
      throw invalidArgument(`Cannot locate specified Dockerfile: ${wanted || DOCKERFILE}`);
    }
    const text = this.#read(name, LIMITS.dockerfileBytesMax + 1);
    if (text.trim() === '') throw invalidArgument(`the Dockerfile (${name}) cannot be empty`);
    const ignore = parseIgnorePatterns(this.#read(IGNORE_FILE, LIMITS.dockerfileBytesMax));
    for (const each of [IGNORE_FILE, name]) {
      if (!ignore.ignores(each)) continue;
      if (this.#digests.delete(each)) this.#remove(each);
    }
    return text;
  }

  #remove(name: string): void {
    using root = OpenDirectory.open(this.#sys, this.folder);
    const folder = path.posix.dirname(`/${name}`);
    const fd = openInRoot(this.#sys, root, folder, { directory: true });
    using parent = new OpenDirectory(this.#sys, fd);
    parent.remove(fromText(path.posix.basename(name)));
  }

  #findDockerfile(name: string): string | undefined {
    if (this.#digests.has(name)) return name;
    const lower = name.toLowerCase();
    return name === DOCKERFILE && this.#digests.has(lower) ? lower : undefined;
  }

  #read(name: string, bytesMax: number): string {
    return readInRoot(this.#sys, this.folder, name, bytesMax);
  }

  /** Digest of a file, or of all that is in a folder; undefined when it is not known. */
  digestOf(name: string, isFolder: boolean): string | undefined {
    if (this.#isTwisted) return undefined;
    if (!isFolder) return this.#digests.get(name);
    const prefix = name === '' ? '' : `${name}/`;
    const inside: string[] = [];
    for (const [each, digest] of this.#digests) {
      if (each.startsWith(prefix) && each !== '') inside.push(digest);
    }
    return folderDigest(inside);
  }

  #note({ kind }: TarEntry, name: string): void {
    for (let at = path.posix.dirname(name); at !== '.'; at = path.posix.dirname(at)) {
      if (this.#symlinks.size === 0) break;
      if (this.#symlinks.has(at)) this.#isTwisted = true;
    }
    if (kind === 'symlink') this.#symlinks.add(name);
  }

  /** Passes an archive's entries on, and takes their digests. */
  #digesting(sink: TarSink): TarSink {
    let current: { readonly name: string; readonly hash: Hash } | undefined;
    let bytes = 0;
    return {
      entry: (entry) => {
        sink.entry(entry);
        const name = clean(toText(entry.path));
        this.#note(entry, name);
        const hash = beginDigest(entry);
        if (entry.kind === 'hardlink') hash.update(this.#digests.get(linkTarget(entry)) ?? '');
        current = { name, hash };
      },
      content: (chunk, offset) => {
        bytes += chunk.length;
        if (bytes > LIMITS.buildContextBytesMax) {
          throw invalidArgument(
            `the build context is larger than ${LIMITS.buildContextBytesMax} bytes`,
          );
        }
        current?.hash.update(chunk);
        sink.content(chunk, offset);
      },
      entryEnd: () => {
        sink.entryEnd();
        if (current === undefined) return;
        this.#digests.set(current.name, current.hash.digest('hex'));
        if (this.#digests.size > LIMITS.buildContextEntriesMax) {
          throw invalidArgument(
            `the build context holds more than ${LIMITS.buildContextEntriesMax} files`,
          );
        }
      },
    };
  }
}

const DOCKERFILE = 'Dockerfile';
const IGNORE_FILE = '.dockerignore';
const TAR_HEAD_BYTES = 512;

function isArchive(head: Buffer): boolean {
  return detectCompression(head) !== 'none' || head.toString('latin1', 257, 262) === 'ustar';
}

/** Below the root, without slashes at its ends. */
function clean(name: string): string {
  return path.posix.normalize(`/${name}`).replace(/^\/|\/$/g, '');
}

function linkTarget(entry: TarEntry): string {
  return clean(toText(entry.link));
}
