import type { NetworkClient } from '../networks/networks.ts';
import type { Container } from './container.ts';

/** What the networks need to know of a container. */
export function networkClientOf(container: Container): NetworkClient {
  const { config, hostConfig, networking, disconnected } = container.document;
  return {
    id: container.id,
    name: container.name,
    hostname: config.Hostname,
    domainname: config.Domainname,
    mode: hostConfig.NetworkMode,
    endpoints: networking.EndpointsConfig,
    disconnected,
    links: hostConfig.Links ?? [],
    macAddress: config.MacAddress,
    portBindings: portBindingsOf(container),
    dns: hostConfig.Dns ?? [],
    dnsOptions: hostConfig.DnsOptions ?? [],
    dnsSearch: hostConfig.DnsSearch ?? [],
    extraHosts: hostConfig.ExtraHosts ?? [],
    sysctls: hostConfig.Sysctls ?? {},
  };
}

/** `80` → `80/tcp`. */
function withProtocol(port: string): string {
  return port.includes('/') ? port.toLowerCase() : `${port}/tcp`;
}

/** What is to be published: the user's wishes and, with `-P`, every exposed port on a free one. */
function portBindingsOf(container: Container): NetworkClient['portBindings'] {
  const { config, hostConfig } = container.document;
  const bindings: Record<string, readonly { HostIp: string; HostPort: string }[]> = {};
  for (const [port, list] of Object.entries(hostConfig.PortBindings)) {
    bindings[withProtocol(port)] =
      list === null || list.length === 0 ? [{ HostIp: '', HostPort: '' }] : list;
  }
  if (!hostConfig.PublishAllPorts) return bindings;
  for (const exposed of Object.keys(config.ExposedPorts)) {
    bindings[withProtocol(exposed)] ??= [{ HostIp: '', HostPort: '' }];
  }
  return bindings;
}
