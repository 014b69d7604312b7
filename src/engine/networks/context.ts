import type { NetworkNamespaces } from '../../kernel/netns.ts';
import type { RouteSocket } from '../../kernel/route-socket.ts';
import type { DriverName } from '../../policy/network-options.ts';
import type { Engine } from '../engine.ts';
import type { Driver } from './drivers/driver.ts';

/** What the network side takes of the engine. */
export type NetworkEngine = Pick<
  Engine,
  | 'sys'
  | 'config'
  | 'store'
  | 'clock'
  | 'random'
  | 'log'
  | 'tasks'
  | 'dataRoot'
  | 'execRoot'
  | 'locks'
  | 'events'
>;

/** What the parts of the network side work with. */
export type NetworkContext = NetworkEngine & {
  readonly route: RouteSocket;
  readonly namespaces: NetworkNamespaces;
  readonly drivers: Readonly<Record<DriverName, Driver>>;
};
