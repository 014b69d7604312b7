import { toText } from '../../formats/byte-string.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import type { JobContext } from '../job.ts';
import { diffWalkOf, packDiff } from '../tree-layer.ts';
import type { TreeChange, TreeDiffInput } from '../tree-protocol.ts';

/** The job `tree-changes`: what a container has changed of its image, as a list. */
export async function treeChanges(input: unknown): Promise<TreeChange[]> {
  const diff = input as TreeDiffInput;
  const changes: TreeChange[] = [];
  await diffWalkOf(diff)(openSyscalls(), diff, {
    present: ({ path: full, below }) =>
      void changes.push({ path: toText(full), kind: below ? 0 : 1 }),
    deleted: (full) => void changes.push({ path: toText(full), kind: 2 }),
    opaque: () => undefined,
  });
  return changes;
}

/** The job `tree-diff`: the same as a layer's tar on stdout. */
export async function treeDiff(input: unknown, context: JobContext): Promise<null> {
  await packDiff(openSyscalls(), input as TreeDiffInput, context.stdout, context.signal);
  return null;
}
