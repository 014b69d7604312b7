/**
 * Netlink messages: what rtnetlink and nfnetlink share.
 *
 *   message    u32 length · u16 type · u16 flags · u32 sequence · u32 port · payload
 *   payload    a family's fixed header, then attributes
 *   attribute  u16 length (header included) · u16 type · value, padded to 4 bytes
 *   answer     NLMSG_ERROR: i32 -errno (0 is the acknowledgement) · the request's header · attributes
 *
 * Host byte order, which is little-endian on every architecture this project builds for.
 * Source: netlink(7), linux/netlink.h.
 */

export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  DUMP_INTR: 0x10,
  /** Get requests: the whole table. */
  DUMP: 0x300,
  /** New requests. */
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
} as const;

export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3 } as const;

const HEADER_BYTES = 16;
const NLA_F_NESTED = 0x8000;
const NLA_TYPE_MASK = 0x3fff;
/** Set in an NLMSG_ERROR when attributes follow, and when the request's payload is left out. */
const NLM_F_ACK_TLVS = 0x200;
const NLM_F_CAPPED = 0x100;
const NLMSGERR_ATTR_MSG = 1;

/** A request before it gets its sequence number. */
export type NetlinkRequest = {
  readonly type: number;
  readonly flags: number;
  readonly payload: Uint8Array;
};

export type NetlinkMessage = NetlinkRequest & { readonly sequence: number };

function padded(bytes: number): number {
  return (bytes + 3) & ~3;
}

/** One attribute. */
export function attribute(type: number, value: Uint8Array): Buffer {
  const out = Buffer.alloc(padded(4 + value.length));
  out.writeUInt16LE(4 + value.length, 0);
  out.writeUInt16LE(type, 2);
  out.set(value, 4);
  return out;
}

/** An attribute that holds attributes. */
export function nested(type: number, ...inside: Uint8Array[]): Buffer {
  return attribute(type | NLA_F_NESTED, Buffer.concat(inside));
}

export function u8(value: number): Buffer {
  return Buffer.from([value]);
}

export function u16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16LE(value);
  return out;
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value >>> 0);
  return out;
}

/** Network order, as nftables wants its numbers. */
export function u32be(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value >>> 0);
  return out;
}

export function u16be(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16BE(value);
  return out;
}

/** Text with its closing zero. */
export function cString(value: string): Buffer {
  return Buffer.from(`${value}\0`, 'utf8');
}

/** A whole message. */
export function encodeMessage(request: NetlinkRequest, sequence: number): Buffer {
  const length = HEADER_BYTES + request.payload.length;
  const out = Buffer.alloc(padded(length));
  out.writeUInt32LE(length, 0);
  out.writeUInt16LE(request.type, 4);
  out.writeUInt16LE(request.flags, 6);
  out.writeUInt32LE(sequence >>> 0, 8);
  out.set(request.payload, HEADER_BYTES);
  return out;
}

/** The messages of one datagram; stops at the first one whose length does not fit. */
export function decodeMessages(datagram: Uint8Array): NetlinkMessage[] {
  const bytes = Buffer.from(datagram.buffer, datagram.byteOffset, datagram.length);
  const messages: NetlinkMessage[] = [];
  let at = 0;
  while (at + HEADER_BYTES <= bytes.length) {
    const length = bytes.readUInt32LE(at);
    if (length < HEADER_BYTES || at + length > bytes.length) break;
    messages.push({
      type: bytes.readUInt16LE(at + 4),
      flags: bytes.readUInt16LE(at + 6),
      sequence: bytes.readUInt32LE(at + 8),
      payload: bytes.subarray(at + HEADER_BYTES, at + length),
    });
    at += padded(length);
  }
  return messages;
}

/** Attributes by type, the last one of equals; stops at the first one whose length does not fit. */
export function decodeAttributes(bytes: Uint8Array): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let at = 0;
  while (at + 4 <= view.length) {
    const length = view.readUInt16LE(at);
    if (length < 4 || at + length > view.length) break;
    attributes.set(view.readUInt16LE(at + 2) & NLA_TYPE_MASK, view.subarray(at + 4, at + length));
    at += padded(length);
  }
  return attributes;
}

/** Text of an attribute, without its closing zero. */
export function textOf(value: Uint8Array | undefined): string {
  if (value === undefined) return '';
  const end = value.indexOf(0);
  return Buffer.from(value.buffer, value.byteOffset, end < 0 ? value.length : end).toString('utf8');
}

/** A number of an attribute in host order; 0 when it is absent or too short. */
export function u32Of(value: Buffer | undefined): number {
  return value !== undefined && value.length >= 4 ? value.readUInt32LE() : 0;
}

/** What an NLMSG_ERROR says: errno (0: done) and the kernel's own words, if any. */
export function decodeError(message: NetlinkMessage): { errno: number; text: string } {
  const payload = Buffer.from(
    message.payload.buffer,
    message.payload.byteOffset,
    message.payload.length,
  );
  if (payload.length < 4 + HEADER_BYTES) return { errno: 71, text: '' }; // EPROTO
  const errno = -payload.readInt32LE(0);
  if ((message.flags & NLM_F_ACK_TLVS) === 0) return { errno, text: '' };
  const requestBytes =
    (message.flags & NLM_F_CAPPED) !== 0 ? HEADER_BYTES : payload.readUInt32LE(4);
  const attributes = decodeAttributes(payload.subarray(4 + padded(requestBytes)));
  return { errno, text: textOf(attributes.get(NLMSGERR_ATTR_MSG)) };
}
