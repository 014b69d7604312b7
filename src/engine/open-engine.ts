import { mkdirSync } from 'node:fs';
import { KeyedLock, TaskGroup } from '../base/async.ts';
import type { Clock } from '../base/clock.ts';
import { messageOf } from '../base/errors.ts';
import type { Random } from '../base/id.ts';
import type { Logger } from '../base/log.ts';
import { unmountIfMounted } from '../kernel/mount.ts';
import { releaseText } from '../kernel/page-out.ts';
import { openShims, type ShimsOptions } from '../kernel/shims.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { cachedText } from '../kernel/text-cache.ts';
import { parseStorageOptions } from '../policy/storage-options.ts';
import type { EngineConfig } from '../spec/engine-config.ts';
import { openDatabase } from '../store/db.ts';
import { containerStore, networkStore, volumeStore } from '../store/documents.ts';
import { imageStore } from '../store/images.ts';
import { openLayerStore } from '../store/layers/open.ts';
import { adoptLayersInTransaction, checkDatabase, checkMayBeNew } from '../store/lost-database.ts';
import { dataRootAt, execRootAt } from '../store/paths.ts';
import { recoverStore } from '../store/recover.ts';
import { freeReserve, keepReserve, reserveLog } from '../store/reserve.ts';
import { createWorkers, type WorkerCommand } from '../worker/workers.ts';
import { Builds } from './build/builds.ts';
import { sweepBuilds } from './build/run-step.ts';
import { Containers } from './containers/containers.ts';
import { openRemap } from './containers/remap.ts';
import { restoreContainers } from './containers/restore.ts';
import { RuntimeCache } from './containers/runtime-cache.ts';
import { stopContainers } from './containers/shutdown.ts';
import type { Engine } from './engine.ts';
import { EventBus } from './events.ts';
import { readHostFacts } from './host.ts';
import { Pulls } from './images/pulls.ts';
import { EngineNetworks } from './networks/engine-networks.ts';
import { LocalVolumes } from './volumes/local-volumes.ts';

/** What an engine is made of that only the program knows. */
export type EngineParts = {
  /** The configuration in force. */
  readonly config: () => EngineConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly sys: Syscalls;
  readonly shim: ShimsOptions;
  readonly worker: WorkerCommand;
  /** `native/userns.c`. */
  readonly usernsProgram: string;
};

/** An engine that serves. */
export type OpenEngine = {
  readonly engine: Engine;
  /** True while some container runs. */
  readonly hasRunning: () => boolean;
  /** True while there is some container, which may be about to run. */
  readonly hasContainers: () => boolean;
  /**
   * The orderly end: stops containers unless `live-restore` is on, ends background work, lets go
   * of everything.
   */
  readonly close: () => Promise<void>;
};

/**
 * Opens the engine on its roots, which the caller has made and locked: mends what a crash left,
 * and takes over what runs.
 */
export async function openEngine(parts: EngineParts): Promise<OpenEngine> {
  const { config, clock, random, log, sys } = parts;
  const dataRoot = dataRootAt(config().dataRoot);
  const execRoot = execRootAt(config().execRoot);
  for (const folder of [dataRoot.layers, dataRoot.staging, dataRoot.containers]) {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }
  for (const folder of [execRoot.containers, execRoot.netns]) {
    mkdirSync(folder, { recursive: true, mode: 0o711 });
  }
  await using opening = new AsyncDisposableStack();
  checkDatabase(dataRoot);
  freeReserve(dataRoot.database);
  opening.defer(() => keepReserve({ sys, log }, dataRoot.database));
  const database = openDatabase(dataRoot.database, (fresh) => {
    checkMayBeNew(dataRoot, 'empty');
    adoptLayersInTransaction({ sys, dataRoot, database: fresh, clock, log });
  });
  opening.defer(() => database.close());
  reserveLog({ sys, log }, dataRoot.database);
  const tasks = new TaskGroup((name, error) =>
    log.error('background work failed', { task: name, error: messageOf(error) }),
  );
  opening.defer(() => tasks.close());
  const workers = createWorkers(
    { ...parts.worker, makeRoom: () => releaseText(sys), cachedText: () => cachedText(sys) },
    log,
  );
  opening.defer(() => workers.close());
  const runtimeCache = opening.use(new RuntimeCache({ sys, execRoot: execRoot.root, log }));
  const base = {
    ...{ config, clock, random, log, sys, tasks, workers, dataRoot, execRoot, database },
    host: readHostFacts(),
    shims: openShims(parts.shim),
    store: {
      images: imageStore(database),
      containers: containerStore(database),
      networks: networkStore(database),
      volumes: volumeStore(database),
    },
    containers: new Containers(),
    runtimeCache,
    events: new EventBus(clock),
    pulls: new Pulls(),
    builds: new Builds(),
    locks: new KeyedLock(),
  };
  const layers = await openLayerStore(
    base,
    config().storageDriver,
    parseStorageOptions(config().storageOpts),
  );
  opening.defer(() => layers.hideAll());
  // After the mount recipes of hosts have become true: what they named goes now.
  recoverStore(base, layers);
  const { usernsRemap } = config();
  const remap =
    usernsRemap === '' ? undefined : await openRemap(base, usernsRemap, parts.usernsProgram);
  if (remap !== undefined) opening.defer(() => unmountIfMounted(sys, remap.view.folder));
  const engine: Engine = {
    ...base,
    layers,
    remap,
    volumes: new LocalVolumes(base),
    networks: new EngineNetworks(base),
  };
  opening.defer(() => engine.networks.stop());
  await engine.volumes.restore();
  await restoreContainers(engine);
  await sweepBuilds(engine);
  const held = opening.move();
  return {
    engine,
    hasContainers: () => engine.containers.list().length > 0,
    hasRunning: () => engine.containers.list().some((container) => container.run !== undefined),
    close: async () => {
      await stopContainers(engine);
      await held.disposeAsync();
    },
  };
}
