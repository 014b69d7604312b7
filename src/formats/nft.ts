import { type Ip, ipBytes } from '../base/ip.ts';
import {
  attribute,
  cString,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F,
  nested,
  u16be,
  u32be,
} from './netlink.ts';

/**
 * nfnetlink messages for nftables: elements of maps, and rules without connection tracking.
 *
 *   nfgenmsg  u8 family · u8 version 0 · u16 (network order) subsystem of a batch, else 0
 *
 * A batch is BATCH_BEGIN, requests, BATCH_END in one datagram; all of it happens or nothing.
 * Numbers inside attributes are in network order. A key or value of several parts is their bytes,
 * each part padded to 4. Source: linux/netfilter/nfnetlink.h, linux/netfilter/nf_tables.h.
 */

const SUBSYSTEM = 10;
const NFNL_MSG_BATCH_BEGIN = 16;
const NFNL_MSG_BATCH_END = 17;

const MESSAGE = {
  NEWTABLE: 0,
  GETTABLE: 1,
  NEWCHAIN: 3,
  NEWRULE: 6,
  NEWSETELEM: 12,
  DELSETELEM: 14,
  NEWGEN: 15,
  GETGEN: 16,
} as const;

/** Address families of nftables: `inet` is both of IP. */
export const NFPROTO = { INET: 1, IPV4: 2, IPV6: 10 } as const;

const NFT_REG_VERDICT = 0;
const NFT_REG32_00 = 8;
const NF_INET_LOCAL_OUT = 3;
/** Before everybody's filters. */
const PRIORITY_MANGLE = -150;

const PROTOCOL_NUMBERS = { tcp: 6, udp: 17, sctp: 132 } as const;

function request(
  message: number,
  family: number,
  flags: number,
  ...attributes: Uint8Array[]
): NetlinkRequest {
  return {
    type: (SUBSYSTEM << 8) | message,
    flags: NLM_F.REQUEST | flags,
    payload: Buffer.concat([Buffer.from([family, 0, 0, 0]), ...attributes]),
  };
}

function batchEdge(type: number): NetlinkRequest {
  return { type, flags: NLM_F.REQUEST, payload: Buffer.from([0, 0, 0, SUBSYSTEM]) };
}

export const batchBegin: NetlinkRequest = batchEdge(NFNL_MSG_BATCH_BEGIN);
export const batchEnd: NetlinkRequest = batchEdge(NFNL_MSG_BATCH_END);

/** Bytes of a key or value: each part padded to four. */
function concatenation(parts: readonly Uint8Array[]): Buffer {
  return Buffer.concat(parts.flatMap((part) => [part, Buffer.alloc((4 - (part.length % 4)) % 4)]));
}

/** One element of a map of published ports, or, without a target, its key. */
export type MapElement = {
  readonly protocol: keyof typeof PROTOCOL_NUMBERS;
  /** Part of the key in maps of certain host addresses. */
  readonly hostIp?: Ip;
  readonly hostPort: number;
  readonly target?: { readonly ip: Ip; readonly port: number };
};

function elementAttribute({ protocol, hostIp, hostPort, target }: MapElement): Buffer {
  const key = concatenation([
    Buffer.from([PROTOCOL_NUMBERS[protocol]]),
    ...(hostIp === undefined ? [] : [ipBytes(hostIp)]),
    u16be(hostPort),
  ]);
  const parts = [nested(1, attribute(1, key))]; // NFTA_SET_ELEM_KEY { NFTA_DATA_VALUE }
  if (target !== undefined) {
    const value = concatenation([ipBytes(target.ip), u16be(target.port)]);
    parts.push(nested(2, attribute(1, value))); // NFTA_SET_ELEM_DATA
  }
  return nested(1, ...parts); // NFTA_LIST_ELEM
}

function elements(message: number, flags: number) {
  return (table: string, map: string, list: readonly MapElement[]): NetlinkRequest =>
    request(
      message,
      NFPROTO.INET,
      NLM_F.ACK | flags,
      attribute(1, cString(table)), // NFTA_SET_ELEM_LIST_TABLE
      attribute(2, cString(map)), // NFTA_SET_ELEM_LIST_SET
      nested(3, ...list.map(elementAttribute)), // NFTA_SET_ELEM_LIST_ELEMENTS
    );
}

/** Adds elements to a map of an `inet` table. */
export const addElements = elements(MESSAGE.NEWSETELEM, NLM_F.CREATE);
/** Takes elements out; fails with ENOENT when one is not there. */
export const deleteElements = elements(MESSAGE.DELSETELEM, 0);

/** Payload type and bytes of the question for the ruleset's generation. */
export const getGeneration = request(MESSAGE.GETGEN, 0, 0);

/** Number that each change to the namespace's ruleset raises; undefined in another message. */
export function decodeGeneration(message: NetlinkMessage): number | undefined {
  if (message.type !== ((SUBSYSTEM << 8) | MESSAGE.NEWGEN)) return undefined;
  const id = decodeAttributes(message.payload.subarray(4)).get(1); // NFTA_GEN_ID
  return id?.length === 4 ? id.readUInt32BE() : undefined;
}

/** The question for a table of a family: fails with ENOENT when it is not there. */
export function getTable(table: string, family: number): NetlinkRequest {
  return request(MESSAGE.GETTABLE, family, 0, attribute(1, cString(table)));
}

/** Objects in the table (chains, sets, maps): one number that tells whether some are missing. */
export function decodeTableUse(message: NetlinkMessage): number | undefined {
  if (message.type !== SUBSYSTEM << 8) return undefined;
  const use = decodeAttributes(message.payload.subarray(4)).get(3); // NFTA_TABLE_USE
  return use?.length === 4 ? use.readUInt32BE() : undefined;
}

// --- rules ---

function expression(name: string, ...data: Uint8Array[]): Buffer {
  // NFTA_LIST_ELEM { NFTA_EXPR_NAME, NFTA_EXPR_DATA }
  return nested(1, attribute(1, cString(name)), nested(2, ...data));
}

const BASE = { network: 1, transport: 2 } as const;

/** Loads bytes of a packet's header into the register. */
function loadPayload(base: keyof typeof BASE, offset: number, bytes: number): Buffer {
  return expression(
    'payload',
    attribute(1, u32be(NFT_REG32_00)), // DREG
    attribute(2, u32be(BASE[base])),
    attribute(3, u32be(offset)),
    attribute(4, u32be(bytes)),
  );
}

/** Writes the register's bytes into the transport header and mends its checksum. */
function storePort(offset: number, checksumOffset: number): Buffer {
  return expression(
    'payload',
    attribute(5, u32be(NFT_REG32_00)), // SREG
    attribute(2, u32be(BASE.transport)),
    attribute(3, u32be(offset)),
    attribute(4, u32be(2)),
    attribute(6, u32be(1)), // CSUM_TYPE: internet checksum
    attribute(7, u32be(checksumOffset)),
  );
}

/** Loads the transport protocol's number. */
const loadProtocol = expression('meta', attribute(1, u32be(NFT_REG32_00)), attribute(2, u32be(16)));

/** Goes on only when the register holds these bytes. */
function isEqual(value: Uint8Array): Buffer {
  return expression(
    'cmp',
    attribute(1, u32be(NFT_REG32_00)),
    attribute(2, u32be(0)), // NFT_CMP_EQ
    nested(3, attribute(1, value)),
  );
}

function setRegister(value: Uint8Array): Buffer {
  return expression('immediate', attribute(1, u32be(NFT_REG32_00)), nested(2, attribute(1, value)));
}

const accept = expression(
  'immediate',
  attribute(1, u32be(NFT_REG_VERDICT)),
  nested(2, nested(2, attribute(1, u32be(1)))), // NFTA_DATA_VERDICT { CODE: NF_ACCEPT }
);

/** Where a port stands in the transport header, and the checksum that covers it. */
const TRANSPORT = { udp: { checksum: 6 }, tcp: { checksum: 16 } } as const;
const SOURCE_PORT = 0;
const DESTINATION_PORT = 2;
const SOURCE_IP = 12;
const DESTINATION_IP = 16;

/** Ports that the embedded DNS server listens on. */
export type DnsPorts = { readonly udp: number; readonly tcp: number };

/**
 * Batch that makes `address`:53 of the current namespace lead to a server on other ports of that
 * address, and back. It rewrites ports packet by packet: no connection tracking, which would cost
 * every packet of the container. Port 53 stays free for a server of the container's own.
 */
export function dnsRedirect(table: string, address: Ip, ports: DnsPorts): NetlinkRequest[] {
  const chain = 'output';
  const create = NLM_F.CREATE | NLM_F.ACK;
  const rule = (
    protocol: 'udp' | 'tcp',
    match: { ip: number; port: number; was: number },
    becomes: number,
  ): NetlinkRequest =>
    request(
      MESSAGE.NEWRULE,
      NFPROTO.IPV4,
      create | NLM_F.APPEND,
      attribute(1, cString(table)),
      attribute(2, cString(chain)),
      nested(
        4, // NFTA_RULE_EXPRESSIONS
        loadPayload('network', match.ip, 4),
        isEqual(ipBytes(address)),
        loadProtocol,
        isEqual(Buffer.from([PROTOCOL_NUMBERS[protocol]])),
        loadPayload('transport', match.port, 2),
        isEqual(u16be(match.was)),
        setRegister(u16be(becomes)),
        storePort(match.port, TRANSPORT[protocol].checksum),
        accept,
      ),
    );
  const both = (protocol: 'udp' | 'tcp'): NetlinkRequest[] => [
    rule(protocol, { ip: DESTINATION_IP, port: DESTINATION_PORT, was: 53 }, ports[protocol]),
    rule(protocol, { ip: SOURCE_IP, port: SOURCE_PORT, was: ports[protocol] }, 53),
  ];
  return [
    request(MESSAGE.NEWTABLE, NFPROTO.IPV4, create, attribute(1, cString(table))),
    request(
      MESSAGE.NEWCHAIN,
      NFPROTO.IPV4,
      create,
      attribute(1, cString(table)),
      attribute(3, cString(chain)),
      nested(
        4, // NFTA_CHAIN_HOOK
        attribute(1, u32be(NF_INET_LOCAL_OUT)),
        attribute(2, u32be(PRIORITY_MANGLE)),
      ),
      attribute(7, cString('filter')), // NFTA_CHAIN_TYPE
    ),
    ...both('udp'),
    ...both('tcp'),
  ];
}
