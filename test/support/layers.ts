import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { KeyedLock, TaskGroup } from '../../src/base/async.ts';
import type { Clock } from '../../src/base/clock.ts';
import type { DiffId } from '../../src/base/digest.ts';
import { silentLogger } from '../../src/base/log.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import type { StorageOptions } from '../../src/policy/storage-options.ts';
import { type Database, openDatabase } from '../../src/store/db.ts';
import type { LayerStore } from '../../src/store/layer-store.ts';
import type { LayerStoreContext } from '../../src/store/layers/catalog.ts';
import { openLayerStore } from '../../src/store/layers/open.ts';
import { dataRootAt, execRootAt } from '../../src/store/paths.ts';
import { extractLayer } from '../../src/worker/extract.ts';
import type { ExtractedLayer } from '../../src/worker/layer-extraction.ts';
import { unmountAllBelow } from './mounts.ts';
import { temporaryFolder } from './temp.ts';

/** A layer store on a data root of its own. */
export type OpenStore = AsyncDisposable & {
  readonly context: LayerStoreContext;
  readonly database: Database;
  readonly store: LayerStore;
  /** Extracts a tar into staging. */
  readonly stage: (tar: Uint8Array) => Promise<ExtractedLayer>;
  /** Extracts and commits tars; bottom first. */
  readonly add: (...tars: readonly Uint8Array[]) => Promise<DiffId[]>;
  /** Waits for deletions in the background. */
  readonly settle: () => Promise<void>;
};

/** Opens one; `root` may be that of one that was closed. */
export async function openStore(
  driver: 'overlay2' | 'vfs' | '',
  root?: string,
  storage: StorageOptions = { sizeBytes: 0, syncDiffs: true },
  clock: Clock = systemClock,
): Promise<OpenStore> {
  const own = root === undefined ? temporaryFolder('layers') : undefined;
  const dataRoot = dataRootAt(root ?? own?.path ?? '');
  const execRoot = execRootAt(path.join(dataRoot.root, 'run'));
  mkdirSync(execRoot.containers, { recursive: true });
  const database = openDatabase(dataRoot.database);
  const failures: string[] = [];
  const newTasks = (): TaskGroup =>
    new TaskGroup((name, error) => failures.push(`${name}: ${String(error)}`));
  const pending: Promise<void>[] = [];
  const tasks = newTasks();
  const spawn = tasks.spawn.bind(tasks);
  tasks.spawn = (name, body) => {
    const done = Promise.withResolvers<void>();
    pending.push(done.promise);
    spawn(name, (signal) => body(signal).finally(done.resolve));
  };
  const sys = openSyscalls();
  const context: LayerStoreContext = {
    ...{ sys, dataRoot, execRoot, database, tasks, clock },
    random: { bytes: (n) => randomBytes(n) },
    log: silentLogger,
    locks: new KeyedLock(),
  };
  const store = await openLayerStore(context, driver, storage);
  let staged = 0;
  const stage = async (tar: Uint8Array): Promise<ExtractedLayer> => {
    staged += 1;
    return await extractLayer({
      sys,
      directory: path.join(dataRoot.staging, `test-${staged}`),
      source: chunksOf(tar),
      expected: {},
      origin: undefined,
      signal: new AbortController().signal,
    });
  };
  return {
    ...{ context, database, store, stage },
    add: async (...tars) => {
      const layers = [];
      for (const tar of tars) layers.push(await stage(tar));
      await store.commit(layers, () => undefined);
      return layers.map((layer) => layer.diffId);
    },
    settle: async () => void (await Promise.all(pending)),
    [Symbol.asyncDispose]: async () => {
      await tasks.close();
      database.close();
      unmountAllBelow(dataRoot.root);
      own?.[Symbol.dispose]();
      if (failures.length > 0) throw new Error(failures.join('\n'));
    },
  };
}

/** Bytes in chunks, as a network gives them. */
export async function* chunksOf(bytes: Uint8Array, size = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
