import path from 'node:path';
import { type ByteString, fromText } from '../../formats/byte-string.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { followInRoot, OpenDirectory, openInRoot } from '../../kernel/tree-walk.ts';
import type { JobContext } from '../job.ts';
import { TreePacker } from '../tree-pack.ts';
import type { TreePackInput, TreeStat } from '../tree-protocol.ts';
import {
  isAbsent,
  missingPath,
  openParent,
  openView,
  type WantedPath,
  wantedPath,
} from '../tree-view.ts';

/** A path of a container, found: the directory it is in and its name there. `.` is the root itself. */
type Found = { readonly parent: OpenDirectory; readonly name: ByteString; readonly stat: TreeStat };

/** The job `tree-pack`: what a path of a container is, and its tree as a tar. */
export async function treePack(input: unknown, context: JobContext): Promise<null> {
  const { view, path: text, statOnly, naming } = input as TreePackInput;
  const sys = openSyscalls();
  const root = openView(sys, view);
  const wanted = wantedPath(text);
  const found = find(sys, root, wanted, text);
  context.report(found.stat);
  if (statOnly) return null;
  const packer = new TreePacker(sys, context.stdout, {
    signal: context.signal,
    users: view.users,
    ...(naming === 'export' ? { device: root.stat('.' as ByteString)?.dev ?? 0n } : {}),
  });
  if (naming === 'export') await packer.contents(root, '' as ByteString);
  else await packer.tree(found.parent, found.name, nameInArchive(wanted));
  await packer.end();
  return null;
}

/** The root's entries begin with a slash, contents with `./`, others with the path's last part. */
function nameInArchive(wanted: WantedPath): ByteString {
  if (wanted.meansContents) return '.' as ByteString;
  return fromText(wanted.clean === '/' ? '/' : path.posix.basename(wanted.clean));
}

function find(sys: Syscalls, root: OpenDirectory, wanted: WantedPath, text: string): Found {
  const isRoot = wanted.clean === '/';
  let parent = isRoot ? root : openParent(sys, root, wanted, text);
  let name = fromText(isRoot ? '.' : path.posix.basename(wanted.clean));
  if (wanted.meansDirectory && !isRoot) {
    // `link/` means what the link points to.
    try {
      const fd = openInRoot(sys, root, wanted.clean, { directory: true });
      parent = new OpenDirectory(sys, fd);
      name = '.' as ByteString;
    } catch (error) {
      throw isAbsent(error) ? missingPath(text, error) : error;
    }
  }
  const stats = parent.stat(name);
  if (stats === undefined) throw missingPath(text, undefined);
  const shown = isRoot ? '/' : wanted.meansContents ? '.' : path.posix.basename(wanted.clean);
  return {
    parent,
    name,
    stat: {
      name: shown,
      size: Number(stats.size),
      mode: Number(stats.mode),
      mtimeNs: String(stats.mtimeNs),
      linkTarget: stats.isSymbolicLink() ? followInRoot(sys, root, wanted.clean) : '',
    },
  };
}
