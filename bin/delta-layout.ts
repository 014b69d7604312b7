import { silentLogger } from '../src/base/log.ts';
import type { DeltaLayoutInput } from '../src/spec/delta-layout.ts';
import type { ProgressMessage } from '../src/spec/docker/progress.ts';
import { createWorkers } from '../src/worker/workers.ts';
import { workerCommand } from './executable.ts';

/** The client's own worker: deltas between OCI layouts are made without a daemon. */
export async function makeLayoutDeltas(
  input: DeltaLayoutInput,
  onProgress: (message: ProgressMessage) => void,
): Promise<void> {
  const workers = createWorkers(workerCommand(process.env), silentLogger);
  await using job = await workers.start('delta-layout', input, {
    signal: new AbortController().signal,
    onReport: (message) => onProgress(message as ProgressMessage),
  });
  await job.result;
}
