import { createHash } from 'node:crypto';
import { closeSync, fstatSync, openSync, utimesSync, writeSync } from 'node:fs';
import path from 'node:path';
import { invalidArgument } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { fromText, toText } from '../../formats/byte-string.ts';
import { pathMatch } from '../../formats/path-match.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { followInRoot, OpenDirectory, openInRoot } from '../../kernel/tree-walk.ts';
import type { BuildSource } from '../build-protocol.ts';
import { enterIfThere } from '../tree-diff.ts';
import { isAbsent } from '../tree-view.ts';
import { download } from '../url-download.ts';
import type { BuildContext } from './context.ts';
import { digestTree, folderDigest } from './entry-digest.ts';

/** Where COPY and ADD look for files. */
export type SourceTree = {
  readonly sys: Syscalls;
  readonly root: OpenDirectory;
  /** Undefined for the files of an image. */
  readonly context: BuildContext | undefined;
};

/**
 * What a path of COPY or ADD names; several for a pattern, none when it fits nothing.
 * @throws invalidArgument for what is not there or leads out of the tree
 */
export function findSources(tree: SourceTree, wanted: string): BuildSource[] {
  const { sys, root } = tree;
  const clean = path.posix.normalize(wanted.replace(/^\/+/, '') || '.').replace(/\/$/, '');
  if (clean === '..' || clean.startsWith('../')) {
    throw invalidArgument(`forbidden path outside the build context: ${wanted} ()`);
  }
  if (!/[*?[\\]/.test(clean)) return [sourceAt(tree, clean)];
  const found: string[] = [];
  const depth = clean.split('/').length;
  const visit = (folder: OpenDirectory, prefix: string, level: number): void => {
    for (const name of folder.names()) {
      const full = `${prefix}${toText(name)}`;
      if (pathMatch(clean, full)) found.push(full);
      if (level >= depth || folder.stat(name)?.isDirectory() !== true) continue;
      using inside = enterIfThere(folder, name);
      if (inside !== undefined) visit(inside, `${full}/`, level + 1);
    }
  };
  using top = new OpenDirectory(sys, openInRoot(sys, root, '/', { directory: true }));
  visit(top, '', 1);
  return found.map((each) => sourceAt(tree, each));
}

function sourceAt(tree: SourceTree, name: string): BuildSource {
  const { sys, root, context } = tree;
  const real = followInRoot(sys, root, `/${name}`).slice(1);
  const isFolder = isFolderAt(tree, real, name);
  const digest = context?.digestOf(real, isFolder) ?? digestIn(tree, real);
  return { digest: `${isFolder ? 'dir' : 'file'}:${digest}`, path: name, download: '' };
}

function isFolderAt(tree: SourceTree, real: string, name: string): boolean {
  try {
    const fd = openInRoot(tree.sys, tree.root, `/${real}`, { directory: false });
    try {
      return fstatSync(fd).isDirectory();
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (isAbsent(error)) throw missing(tree, name, error);
    throw error;
  }
}

function missing({ context }: SourceTree, name: string, cause?: unknown): Error {
  const where =
    context === undefined ? '' : 'file not found in build context or excluded by .dockerignore: ';
  return invalidArgument(`${where}stat ${name}: file does not exist`, { cause });
}

function digestIn({ sys, root }: SourceTree, real: string): string {
  const parentPath = path.posix.dirname(`/${real}`);
  using parent = new OpenDirectory(sys, openInRoot(sys, root, parentPath, { directory: true }));
  const name = fromText(real === '' ? '.' : path.posix.basename(real));
  const digests = digestTree(parent, name, name);
  return parent.stat(name)?.isDirectory() === true ? folderDigest(digests) : (digests[0] ?? '');
}

/** True for what ADD downloads. */
export function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}

/** The last part of a URL's path; '' when it has none. */
function nameIn(url: string): string {
  if (!URL.canParse(url)) return '';
  const last = path.posix.basename(new URL(url).pathname);
  try {
    return path.posix.basename(decodeURIComponent(last));
  } catch {
    return last; // a percent sign that is none of a code
  }
}

/**
 * Downloads a file of ADD into staging, with the time that the server says it has.
 * @throws invalidArgument when it has no name; what the download throws
 */
export async function downloadSource(
  url: string,
  options: { readonly staging: string; readonly number: number; readonly signal: AbortSignal },
): Promise<BuildSource> {
  const name = nameIn(url);
  if (name === '' || name === '.' || name === '..') {
    throw invalidArgument(`cannot determine filename for source ${url}`);
  }
  const response = await download(url, options.signal);
  const file = path.join(options.staging, `download-${options.number}`);
  const hash = createHash('sha256').update(`${name}\n`);
  const fd = openSync(file, 'wx', 0o600);
  let bytes = 0;
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > LIMITS.buildContextBytesMax) {
        throw invalidArgument(`${url} is larger than ${LIMITS.buildContextBytesMax} bytes`);
      }
      hash.update(chunk);
      for (let at = 0; at < chunk.length; ) at += writeSync(fd, chunk, at);
    }
  } finally {
    closeSync(fd);
  }
  const modifiedMs = Date.parse(response.headers['last-modified'] ?? '');
  const time = Number.isNaN(modifiedMs) ? 0 : modifiedMs / 1000;
  utimesSync(file, time, time);
  return { digest: `file:${hash.digest('hex')}`, path: name, download: file };
}
