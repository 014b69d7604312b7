import {
  bitsOf,
  type Cidr,
  firstIp,
  formatMac,
  type Ip,
  ipBytes,
  ipFromBytes,
  lastIp,
  macBytes,
} from '../base/ip.ts';
import {
  attribute,
  cString,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F,
  nested,
  textOf,
  u8,
  u16,
  u32,
  u32Of,
} from './netlink.ts';

/**
 * rtnetlink: links, addresses and routes.
 *
 *   ifinfomsg  u8 family · u8 0 · u16 type · i32 index · u32 flags · u32 change, then IFLA_*
 *   ifaddrmsg  u8 family · u8 prefix · u8 flags · u8 scope · i32 index, then IFA_*
 *   rtmsg      u8 family · u8 dst bits · u8 src bits · u8 tos · u8 table · u8 protocol · u8 scope ·
 *              u8 type · u32 flags, then RTA_*
 *
 * Source: rtnetlink(7), linux/if_link.h, linux/if_addr.h, linux/rtnetlink.h.
 */

export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
} as const;

const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  LINKINFO: 18,
  NET_NS_FD: 28,
  INFO_KIND: 1,
  INFO_DATA: 2,
  INFO_SLAVE_KIND: 4,
  INFO_SLAVE_DATA: 5,
} as const;
const VETH_INFO_PEER = 1;
const MACVLAN_MODE = 1;
const IPVLAN_MODE = 1;
const IPVLAN_FLAGS = 2;
const VLAN_ID = 1;
const BRPORT = { HAIRPIN: 4, ISOLATED: 33 } as const;
const BR_MCAST_SNOOPING = 23;

const IFA = { ADDRESS: 1, LOCAL: 2, BROADCAST: 4, FLAGS: 8 } as const;
const IFA_F_NODAD = 0x02;
const RTA = { DST: 1, OIF: 4, GATEWAY: 5, PRIORITY: 6, TABLE: 15 } as const;
const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RT_SCOPE_LINK = 253;
const RTN_UNICAST = 1;
const FAMILY = { 4: 2, 6: 10 } as const;
const IFF_UP = 1;

/** Values of macvlan's mode: linux/if_link.h, enum macvlan_mode. */
export const MACVLAN_MODES = { private: 1, vepa: 2, bridge: 4, passthru: 8 } as const;
export const IPVLAN_MODES = { l2: 0, l3: 1, l3s: 2 } as const;
export const IPVLAN_FLAG_VALUES = { bridge: 0, private: 1, vepa: 2 } as const;

/** What can be said of a link when it is made or changed. */
export type LinkSettings = {
  readonly name?: string;
  /** Canonical text. */
  readonly mac?: string;
  /** Bytes; 0 or undefined leave it alone. */
  readonly mtu?: number;
  /** Index of the bridge it is a port of; 0 takes it out. */
  readonly master?: number;
  /** Index of the link below (macvlan, ipvlan, vlan). */
  readonly parent?: number;
  /** Moves it into, or makes it in, the network namespace of this descriptor. */
  readonly netnsFd?: number;
  readonly up?: boolean;
};

export type LinkKind =
  | { readonly kind: 'bridge'; readonly multicastSnooping?: boolean }
  | { readonly kind: 'dummy' }
  | { readonly kind: 'veth'; readonly peer: LinkSettings }
  | { readonly kind: 'macvlan'; readonly mode: keyof typeof MACVLAN_MODES }
  | {
      readonly kind: 'ipvlan';
      readonly mode: keyof typeof IPVLAN_MODES;
      readonly flag: keyof typeof IPVLAN_FLAG_VALUES;
    }
  | { readonly kind: 'vlan'; readonly id: number };

function linkHeader(index: number, up: boolean | undefined): Buffer {
  const header = Buffer.alloc(16);
  header.writeInt32LE(index, 4);
  if (up !== undefined) {
    header.writeUInt32LE(up ? IFF_UP : 0, 8);
    header.writeUInt32LE(IFF_UP, 12);
  }
  return header;
}

function linkAttributes(settings: LinkSettings): Buffer[] {
  const out: Buffer[] = [];
  const put = <T>(value: T | undefined, type: number, encode: (value: T) => Buffer): void => {
    if (value !== undefined) out.push(attribute(type, encode(value)));
  };
  put(settings.name, IFLA.IFNAME, cString);
  put(settings.mac, IFLA.ADDRESS, macBytes);
  put(settings.mtu === 0 ? undefined : settings.mtu, IFLA.MTU, u32);
  put(settings.master, IFLA.MASTER, u32);
  put(settings.parent, IFLA.LINK, u32);
  put(settings.netnsFd, IFLA.NET_NS_FD, u32);
  return out;
}

function kindData(kind: LinkKind): Buffer[] {
  switch (kind.kind) {
    case 'bridge': {
      const { multicastSnooping } = kind;
      return multicastSnooping === undefined
        ? []
        : [attribute(BR_MCAST_SNOOPING, u8(multicastSnooping ? 1 : 0))];
    }
    case 'dummy':
      return [];
    case 'veth': {
      const peer = Buffer.concat([linkHeader(0, kind.peer.up), ...linkAttributes(kind.peer)]);
      return [nested(VETH_INFO_PEER, peer)];
    }
    case 'macvlan':
      return [attribute(MACVLAN_MODE, u32(MACVLAN_MODES[kind.mode]))];
    case 'ipvlan':
      return [
        attribute(IPVLAN_MODE, u16(IPVLAN_MODES[kind.mode])),
        attribute(IPVLAN_FLAGS, u16(IPVLAN_FLAG_VALUES[kind.flag])),
      ];
    case 'vlan':
      return [attribute(VLAN_ID, u16(kind.id))];
  }
}

/** Makes a link; a veth with its peer at once. Fails with EEXIST when the name is taken. */
export function newLink(kind: LinkKind, settings: LinkSettings): NetlinkRequest {
  const info = nested(
    IFLA.LINKINFO,
    attribute(IFLA.INFO_KIND, cString(kind.kind)),
    nested(IFLA.INFO_DATA, ...kindData(kind)),
  );
  return {
    type: RTM.NEWLINK,
    flags: NLM_F.CREATE | NLM_F.EXCL,
    payload: Buffer.concat([linkHeader(0, settings.up), ...linkAttributes(settings), info]),
  };
}

/** Changes the link with this index. */
export function setLink(index: number, settings: LinkSettings): NetlinkRequest {
  return {
    type: RTM.NEWLINK,
    flags: 0,
    payload: Buffer.concat([linkHeader(index, settings.up), ...linkAttributes(settings)]),
  };
}

/**
 * Settings of a bridge's port. `isolated` keeps it from other isolated ports (Linux 4.18);
 * `hairpin` lets a frame leave by the port it came from.
 */
export function setBridgePort(
  index: number,
  settings: { readonly isolated: boolean; readonly hairpin: boolean },
): NetlinkRequest {
  const info = nested(
    IFLA.LINKINFO,
    attribute(IFLA.INFO_SLAVE_KIND, cString('bridge')),
    nested(
      IFLA.INFO_SLAVE_DATA,
      attribute(BRPORT.ISOLATED, u8(settings.isolated ? 1 : 0)),
      attribute(BRPORT.HAIRPIN, u8(settings.hairpin ? 1 : 0)),
    ),
  );
  return {
    type: RTM.NEWLINK,
    flags: 0,
    payload: Buffer.concat([linkHeader(index, undefined), info]),
  };
}

/** Removes a link. The kernel takes 14 to 30 ms for it. */
export function deleteLink(index: number): NetlinkRequest {
  return { type: RTM.DELLINK, flags: 0, payload: linkHeader(index, undefined) };
}

/** Payload of RTM.GETLINK: one link by name, or all of them in a dump. */
export function getLink(name?: string): Buffer {
  const header = linkHeader(0, undefined);
  return name === undefined
    ? header
    : Buffer.concat([header, attribute(IFLA.IFNAME, cString(name))]);
}

export type Link = {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  readonly mac: string;
  readonly mtu: number;
  /** Index of its bridge; 0 for none. */
  readonly master: number;
  /** `bridge`, `veth` …; '' for a device that nobody made by netlink. */
  readonly kind: string;
};

/** A link of an RTM.NEWLINK answer. */
export function decodeLink(message: NetlinkMessage): Link | undefined {
  if (message.type !== RTM.NEWLINK || message.payload.length < 16) return undefined;
  const header = Buffer.from(message.payload);
  const attributes = decodeAttributes(header.subarray(16));
  const info = decodeAttributes(attributes.get(IFLA.LINKINFO) ?? Buffer.alloc(0));
  return {
    index: header.readInt32LE(4),
    up: (header.readUInt32LE(8) & IFF_UP) !== 0,
    name: textOf(attributes.get(IFLA.IFNAME)),
    mac: formatMac(attributes.get(IFLA.ADDRESS) ?? Buffer.alloc(0)),
    mtu: u32Of(attributes.get(IFLA.MTU)),
    master: u32Of(attributes.get(IFLA.MASTER)),
    kind: textOf(info.get(IFLA.INFO_KIND)),
  };
}

function addressPayload(index: number, cidr: Cidr): Buffer {
  const { address, prefix } = cidr;
  const header = Buffer.alloc(8);
  header.writeUInt8(FAMILY[address.family], 0);
  header.writeUInt8(prefix, 1);
  header.writeInt32LE(index, 4);
  const bytes = ipBytes(address);
  const out = [header, attribute(IFA.LOCAL, bytes), attribute(IFA.ADDRESS, bytes)];
  if (address.family === 4 && prefix < 31) {
    out.push(attribute(IFA.BROADCAST, ipBytes(lastIp(cidr))));
  }
  // Addresses are handed out by the allocator: nobody else has this one, and probing takes a second.
  if (address.family === 6) out.push(attribute(IFA.FLAGS, u32(IFA_F_NODAD)));
  return Buffer.concat(out);
}

/** Gives a link an address; one that it has already is fine. */
export function addAddress(index: number, cidr: Cidr): NetlinkRequest {
  return {
    type: RTM.NEWADDR,
    flags: NLM_F.CREATE | NLM_F.REPLACE,
    payload: addressPayload(index, cidr),
  };
}

export function deleteAddress(index: number, cidr: Cidr): NetlinkRequest {
  return { type: RTM.DELADDR, flags: 0, payload: addressPayload(index, cidr) };
}

/** Payload of RTM.GETADDR and RTM.GETROUTE: all of one family, or of both. */
export function getFamily(family?: 4 | 6): Buffer {
  const header = Buffer.alloc(12);
  if (family !== undefined) header.writeUInt8(FAMILY[family], 0);
  return header;
}

export type LinkAddress = { readonly index: number; readonly cidr: Cidr };

/** An address of an RTM.NEWADDR answer. */
export function decodeAddress(message: NetlinkMessage): LinkAddress | undefined {
  if (message.type !== RTM.NEWADDR || message.payload.length < 8) return undefined;
  const header = Buffer.from(message.payload);
  const attributes = decodeAttributes(header.subarray(8));
  const bytes = attributes.get(IFA.LOCAL) ?? attributes.get(IFA.ADDRESS);
  const address = bytes === undefined ? undefined : ipFromBytes(bytes);
  if (address === undefined) return undefined;
  return { index: header.readInt32LE(4), cidr: { address, prefix: header.readUInt8(1) } };
}

export type Route = {
  /** Undefined: the default route. */
  readonly destination?: Cidr;
  readonly gateway?: Ip;
  /** Index of the outgoing link. */
  readonly link: number;
  readonly family: 4 | 6;
  readonly metric?: number;
};

function routePayload({ destination, gateway, link, family, metric }: Route): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt8(FAMILY[family], 0);
  header.writeUInt8(destination?.prefix ?? 0, 1);
  header.writeUInt8(RT_TABLE_MAIN, 4);
  header.writeUInt8(RTPROT_BOOT, 5);
  header.writeUInt8(gateway === undefined && family === 4 ? RT_SCOPE_LINK : 0, 6);
  header.writeUInt8(RTN_UNICAST, 7);
  const out = [header, attribute(RTA.OIF, u32(link))];
  if (destination !== undefined) out.push(attribute(RTA.DST, ipBytes(firstIp(destination))));
  if (gateway !== undefined) out.push(attribute(RTA.GATEWAY, ipBytes(gateway)));
  if (metric !== undefined) out.push(attribute(RTA.PRIORITY, u32(metric)));
  return Buffer.concat(out);
}

export function addRoute(route: Route): NetlinkRequest {
  return {
    type: RTM.NEWROUTE,
    flags: NLM_F.CREATE | NLM_F.REPLACE,
    payload: routePayload(route),
  };
}

export function deleteRoute(route: Route): NetlinkRequest {
  return { type: RTM.DELROUTE, flags: 0, payload: routePayload(route) };
}

/** A unicast route of the main table of an RTM.NEWROUTE answer; undefined for others. */
export function decodeRoute(message: NetlinkMessage): Route | undefined {
  if (message.type !== RTM.NEWROUTE || message.payload.length < 12) return undefined;
  const header = Buffer.from(message.payload);
  const attributes = decodeAttributes(header.subarray(12));
  const family = header.readUInt8(0) === FAMILY[4] ? 4 : 6;
  const table = u32Of(attributes.get(RTA.TABLE)) || header.readUInt8(4);
  if (table !== RT_TABLE_MAIN || header.readUInt8(7) !== RTN_UNICAST) return undefined;
  const prefix = header.readUInt8(1);
  const bytes = attributes.get(RTA.DST);
  const address = bytes === undefined ? undefined : ipFromBytes(bytes);
  const via = attributes.get(RTA.GATEWAY);
  const gateway = via === undefined ? undefined : ipFromBytes(via);
  const metric = attributes.get(RTA.PRIORITY);
  return {
    family,
    link: u32Of(attributes.get(RTA.OIF)),
    ...(address === undefined || prefix > bitsOf(family)
      ? {}
      : { destination: { address, prefix } }),
    ...(gateway === undefined ? {} : { gateway }),
    ...(metric === undefined ? {} : { metric: u32Of(metric) }),
  };
}
