import path from 'node:path';
import { type ByteString, fromText, toText } from '../../formats/byte-string.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { walkCopyDiff } from '../copy-diff.ts';
import type { JobContext } from '../job.ts';
import { walkDiff } from '../tree-diff.ts';
import { TreePacker } from '../tree-pack.ts';
import type { TreeChange, TreeDiffInput } from '../tree-protocol.ts';

function walkOf({ isCopy }: TreeDiffInput): typeof walkDiff {
  return isCopy ? walkCopyDiff : walkDiff;
}

/** The job `tree-changes`: what a container has changed of its image, as a list. */
export async function treeChanges(input: unknown): Promise<TreeChange[]> {
  const changes: TreeChange[] = [];
  await walkOf(input as TreeDiffInput)(openSyscalls(), input as TreeDiffInput, {
    present: ({ path: full, below }) =>
      void changes.push({ path: toText(full), kind: below ? 0 : 1 }),
    deleted: (full) => void changes.push({ path: toText(full), kind: 2 }),
    opaque: () => undefined,
  });
  return changes;
}

/** The job `tree-diff`: the same as a layer's tar on stdout, with whiteouts as the OCI has them. */
export async function treeDiff(input: unknown, context: JobContext): Promise<null> {
  const sys = openSyscalls();
  const diff = input as TreeDiffInput;
  const { users } = diff;
  const packer = new TreePacker(sys, context.stdout, { signal: context.signal, users });
  await walkOf(diff)(sys, diff, {
    present: async ({ path: full, inMerged, name, isDirectory }) => {
      const as = full.slice(1) as ByteString;
      if (isDirectory) await packer.directory(inMerged, name, as);
      else await packer.entry(inMerged, name, as);
    },
    deleted: async (full) => {
      const text = toText(full.slice(1) as ByteString);
      const folder = path.posix.dirname(text);
      await packer.mark(fromText(path.posix.join(folder, `.wh.${path.posix.basename(text)}`)));
    },
    opaque: async (full) => await packer.mark(`${full.slice(1)}/.wh..wh..opq` as ByteString),
  });
  await packer.end();
  return null;
}
