import {
  attribute,
  decodeAttributes,
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F,
  nested,
  u16be,
  u32,
} from './netlink.ts';

/**
 * Connections that the kernel tracks (ctnetlink), as far as published UDP ports need them.
 *
 *   nfgenmsg, then CTA_TUPLE_ORIG { CTA_TUPLE_IP {…}, CTA_TUPLE_PROTO { number, source, destination } }
 *
 * Source: linux/netfilter/nfnetlink_conntrack.h.
 */

const SUBSYSTEM = 1;
const MESSAGE = { NEW: 0, GET: 1, DELETE: 2 } as const;
const CTA = { TUPLE_ORIG: 1, FILTER: 25 } as const;
const CTA_TUPLE = { IP: 1, PROTO: 2 } as const;
const CTA_PROTO = { NUMBER: 1, DESTINATION_PORT: 3 } as const;
const FILTER_ORIG_FLAGS = 1;
const FILTER = { PROTOCOL: 1 << 3, DESTINATION_PORT: 1 << 5 } as const;
const UDP = 17;
const FAMILY = { 4: 2, 6: 10 } as const;

function header(family: 4 | 6): Buffer {
  return Buffer.from([FAMILY[family], 0, 0, 0]);
}

/**
 * Type and payload of a dump of UDP connections, to one port or to all. Kernels before 5.8 know no filter and give all
 * connections: look at each with {@link udpPortOf}.
 */
export function getUdpFlows(
  family: 4 | 6,
  port: number | undefined,
): { type: number; payload: Buffer } {
  const flags = FILTER.PROTOCOL | (port === undefined ? 0 : FILTER.DESTINATION_PORT);
  return {
    type: (SUBSYSTEM << 8) | MESSAGE.GET,
    payload: Buffer.concat([
      header(family),
      nested(
        CTA.TUPLE_ORIG,
        nested(
          CTA_TUPLE.PROTO,
          attribute(CTA_PROTO.NUMBER, Buffer.from([UDP])),
          ...(port === undefined ? [] : [attribute(CTA_PROTO.DESTINATION_PORT, u16be(port))]),
        ),
      ),
      nested(CTA.FILTER, attribute(FILTER_ORIG_FLAGS, u32(flags))),
    ]),
  };
}

function tupleOf(message: NetlinkMessage): Buffer | undefined {
  if (message.type !== ((SUBSYSTEM << 8) | MESSAGE.NEW)) return undefined;
  return decodeAttributes(message.payload.subarray(4)).get(CTA.TUPLE_ORIG);
}

/** The port that a connection's first packet went to; undefined for what is not UDP. */
export function udpPortOf(message: NetlinkMessage): number | undefined {
  const tuple = tupleOf(message);
  if (tuple === undefined) return undefined;
  const proto = decodeAttributes(decodeAttributes(tuple).get(CTA_TUPLE.PROTO) ?? Buffer.alloc(0));
  const destination = proto.get(CTA_PROTO.DESTINATION_PORT);
  if (proto.get(CTA_PROTO.NUMBER)?.[0] !== UDP || destination?.length !== 2) return undefined;
  return destination.readUInt16BE();
}

/** Forgets a connection of a dump's answer; undefined for another message. */
export function forgetConnection(message: NetlinkMessage): NetlinkRequest | undefined {
  const tuple = tupleOf(message);
  if (tuple === undefined) return undefined;
  return {
    type: (SUBSYSTEM << 8) | MESSAGE.DELETE,
    flags: NLM_F.REQUEST,
    payload: Buffer.concat([message.payload.subarray(0, 4), nested(CTA.TUPLE_ORIG, tuple)]),
  };
}
