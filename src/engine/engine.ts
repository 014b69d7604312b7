import type { KeyedLock, TaskGroup } from '../base/async.ts';
import type { Clock } from '../base/clock.ts';
import type { Random } from '../base/id.ts';
import type { Logger } from '../base/log.ts';
import type { Shims } from '../kernel/shim.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { EngineConfig } from '../spec/engine-config.ts';
import type { Database } from '../store/db.ts';
import type { ContainerStore, NamedDocumentStore, VolumeStore } from '../store/documents.ts';
import type { ImageStore } from '../store/images.ts';
import type { LayerStore } from '../store/layer-store.ts';
import type { DataRoot, ExecRoot } from '../store/paths.ts';
import type { Workers } from '../worker/job.ts';
import type { Builds } from './build/builds.ts';
import type { Containers } from './containers/containers.ts';
import type { Remap } from './containers/remap.ts';
import type { RuntimeCache } from './containers/runtime-cache.ts';
import type { EventBus } from './events.ts';
import type { HostFacts } from './host.ts';
import type { Pulls } from './images/pulls.ts';
import type { Networks } from './networks/networks.ts';
import type { Volumes } from './volumes/volumes.ts';

/**
 * Everything an engine function works with. Made once by `bin/` and passed down; there are no
 * other globals. The engine's nouns keep their live state in the objects named here.
 */
export type Engine = {
  /** The configuration in force; SIGHUP changes what this returns. */
  readonly config: () => EngineConfig;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  /** Background work; closed at shutdown. */
  readonly tasks: TaskGroup;
  readonly sys: Syscalls;
  readonly host: HostFacts;
  readonly shims: Shims;
  readonly workers: Workers;
  readonly dataRoot: DataRoot;
  readonly execRoot: ExecRoot;
  readonly database: Database;
  readonly store: {
    readonly images: ImageStore;
    readonly containers: ContainerStore;
    readonly networks: NamedDocumentStore;
    readonly volumes: VolumeStore;
  };
  readonly layers: LayerStore;
  /** Undefined when the users of containers are the host's. */
  readonly remap: Remap | undefined;
  readonly containers: Containers;
  readonly runtimeCache: RuntimeCache;
  readonly networks: Networks;
  readonly volumes: Volumes;
  readonly events: EventBus;
  /** Pulls that run now. */
  readonly pulls: Pulls;
  /** Builds that run now. */
  readonly builds: Builds;
  /** Serialises operations on one container, image, network … by `noun/id`. */
  readonly locks: KeyedLock;
};
