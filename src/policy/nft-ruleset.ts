import { type Cidr, formatCidr, formatIp, type Ip, isUnspecified, networkOf } from '../base/ip.ts';
import type { Protocol } from './ports.ts';

/**
 * The engine's one nftables table, `inet` family, as text for `nft -f -`.
 *
 *   raw          from a container to the host's 127.0.0.0/8: dropped (route_localnet lets it in)
 *   prerouting   to one of the host's own addresses: DNAT by the publish maps
 *   output       the same for the host's own connections
 *   postrouting  masquerade: outbound, hairpin, and from the host's loopback
 *   forward      coracle-user, then who may talk to whom
 *
 * Published ports are elements of maps, so that one more costs nothing and the thousandth no more
 * than the first. Every statement adds or flushes: the text makes the table, repairs it and changes
 * it in one transaction, and leaves the rules in the user's chain alone.
 */

/** Chain for the user's rules; the engine makes it and never looks into it. */
export const USER_CHAIN = 'coracle-user';

/** What the ruleset needs to know of one bridge network. */
export type BridgeRules = {
  readonly bridge: string;
  readonly subnets: readonly Cidr[];
  readonly internal: boolean;
  /** Containers of the network may talk to each other. */
  readonly icc: boolean;
  readonly masquerade: boolean;
  /** Source address of outbound connections, instead of the outgoing link's. */
  readonly outboundAddresses: readonly Ip[];
};

/** A published port and where it leads. */
export type PortRule = {
  readonly protocol: Protocol;
  readonly hostIp: Ip;
  readonly hostPort: number;
  readonly containerIp: Ip;
  readonly containerPort: number;
};

export type Ruleset = {
  readonly table: string;
  readonly bridges: readonly BridgeRules[];
  readonly ports: readonly PortRule[];
  /** True when the engine switched forwarding on: nothing is forwarded from one network card to another. */
  readonly dropOtherForwarding: boolean;
};

/** Map that a published port's element lives in. */
export function publishMap(hostIp: Ip): 'publish4' | 'publish4-any' | 'publish6' | 'publish6-any' {
  return `publish${hostIp.family}${isUnspecified(hostIp) ? '-any' : ''}`;
}

function element(port: PortRule): string {
  const host = isUnspecified(port.hostIp) ? '' : `${formatIp(port.hostIp)} . `;
  return `${port.protocol} . ${host}${port.hostPort} : ${formatIp(port.containerIp)} . ${port.containerPort}`;
}

const SETS = [
  ['bridges', 'type ifname'],
  ['internal', 'type ifname'],
  ['same-bridge', 'type ifname . ifname'],
] as const;

const MAPS = [
  ['publish4', 'type inet_proto . ipv4_addr . inet_service : ipv4_addr . inet_service'],
  ['publish4-any', 'type inet_proto . inet_service : ipv4_addr . inet_service'],
  ['publish6', 'type inet_proto . ipv6_addr . inet_service : ipv6_addr . inet_service'],
  ['publish6-any', 'type inet_proto . inet_service : ipv6_addr . inet_service'],
] as const;

const CHAINS = [
  ['publish', ''],
  ['ours', ''],
  ['raw', 'type filter hook prerouting priority raw; policy accept;'],
  ['prerouting', 'type nat hook prerouting priority dstnat; policy accept;'],
  ['output', 'type nat hook output priority -100; policy accept;'],
  ['postrouting', 'type nat hook postrouting priority srcnat; policy accept;'],
  ['forward', 'type filter hook forward priority filter; policy accept;'],
] as const;

/**
 * Keeps a host from being a router between its network cards only because containers need
 * forwarding. Virtual links (another engine's bridges, tunnels) have a kind and are let through: who
 * made them looks after them. A link without a kind ends the first two rules unmatched.
 */
const NO_ROUTER = [
  'forward ct state established,related accept',
  'forward meta iifkind != "none" accept',
  'forward meta oifkind != "none" accept',
  'forward drop',
];

function fixedRules(dropOtherForwarding: boolean): string[] {
  return [
    'raw iifname @bridges ip daddr 127.0.0.0/8 drop',
    'publish dnat ip to meta l4proto . ip daddr . th dport map @publish4',
    'publish dnat ip to meta l4proto . th dport map @publish4-any',
    'publish dnat ip6 to meta l4proto . ip6 daddr . th dport map @publish6',
    'publish dnat ip6 to meta l4proto . th dport map @publish6-any',
    'prerouting fib daddr type local jump publish',
    'output fib daddr type local jump publish',
    `forward jump ${USER_CHAIN}`,
    'forward iifname @bridges goto ours',
    'forward oifname @bridges goto ours',
    ...(dropOtherForwarding ? NO_ROUTER : []),
    'ours iifname . oifname @same-bridge accept',
    'ours iifname @internal drop',
    'ours oifname @internal drop',
    'ours ct state established,related accept',
    'ours ct status dnat accept',
    'ours oifname @bridges drop',
    'ours accept',
  ];
}

function familyWord(family: 4 | 6): 'ip' | 'ip6' {
  return family === 4 ? 'ip' : 'ip6';
}

function postrouting({ bridge, subnets, masquerade, outboundAddresses }: BridgeRules): string[] {
  const rules = [
    `oifname "${bridge}" ip saddr 127.0.0.0/8 masquerade`,
    `oifname "${bridge}" ip6 saddr ::1 masquerade`,
  ];
  for (const subnet of subnets) {
    const { family } = subnet.address;
    const from = `${familyWord(family)} saddr ${formatCidr(networkOf(subnet))}`;
    // Hairpin: the answer has to come back through the host, or the asker does not know it.
    rules.push(`oifname "${bridge}" ct status dnat ${from} masquerade`);
    if (!masquerade) continue;
    const to = outboundAddresses.find((each) => each.family === family);
    const how = to === undefined ? 'masquerade' : `snat ${familyWord(family)} to ${formatIp(to)}`;
    rules.push(`oifname != "${bridge}" ${from} ${how}`);
  }
  return rules.map((rule) => `postrouting ${rule}`);
}

/** The whole table. */
export function renderRuleset({ table, bridges, ports, dropOtherForwarding }: Ruleset): string {
  const t = `inet ${table}`;
  const lines = [`add table ${t}`, `add chain ${t} ${USER_CHAIN}`];
  for (const [name, type] of SETS) {
    lines.push(`add set ${t} ${name} { ${type}; }`, `flush set ${t} ${name}`);
  }
  for (const [name, type] of MAPS) {
    lines.push(`add map ${t} ${name} { ${type}; }`, `flush map ${t} ${name}`);
  }
  for (const [name, hook] of CHAINS) {
    lines.push(`add chain ${t} ${name}${hook === '' ? '' : ` { ${hook} }`}`);
    lines.push(`flush chain ${t} ${name}`);
  }
  for (const rule of [...fixedRules(dropOtherForwarding), ...bridges.flatMap(postrouting)]) {
    lines.push(`add rule ${t} ${rule}`);
  }
  const fill = (set: string, elements: readonly string[]): void => {
    if (elements.length > 0) lines.push(`add element ${t} ${set} { ${elements.join(', ')} }`);
  };
  const names = (list: readonly BridgeRules[]): string[] => list.map((b) => `"${b.bridge}"`);
  fill('bridges', names(bridges));
  fill('internal', names(bridges.filter((b) => b.internal)));
  fill(
    'same-bridge',
    names(bridges.filter((b) => b.icc)).map((name) => `${name} . ${name}`),
  );
  for (const [map] of MAPS) {
    fill(map, ports.filter((port) => publishMap(port.hostIp) === map).map(element));
  }
  return `${lines.join('\n')}\n`;
}
