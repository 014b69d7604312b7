import { formatTimeNs } from '../../base/clock.ts';
import type {
  ContainerStateView,
  HealthView,
  MountPointView,
  NetworkSettingsView,
  PortSummary,
} from '../../spec/docker/container-view.ts';
import type { EndpointSettings } from '../../spec/docker/network.ts';
import type { EndpointView } from '../../spec/docker/network-view.ts';
import type { Engine } from '../engine.ts';
import type { Sandbox } from '../networks/networks.ts';
import type { MountPoint } from '../volumes/volumes.ts';
import type { Container, Health } from './container.ts';

/** Parts of what the API shows of a container. */

export function stateView(container: Container): ContainerStateView {
  const { run, kept, status } = container;
  return {
    Status: status,
    Running: container.isRunning,
    Paused: status === 'paused',
    Restarting: status === 'restarting',
    OOMKilled: kept.oomKilled,
    Dead: status === 'dead',
    Pid: run?.pid ?? 0,
    ExitCode: kept.exitCode,
    Error: kept.error,
    StartedAt: container.startedAt,
    FinishedAt: container.finishedAt,
    ...(container.health === undefined ? {} : { Health: healthView(container.health) }),
  };
}

function healthView(health: Health): HealthView {
  return {
    Status: health.status,
    FailingStreak: health.failingStreak,
    Log: health.log.map((result) => ({
      Start: formatTimeNs(result.startNs),
      End: formatTimeNs(result.endNs),
      ExitCode: result.exitCode,
      Output: result.output,
    })),
  };
}

export function mountView(mount: MountPoint): MountPointView {
  const isVolume = mount.type === 'volume';
  return {
    Type: mount.type,
    ...(isVolume ? { Name: mount.name } : {}),
    Source: mount.source,
    Destination: mount.destination,
    ...(isVolume ? { Driver: mount.driver } : {}),
    Mode: mount.mode,
    RW: mount.readWrite,
    Propagation: mount.propagation,
  };
}

function endpointView(endpoint: EndpointSettings): EndpointView {
  return {
    IPAMConfig: endpoint.IPAMConfig,
    Links: endpoint.Links,
    Aliases: endpoint.Aliases,
    MacAddress: endpoint.MacAddress,
    DriverOpts: endpoint.DriverOpts,
    GwPriority: endpoint.GwPriority,
    NetworkID: endpoint.NetworkID,
    EndpointID: endpoint.EndpointID,
    Gateway: endpoint.Gateway,
    IPAddress: endpoint.IPAddress,
    IPPrefixLen: endpoint.IPPrefixLen,
    IPv6Gateway: endpoint.IPv6Gateway,
    GlobalIPv6Address: endpoint.GlobalIPv6Address,
    GlobalIPv6PrefixLen: endpoint.GlobalIPv6PrefixLen,
    DNSNames: endpoint.DNSNames,
  };
}

const NO_ENDPOINT: EndpointView = {
  IPAMConfig: null,
  Links: null,
  Aliases: null,
  MacAddress: '',
  DriverOpts: null,
  GwPriority: 0,
  NetworkID: '',
  EndpointID: '',
  Gateway: '',
  IPAddress: '',
  IPPrefixLen: 0,
  IPv6Gateway: '',
  GlobalIPv6Address: '',
  GlobalIPv6PrefixLen: 0,
  DNSNames: null,
};

/** Facts while it runs; else the wishes, as Docker shows them. */
export function networksView(
  container: Container,
  sandbox: Sandbox | undefined,
): Record<string, EndpointView> {
  const { hostConfig, networking, disconnected } = container.document;
  const mode = hostConfig.NetworkMode;
  if (mode.startsWith('container:')) return {};
  const wishes = Object.fromEntries(
    Object.entries(networking.EndpointsConfig).map(([name, wish]) => [
      name,
      wish === null ? NO_ENDPOINT : endpointView(wish),
    ]),
  );
  const facts = Object.fromEntries(
    Object.entries(sandbox?.endpoints ?? {}).map(([name, fact]) => [name, endpointView(fact)]),
  );
  if (sandbox !== undefined) return facts;
  return disconnected.includes(mode) ? wishes : { [mode]: NO_ENDPOINT, ...wishes };
}

/** What the image and the user say is listened on; null for what is not published. */
function exposedPorts(container: Container): Record<string, null> {
  return Object.fromEntries(
    Object.keys(container.document.config.ExposedPorts).map((port) => [port, null]),
  );
}

/** `NetworkSettings`; the fields of the default network are repeated at the top for old clients. */
export function networkSettingsView(engine: Engine, container: Container): NetworkSettingsView {
  const sandbox = engine.networks.find(container.id);
  const networks = networksView(container, sandbox);
  const first = networks['bridge'] ?? NO_ENDPOINT;
  return {
    Bridge: '',
    SandboxID: sandbox === undefined ? '' : container.id,
    SandboxKey: sandbox?.netnsPath ?? '',
    Ports: sandbox === undefined ? {} : { ...exposedPorts(container), ...sandbox.ports },
    HairpinMode: false,
    LinkLocalIPv6Address: '',
    LinkLocalIPv6PrefixLen: 0,
    SecondaryIPAddresses: null,
    SecondaryIPv6Addresses: null,
    EndpointID: first.EndpointID,
    Gateway: first.Gateway,
    GlobalIPv6Address: first.GlobalIPv6Address,
    GlobalIPv6PrefixLen: first.GlobalIPv6PrefixLen,
    IPAddress: first.IPAddress,
    IPPrefixLen: first.IPPrefixLen,
    IPv6Gateway: first.IPv6Gateway,
    MacAddress: first.MacAddress,
    Networks: networks,
  };
}

/** Ports of a list's line: published ones once for each address, the others once. */
export function portsView(engine: Engine, container: Container): PortSummary[] {
  const sandbox = engine.networks.find(container.id);
  if (sandbox === undefined) return [];
  const ports: PortSummary[] = [];
  const all: typeof sandbox.ports = { ...exposedPorts(container), ...sandbox.ports };
  for (const [key, bindings] of Object.entries(all)) {
    const [number, type = 'tcp'] = key.split('/');
    const base = { PrivatePort: Number(number), Type: type };
    if (bindings === null || bindings.length === 0) ports.push(base);
    for (const { HostIp, HostPort } of bindings ?? []) {
      ports.push({
        IP: HostIp,
        PrivatePort: base.PrivatePort,
        PublicPort: Number(HostPort),
        Type: type,
      });
    }
  }
  return ports;
}
