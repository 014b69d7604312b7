import type { NetworkingConfig } from '../../spec/docker/container.ts';
import type { EndpointSettings, NetworkCreate } from '../../spec/docker/network.ts';
import type { Network } from './network.ts';

/** What the network side needs to know of a container. */
export type NetworkClient = {
  readonly id: string;
  /** Without slash. */
  readonly name: string;
  readonly hostname: string;
  readonly domainname: string;
  /** HostConfig.NetworkMode, never '' or `default`. */
  readonly mode: string;
  readonly endpoints: NetworkingConfig['EndpointsConfig'];
  /** Networks that it was disconnected from although `mode` names them. */
  readonly disconnected: readonly string[];
  readonly links: readonly string[];
  readonly macAddress: string;
  /** Published ports, `80/tcp` to bindings, with ranges and `-P` already spelled out as far as they can be. */
  readonly portBindings: Readonly<
    Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[]>
  >;
  readonly dns: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly dnsSearch: readonly string[];
  /** `name:address`, where address may be `host-gateway`. */
  readonly extraHosts: readonly string[];
  readonly sysctls: Readonly<Record<string, string>>;
  /** A process whose network namespace becomes the container's; undefined makes a new one. */
  readonly namespaceOf?: number;
};

/** A container's network while it runs. */
export type Sandbox = {
  /** Bind-mounted namespace for the runtime; undefined shares the host's (`host`). */
  readonly netnsPath: string | undefined;
  /** By network name, with addresses filled in: NetworkSettings.Networks. */
  readonly endpoints: Readonly<Record<string, EndpointSettings>>;
  /** NetworkSettings.Ports, with the host ports that were taken. */
  readonly ports: Readonly<
    Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
  >;
  /** Contents for /etc/hosts and /etc/resolv.conf. */
  readonly hosts: string;
  readonly resolvConf: string;
};

/**
 * The networks of the engine. `open` and `close` bracket a container's run and are idempotent: an
 * open sandbox of an earlier daemon is taken over, never made again.
 */
export type Networks = {
  /** Loads networks, makes the default ones, repairs the ruleset, drops sandboxes of containers not in `running`. */
  readonly restore: (running: readonly NetworkClient[]) => Promise<void>;
  /** Throws as `docker create` does when the mode or an endpoint cannot work. */
  readonly check: (client: Pick<NetworkClient, 'mode' | 'endpoints'>) => void;
  /** @throws notFound, conflict, internal … in Docker's words; nothing is left behind then */
  readonly open: (client: NetworkClient) => Promise<Sandbox>;
  readonly find: (containerId: string) => Sandbox | undefined;
  readonly close: (containerId: string) => Promise<void>;
  /** At a container's new name: what others find it by. */
  readonly rename: (containerId: string, name: string) => void;
  /** At shutdown: lets go of descriptors; takes nothing away that a running container needs. */
  readonly stop: () => Promise<void>;

  /** All networks, by name. */
  readonly list: () => readonly Network[];
  /** By name, ID or unique beginning of an ID. @throws notFound, invalidArgument */
  readonly get: (reference: string) => Network;
  /** @throws conflict when the name is taken; forbidden, invalidArgument … in Docker's words */
  readonly create: (body: NetworkCreate) => Promise<Network>;
  /** @throws forbidden for a predefined network or one with endpoints */
  readonly remove: (network: Network) => Promise<void>;
  /** Joins a container that runs; its hosts and resolv.conf follow. */
  readonly connect: (
    network: Network,
    containerId: string,
    wish: EndpointSettings,
  ) => Promise<void>;
  /** Takes a running container out of a network. */
  readonly disconnect: (network: Network, containerId: string) => Promise<void>;
};
