import type { FilesystemChange } from '../../spec/docker/container-view.ts';
import type { TreeChange } from '../../worker/tree-protocol.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { withDiff } from './filesystem.ts';

/** What a container has changed of its image's files; null when nothing. */
export async function containerChanges(
  engine: Engine,
  args: { readonly params: { readonly id: string } },
  call: Call,
): Promise<FilesystemChange[] | null> {
  const container = engine.containers.get(args.params.id);
  const changes = await withDiff(engine, container, async (input) => {
    await using job = await engine.workers.start('tree-changes', input, { signal: call.signal });
    job.stdin.end();
    job.stdout.resume();
    return (await job.result) as TreeChange[];
  });
  return changes.length === 0
    ? null
    : changes.map(({ path, kind }) => ({ Path: path, Kind: kind }));
}
