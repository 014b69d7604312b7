import type { NetworkingConfig } from '../../spec/docker/container.ts';
import type { EndpointSettings } from '../../spec/docker/network.ts';

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
  readonly open: (client: NetworkClient) => Promise<Sandbox>;
  readonly find: (containerId: string) => Sandbox | undefined;
  readonly close: (containerId: string) => Promise<void>;
  /** At shutdown: lets go of descriptors; takes nothing away that a running container needs. */
  readonly stop: () => Promise<void>;
};
