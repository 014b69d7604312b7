import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { KeyedLock, TaskGroup } from '../../src/base/async.ts';
import { silentLogger } from '../../src/base/log.ts';
import { Builds } from '../../src/engine/build/builds.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { EventBus } from '../../src/engine/events.ts';
import type { PullEngine } from '../../src/engine/images/pull.ts';
import { Pulls } from '../../src/engine/images/pulls.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import type { EngineConfig } from '../../src/spec/engine-config.ts';
import { type Database, openDatabase } from '../../src/store/db.ts';
import { imageStore } from '../../src/store/images.ts';
import { openLayerStore } from '../../src/store/layers/open.ts';
import { type DataRoot, dataRootAt, execRootAt } from '../../src/store/paths.ts';
import { createWorkers } from '../../src/worker/workers.ts';
import { temporaryFolder } from './temp.ts';

/** The part of an engine that pulls, pushes and removals need, on a data root of its own. */
export type ImageEngine = AsyncDisposable & {
  readonly engine: PullEngine & Pick<Engine, 'builds'>;
  readonly dataRoot: DataRoot;
  readonly database: Database;
};

const WORKER = fileURLToPath(new URL('worker-main.ts', import.meta.url));

const CONFIG: Partial<EngineConfig> = {
  insecureRegistries: [],
  registryMirrors: [],
  httpProxy: '',
  httpsProxy: '',
  noProxy: '',
  maxConcurrentDownloads: 3,
  maxConcurrentUploads: 5,
  maxDownloadAttempts: 3,
  maxDownloadRate: 0,
  deltaDataRoot: '',
  delta: 'auto',
};

/** Opens one. Real workers, real store, no daemon. `root` may be that of one that was closed. */
export async function openImageEngine(
  root?: string,
  config: Partial<EngineConfig> = {},
): Promise<ImageEngine> {
  const own = root === undefined ? temporaryFolder('images') : undefined;
  const dataRoot = dataRootAt(root ?? path.join(own?.path ?? '', 'data'));
  const execRoot = execRootAt(path.join(dataRoot.root, 'run'));
  mkdirSync(execRoot.root, { recursive: true });
  const database = openDatabase(dataRoot.database);
  const failures: string[] = [];
  const tasks = new TaskGroup((name, error) => failures.push(`${name}: ${String(error)}`));
  const random = { bytes: (n: number) => randomBytes(n) };
  const sys = openSyscalls();
  const common = { sys, dataRoot, execRoot, database, random, tasks, locks: new KeyedLock() };
  const layers = await openLayerStore({ ...common, clock: systemClock, log: silentLogger }, '', {
    sizeBytes: 0,
    syncDiffs: true,
  });
  const workers = createWorkers(
    { command: process.execPath, args: [WORKER], env: process.env },
    silentLogger,
  );
  return {
    dataRoot,
    database,
    engine: {
      config: () => ({ ...CONFIG, ...config }) as EngineConfig,
      execRoot,
      clock: systemClock,
      log: silentLogger,
      workers,
      layers,
      store: { images: imageStore(database) } as PullEngine['store'],
      events: new EventBus(systemClock),
      pulls: new Pulls(),
      builds: new Builds(),
    },
    [Symbol.asyncDispose]: async () => {
      await workers.close();
      await tasks.close();
      database.close();
      own?.[Symbol.dispose]();
      if (failures.length > 0) throw new Error(failures.join('\n'));
    },
  };
}
