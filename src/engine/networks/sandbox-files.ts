import { readFileSync, writeFileSync } from 'node:fs';
import { conflict, errnoOf, invalidArgument } from '../../base/errors.ts';
import {
  type HostsEntry,
  hostsFile,
  hostsFileOfHost,
  ownNames,
  parseExtraHost,
} from '../../policy/hosts-file.ts';
import {
  type DnsWishes,
  forBridge,
  forEmbeddedDns,
  formatResolvConf,
  withWishes,
} from '../../policy/resolv-conf.ts';
import type { EngineConfig } from '../../spec/engine-config.ts';
import type { HostResolver } from './dns/host-resolver.ts';
import type { NetworkClient } from './networks.ts';
import type { LiveSandbox } from './sandbox.ts';

/** Contents of a container's /etc/hosts and /etc/resolv.conf. */

/** A link of the old kind, on the default bridge: `name:alias`. */
export type LegacyLink = { readonly target: string; readonly alias: string };

/** Reads HostConfig.Links, as clients send them and as inspect shows them (`/db:/web/db`). */
export function legacyLinks(client: Pick<NetworkClient, 'links'>): LegacyLink[] {
  return client.links.map((link) => {
    const [target = '', alias = target] = link.split(':', 2);
    const short = alias.slice(alias.lastIndexOf('/') + 1);
    return { target: target.replace(/^\//, ''), alias: short };
  });
}

/** True when the names of linked containers go into the hosts file, for want of a DNS server. */
function usesLegacyLinks({ joined }: LiveSandbox): boolean {
  return joined.some(({ network }) => network.isDefaultBridge);
}

function linkEntries(
  sandbox: LiveSandbox,
  findRunning: (reference: string) => LiveSandbox | undefined,
): HostsEntry[] {
  if (!usesLegacyLinks(sandbox)) return [];
  return legacyLinks(sandbox.client).map(({ target, alias }) => {
    const found = findRunning(target);
    const ip = found?.joined.find(({ network }) => network.isDefaultBridge)?.endpoint.ipv4;
    if (found === undefined || ip === undefined || ip === null) {
      throw conflict(
        `Cannot link to a non running container: /${target} AS /${sandbox.client.name}/${alias}`,
      );
    }
    const { id, name } = found.client;
    return { ip: ip.address, names: [...new Set([alias, id.slice(0, 12), name])] };
  });
}

function extraEntries(client: NetworkClient, hostGateway: string): HostsEntry[] {
  return client.extraHosts.map((text) => {
    const entry = parseExtraHost(text);
    if (entry === undefined) throw invalidArgument(`bad format for add-host: "${text}"`);
    const ip = entry.address === 'host-gateway' ? hostGateway : entry.address;
    if (ip === '') {
      throw invalidArgument(
        'unable to derive the IP value for host-gateway: the default bridge is off. Set host-gateway-ip',
      );
    }
    return { ip, names: [entry.name] };
  });
}

/** @throws conflict when a link leads to a container that does not run; invalidArgument */
export function hostsOf(
  sandbox: LiveSandbox,
  options: {
    hostGateway: string;
    findRunning: (reference: string) => LiveSandbox | undefined;
  },
): string {
  const { client, kind, joined } = sandbox;
  const extra = extraEntries(client, options.hostGateway);
  if (kind === 'host') return hostsFileOfHost(readHostFile(), extra);
  const names = ownNames(client.hostname, client.domainname);
  const own = joined.flatMap(({ endpoint }) =>
    [endpoint.ipv4, endpoint.ipv6].flatMap((each): HostsEntry[] =>
      each === null ? [] : [{ ip: each.address, names }],
    ),
  );
  return hostsFile([...extra, ...linkEntries(sandbox, options.findRunning), ...own]);
}

function readHostFile(): string {
  try {
    return readFileSync('/etc/hosts', 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}

/** The container's wishes, and where it has none the daemon's. */
export function dnsWishes(client: NetworkClient, config: EngineConfig): DnsWishes {
  const either = (own: readonly string[], daemon: readonly string[]): readonly string[] =>
    own.length > 0 ? own : daemon;
  return {
    dns: either(client.dns, config.dns),
    dnsSearch: either(client.dnsSearch, config.dnsSearch),
    dnsOptions: either(client.dnsOptions, config.dnsOptions),
  };
}

export function resolvConfOf(
  sandbox: LiveSandbox,
  config: EngineConfig,
  host: HostResolver,
): string {
  const wishes = dnsWishes(sandbox.client, config);
  if (sandbox.kind === 'host') return formatResolvConf(withWishes(host.own(), wishes));
  const conf = withWishes(host.forContainers(), wishes);
  return formatResolvConf(
    sandbox.joined.some(({ network }) => network.hasDns) ? forEmbeddedDns(conf) : forBridge(conf),
  );
}

/**
 * Changes a file that a running container has mounted. It is written in place, as the mount shows
 * the file and not its name; a container without it has its own.
 */
export function rewriteMounted(file: string, text: string): void {
  try {
    if (readFileSync(file, 'utf8') !== text) writeFileSync(file, text, { flag: 'r+' });
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
