import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { assert, errnoOf } from '../../base/errors.ts';
import { formatIp, parseIp } from '../../base/ip.ts';
import type { DnsPorts } from '../../formats/nft.ts';
import type { PortRule } from '../../policy/nft-ruleset.ts';
import { PROTOCOLS, type PublishedPort } from '../../policy/ports.ts';
import { array, decodeJson, int, nullable, string, struct } from '../../spec/decode.ts';
import type { DnsServer } from './dns/dns-server.ts';
import type { Joined } from './dns/zone.ts';
import { gatewayEndpoint } from './endpoints.ts';
import { type Endpoint, endpoint } from './network.ts';
import type { NetworkClient } from './networks.ts';

/** A container's network while it runs. */
export type LiveSandbox = {
  client: NetworkClient;
  /** `own` has a namespace; `host` uses the host's; `shared` that of the container `donor`. */
  readonly kind: 'own' | 'host' | 'shared';
  readonly donor: string;
  /** In the order of joining. */
  joined: readonly Joined[];
  ports: readonly PublishedPort[];
  /** Rules that are in force for the ports. */
  rules: readonly PortRule[];
  dnsPorts: DnsPorts | undefined;
  dns: DnsServer | undefined;
};

/** The endpoint that published ports lead to: the one with the default route, if it is a bridge's. */
export function portEndpoint(joined: readonly Joined[]): Joined | undefined {
  return gatewayEndpoint(
    joined,
    ({ driver, document }) => driver === 'bridge' && !document.internal,
  );
}

/** Rules that let published ports lead to the container. */
export function portRulesOf(
  ports: readonly PublishedPort[],
  joined: readonly Joined[],
): PortRule[] {
  const target = portEndpoint(joined)?.endpoint;
  return ports.flatMap((port): PortRule[] => {
    const address = port.hostIp.family === 4 ? target?.ipv4 : target?.ipv6;
    const containerIp = parseIp(address?.address ?? '');
    return containerIp === undefined ? [] : [{ ...port, containerIp }];
  });
}

/** What the next daemon must know of a sandbox that lives on. */
const sandboxState = struct('Sandbox', {
  endpoints: array(endpoint),
  ports: array(
    struct('PublishedPort', {
      protocol: string,
      containerPort: int,
      hostIp: string,
      hostPort: int,
    }),
  ),
  dns: nullable(struct('DnsPorts', { udp: int, tcp: int })),
});

/** Writes the state; the exec root is a tmpfs. Readers see the old file or the new one. */
export function writeSandbox(file: string, sandbox: LiveSandbox): void {
  const state = {
    endpoints: sandbox.joined.map((each) => each.endpoint),
    ports: sandbox.ports.map((port) => ({ ...port, hostIp: formatIp(port.hostIp) })),
    dns: sandbox.dnsPorts ?? null,
  };
  writeFileSync(`${file}.new`, JSON.stringify(state), { mode: 0o600 });
  renameSync(`${file}.new`, file);
}

/** Undefined when there is none. */
export function readSandbox(
  file: string,
):
  | { endpoints: readonly Endpoint[]; ports: readonly PublishedPort[]; dns: DnsPorts | undefined }
  | undefined {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const state = decodeJson(sandboxState, text);
  return {
    endpoints: state.endpoints,
    dns: state.dns ?? undefined,
    ports: state.ports.map((port) => {
      const hostIp = parseIp(port.hostIp);
      const protocol = PROTOCOLS.find((each) => each === port.protocol);
      assert(hostIp !== undefined && protocol !== undefined, 'a stored port reads');
      return { ...port, hostIp, protocol };
    }),
  };
}

export function forgetSandbox(file: string): void {
  rmSync(file, { force: true });
}
