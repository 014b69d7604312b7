import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { TaskGroup } from '../../src/base/async.ts';
import type { Call, ProgressCall } from '../../src/engine/call.ts';
import { Containers } from '../../src/engine/containers/containers.ts';
import { imageDelta } from '../../src/engine/deltas/create.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { imageLoad } from '../../src/engine/images/load.ts';
import { imageSave } from '../../src/engine/images/save.ts';
import type { ProgressMessage } from '../../src/spec/docker/progress.ts';
import { openImageEngine } from './image-engine.ts';

const CALL: Call = { signal: new AbortController().signal, apiVersion: [1, 41] };

/** An engine that loads, saves and makes deltas, on a data root of its own. */
export type DeltaTestEngine = AsyncDisposable & {
  readonly engine: Engine;
  readonly staging: string;
  /** Gives what the client is told at the end. */
  readonly load: (archive: Uint8Array) => Promise<string>;
  readonly save: (...names: string[]) => Promise<Buffer>;
  readonly delta: (query: { src: string; dest: string; t: string }) => Promise<ProgressMessage[]>;
};

/** Opens one. */
export async function openDeltaEngine(): Promise<DeltaTestEngine> {
  const here = await openImageEngine();
  const failures: unknown[] = [];
  const tasks = new TaskGroup((_, error) => failures.push(error));
  const engine = {
    ...here.engine,
    ...{ database: here.database, tasks, containers: new Containers() },
  } as unknown as Engine;
  return {
    engine,
    staging: here.dataRoot.staging,
    load: async (archive) => {
      const lines: ProgressMessage[] = [];
      const call: ProgressCall = { ...CALL, progress: (message) => lines.push(message) };
      const body = Readable.from([archive]);
      await imageLoad(engine, { query: { quiet: true, platform: [] }, body }, call);
      return lines.map((line) => line.stream ?? '').join('');
    },
    save: async (...names) => {
      const { body } = await imageSave(engine, { query: { names } }, CALL);
      return await buffer(body);
    },
    delta: async (query) => {
      const lines: ProgressMessage[] = [];
      await imageDelta(engine, { query }, { ...CALL, progress: (line) => lines.push(line) });
      return lines;
    },
    [Symbol.asyncDispose]: async () => {
      await tasks.close();
      await here[Symbol.asyncDispose]();
      assert.deepEqual(failures, []);
    },
  };
}
