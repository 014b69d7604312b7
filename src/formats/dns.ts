import { type Ip, ipBytes } from '../base/ip.ts';

/**
 * DNS messages: what an embedded server and a forwarder need of them.
 *
 *   header    u16 id · u16 flags · u16 questions · u16 answers · u16 authorities · u16 additionals
 *   question  name · u16 type · u16 class
 *   record    name · u16 type · u16 class · u32 ttl · u16 length · data
 *   name      labels (u8 length · bytes), closed by 0 or by a pointer (0xc000 | offset)
 *
 * Network order. Source: RFC 1035, RFC 6891 (EDNS), RFC 2308 (negative answers).
 */

export const DNS_TYPE = { A: 1, SOA: 6, PTR: 12, AAAA: 28, OPT: 41, ANY: 255 } as const;
export const DNS_CLASS_IN = 1;
export const RCODE = { OK: 0, SERVFAIL: 2, NXDOMAIN: 3, NOTIMP: 4 } as const;

const HEADER_BYTES = 12;
const FLAG = {
  QR: 0x8000,
  OPCODE: 0x7800,
  AA: 0x0400,
  TC: 0x0200,
  RD: 0x0100,
  RA: 0x0080,
} as const;
const NAME_BYTES_MAX = 255;
const LABEL_BYTES_MAX = 63;
const RECORDS_MAX = 1000;
/** What a client without EDNS takes over UDP. */
const UDP_BYTES_DEFAULT = 512;

/** A question that can be worked with. */
export type DnsQuery = {
  readonly id: number;
  readonly flags: number;
  /** Lower case, without the last dot; labels that hold dots are not taken. */
  readonly name: string;
  readonly type: number;
  readonly class: number;
  /** Header's end to question's end: as the client spelled it. */
  readonly question: Uint8Array;
  /** Bytes that the client takes over UDP. */
  readonly udpBytes: number;
  /** The client sent an OPT record; its flags (DO). */
  readonly edns: { readonly flags: number } | undefined;
};

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** Offset behind a name, pointers not followed; undefined when it does not fit. */
function skipName(message: Buffer, start: number): number | undefined {
  let at = start;
  for (;;) {
    const length = message[at];
    if (length === undefined || at - start > NAME_BYTES_MAX) return undefined;
    if (length === 0) return at + 1;
    if ((length & 0xc0) === 0xc0) return at + 2 <= message.length ? at + 2 : undefined;
    if (length > LABEL_BYTES_MAX) return undefined;
    at += 1 + length;
  }
}

/** The question's name, which has no pointers; undefined for what no resolver would ask. */
function readName(message: Buffer, start: number): { name: string; end: number } | undefined {
  const labels: string[] = [];
  let at = start;
  for (;;) {
    const length = message[at];
    if (length === undefined || length > LABEL_BYTES_MAX) return undefined;
    at += 1;
    if (length === 0) break;
    if (at + length > message.length || at + length - start > NAME_BYTES_MAX) return undefined;
    const label = message.toString('latin1', at, at + length);
    if (label.includes('.')) return undefined;
    labels.push(label);
    at += length;
  }
  return { name: labels.join('.').toLowerCase(), end: at };
}

/**
 * Reads a question. Undefined for whatever is not exactly one question of a client: answers,
 * several questions, broken names, records that do not fit.
 */
export function parseQuery(bytes: Uint8Array): DnsQuery | undefined {
  const message = view(bytes);
  if (message.length < HEADER_BYTES + 5) return undefined;
  const flags = message.readUInt16BE(2);
  const additional = message.readUInt16BE(10);
  if ((flags & (FLAG.QR | FLAG.TC)) !== 0 || message.readUInt16BE(4) !== 1) return undefined;
  if (message.readUInt16BE(6) !== 0 || message.readUInt16BE(8) !== 0 || additional > 2) {
    return undefined;
  }
  const read = readName(message, HEADER_BYTES);
  if (read === undefined || read.end + 4 > message.length) return undefined;
  const end = read.end + 4;
  let edns: DnsQuery['edns'];
  let udpBytes = UDP_BYTES_DEFAULT;
  let at: number | undefined = end;
  for (let i = 0; i < additional; i += 1) {
    const record = readRecord(message, at);
    if (record === undefined) return undefined;
    if (record.type === DNS_TYPE.OPT) {
      edns = { flags: record.ttl & 0xffff };
      udpBytes = Math.max(UDP_BYTES_DEFAULT, record.class);
    }
    at = record.end;
  }
  return {
    id: message.readUInt16BE(0),
    flags,
    name: read.name,
    type: message.readUInt16BE(read.end),
    class: message.readUInt16BE(read.end + 2),
    question: message.subarray(HEADER_BYTES, end),
    udpBytes,
    edns,
  };
}

/** True for a plain question; status requests, updates and the like get NOTIMP. */
export function isStandardQuery({ flags }: DnsQuery): boolean {
  return (flags & FLAG.OPCODE) === 0;
}

/** An answer's data: an address, or a name for PTR. */
export type DnsAnswer = { readonly ip: Ip } | { readonly name: string };

function encodeName(name: string): Buffer {
  const labels = name.split('.').filter((label) => label !== '');
  return Buffer.concat([
    ...labels.map((label) => {
      const bytes = Buffer.from(label, 'latin1').subarray(0, LABEL_BYTES_MAX);
      return Buffer.concat([Buffer.from([bytes.length]), bytes]);
    }),
    Buffer.from([0]),
  ]);
}

function encodeRecord(answer: DnsAnswer, ttlSec: number): Buffer {
  const data = 'ip' in answer ? ipBytes(answer.ip) : encodeName(answer.name);
  const head = Buffer.alloc(12);
  head.writeUInt16BE(0xc000 | HEADER_BYTES, 0); // the question's name
  head.writeUInt16BE(
    'name' in answer ? DNS_TYPE.PTR : answer.ip.family === 4 ? DNS_TYPE.A : DNS_TYPE.AAAA,
    2,
  );
  head.writeUInt16BE(DNS_CLASS_IN, 4);
  head.writeUInt32BE(ttlSec, 6);
  head.writeUInt16BE(data.length, 10);
  return Buffer.concat([head, data]);
}

/** OPT record of an answer to a client that sent one: 4096 bytes, nothing else. */
const OPT_RECORD = Buffer.from([0, 0, DNS_TYPE.OPT, 0x10, 0, 0, 0, 0, 0, 0, 0]);

/**
 * An answer of our own. What does not fit into `bytesMax` is left out and the answer marked as
 * truncated, so that the client asks again over TCP.
 */
export function encodeAnswer(
  query: DnsQuery,
  answer: {
    readonly rcode: number;
    readonly answers: readonly DnsAnswer[];
    readonly ttlSec: number;
    readonly bytesMax: number;
  },
): Buffer {
  const opt = query.edns === undefined ? [] : [OPT_RECORD];
  let length = HEADER_BYTES + query.question.length + (opt[0]?.length ?? 0);
  const records: Buffer[] = [];
  let truncated = false;
  for (const each of answer.answers) {
    const record = encodeRecord(each, answer.ttlSec);
    if (length + record.length > answer.bytesMax) {
      truncated = true;
      break;
    }
    records.push(record);
    length += record.length;
  }
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt16BE(query.id, 0);
  header.writeUInt16BE(
    FLAG.QR |
      FLAG.RA |
      (query.flags & (FLAG.RD | FLAG.OPCODE)) |
      (truncated ? FLAG.TC : 0) |
      answer.rcode,
    2,
  );
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(records.length, 6);
  header.writeUInt16BE(opt.length, 10);
  return Buffer.concat([header, query.question, ...records, ...opt]);
}

// --- replies of other servers ---

type DnsRecord = {
  readonly type: number;
  readonly class: number;
  readonly ttl: number;
  readonly ttlAt: number;
  readonly dataAt: number;
  readonly end: number;
};

function readRecord(message: Buffer, start: number): DnsRecord | undefined {
  const at = skipName(message, start);
  if (at === undefined || at + 10 > message.length) return undefined;
  const end = at + 10 + message.readUInt16BE(at + 8);
  if (end > message.length) return undefined;
  return {
    type: message.readUInt16BE(at),
    class: message.readUInt16BE(at + 2),
    ttl: message.readUInt32BE(at + 4),
    ttlAt: at + 4,
    dataAt: at + 10,
    end,
  };
}

/** What a forwarder needs to know of a reply. */
export type DnsReply = {
  readonly rcode: number;
  readonly truncated: boolean;
  /** Seconds that it may be kept; 0 for not at all. */
  readonly ttlSec: number;
  /** Where the TTLs stand, to age them. */
  readonly ttlOffsets: readonly number[];
};

/** True when the message answers the query: same ID, same question whatever its letters' case. */
export function isReplyTo(bytes: Uint8Array, id: number, question: Uint8Array): boolean {
  const message = view(bytes);
  const end = HEADER_BYTES + question.length;
  if (message.length < end || message.readUInt16BE(0) !== id) return false;
  if ((message.readUInt16BE(2) & FLAG.QR) === 0 || message.readUInt16BE(4) !== 1) return false;
  const asked = view(question);
  const tail = asked.length - 4;
  return (
    message.subarray(HEADER_BYTES + tail, end).equals(asked.subarray(tail)) &&
    message.toString('latin1', HEADER_BYTES, HEADER_BYTES + tail).toLowerCase() ===
      asked.toString('latin1', 0, tail).toLowerCase()
  );
}

/** Reads a reply to a question of `questionBytes`; undefined when its records do not fit. */
export function parseReply(bytes: Uint8Array, questionBytes: number): DnsReply | undefined {
  const message = view(bytes);
  if (message.length < HEADER_BYTES + questionBytes) return undefined;
  const flags = message.readUInt16BE(2);
  const counts = [6, 8, 10].map((at) => message.readUInt16BE(at));
  const rcode = flags & 0xf;
  const truncated = (flags & FLAG.TC) !== 0;
  const total = counts.reduce((sum, count) => sum + count, 0);
  if (total > RECORDS_MAX) return undefined;
  const ttlOffsets: number[] = [];
  let ttlSec = Number.POSITIVE_INFINITY;
  let negative = 0;
  let at = HEADER_BYTES + questionBytes;
  for (let i = 0; i < total; i += 1) {
    const record = readRecord(message, at);
    if (record === undefined) return undefined;
    at = record.end;
    if (record.type === DNS_TYPE.OPT) continue;
    ttlOffsets.push(record.ttlAt);
    const ttl = record.ttl > 0x7fff_ffff ? 0 : record.ttl;
    ttlSec = Math.min(ttlSec, ttl);
    if (record.type === DNS_TYPE.SOA && record.end - record.dataAt >= 20) {
      negative = Math.min(ttl, message.readUInt32BE(record.end - 4));
    }
  }
  const answered = (counts[0] ?? 0) > 0;
  const lasts = answered && rcode === RCODE.OK ? ttlSec : negative;
  const cacheable = !truncated && (rcode === RCODE.OK || rcode === RCODE.NXDOMAIN);
  return { rcode, truncated, ttlSec: cacheable && Number.isFinite(lasts) ? lasts : 0, ttlOffsets };
}

/** A copy of a reply for another query of the same question, its TTLs `ageSec` lower. */
export function readdress(
  reply: Uint8Array,
  query: Pick<DnsQuery, 'id' | 'question'>,
  ttlOffsets: readonly number[],
  ageSec: number,
): Buffer {
  const copy = Buffer.from(reply);
  copy.writeUInt16BE(query.id, 0);
  copy.set(query.question, HEADER_BYTES);
  for (const at of ttlOffsets) copy.writeUInt32BE(Math.max(0, copy.readUInt32BE(at) - ageSec), at);
  return copy;
}

/** A copy of a query with another ID. */
export function withId(message: Uint8Array, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}

/** The address that a PTR question is about; undefined for other names. */
export function reverseAddress(name: string): Ip | undefined {
  const v4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.in-addr\.arpa$/.exec(name);
  if (v4 !== null) {
    const parts = v4.slice(1).map(Number);
    if (parts.some((part) => part > 255)) return undefined;
    return { family: 4, value: parts.reduceRight((sum, part) => sum * 256n + BigInt(part), 0n) };
  }
  const v6 = /^((?:[0-9a-f]\.){32})ip6\.arpa$/.exec(name);
  if (v6?.[1] === undefined) return undefined;
  const digits = v6[1].replaceAll('.', '').split('').reverse().join('');
  return { family: 6, value: BigInt(`0x${digits}`) };
}
