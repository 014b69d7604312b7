/**
 * IP addresses and prefixes as values: a family and an unsigned integer of 32 or 128 bits.
 * Text forms: RFC 791 dotted quads (no leading zeros, four parts) and RFC 4291/5952 for IPv6.
 */
export type Family = 4 | 6;

/** One address. Compare with {@link sameIp}; as a map's key use {@link formatIp}. */
export type Ip = { readonly family: Family; readonly value: bigint };

/** An address within its network: `10.0.0.5/8`. `address` may have host bits set. */
export type Cidr = { readonly address: Ip; readonly prefix: number };

/** Bits of an address. */
export function bitsOf(family: Family): 32 | 128 {
  return family === 4 ? 32 : 128;
}

function parse4(text: string): bigint | undefined {
  const m = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (m === null) return undefined;
  let value = 0;
  for (const part of m.slice(1)) {
    if (part.length > 1 && part.startsWith('0')) return undefined;
    const byte = Number(part);
    if (byte > 255) return undefined;
    value = value * 256 + byte;
  }
  return BigInt(value);
}

/** 16-bit groups of one side of `::`; the last may be a dotted quad. */
function groups6(text: string, mayEndIn4: boolean): number[] | undefined {
  if (text === '') return [];
  const parts = text.split(':');
  const out: number[] = [];
  for (const [i, part] of parts.entries()) {
    if (mayEndIn4 && i === parts.length - 1 && part.includes('.')) {
      const v4 = parse4(part);
      if (v4 === undefined) return undefined;
      out.push(Number(v4 >> 16n), Number(v4 & 0xffffn));
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      out.push(Number.parseInt(part, 16));
    }
  }
  return out;
}

function parse6(text: string): bigint | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const head = groups6(halves[0] ?? '', halves.length === 1);
  const tail = halves.length === 2 ? groups6(halves[1] ?? '', true) : [];
  if (head === undefined || tail === undefined) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 2 ? missing < 1 : missing !== 0) return undefined;
  let value = 0n;
  for (const group of [...head, ...new Array<number>(missing).fill(0), ...tail]) {
    value = (value << 16n) | BigInt(group);
  }
  return value;
}

/** Undefined when the text is not an address. Zones (`%eth0`) are not taken. */
export function parseIp(text: string): Ip | undefined {
  const family: Family = text.includes(':') ? 6 : 4;
  const value = family === 4 ? parse4(text) : parse6(text);
  return value === undefined ? undefined : { family, value };
}

/** Undefined when the text is not `address/prefix`. */
export function parseCidr(text: string): Cidr | undefined {
  const at = text.indexOf('/');
  if (at < 0) return undefined;
  const address = parseIp(text.slice(0, at));
  const digits = text.slice(at + 1);
  if (address === undefined || !/^(0|[1-9]\d{0,2})$/.test(digits)) return undefined;
  const prefix = Number(digits);
  return prefix > bitsOf(address.family) ? undefined : { address, prefix };
}

function format6(value: bigint): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    Number((value >> BigInt(112 - 16 * i)) & 0xffffn),
  );
  // RFC 5952: the longest run of two or more zero groups, the first one of equals.
  let best = { at: -1, length: 1 };
  for (let at = 0; at < 8; at += 1) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length += 1;
    if (length > best.length) best = { at, length };
  }
  const hex = (part: number[]): string => part.map((g) => g.toString(16)).join(':');
  if (best.at < 0) return hex(groups);
  return `${hex(groups.slice(0, best.at))}::${hex(groups.slice(best.at + best.length))}`;
}

/** Canonical text. */
export function formatIp({ family, value }: Ip): string {
  if (family === 6) return format6(value);
  const n = Number(value);
  return `${n >>> 24}.${(n >>> 16) & 255}.${(n >>> 8) & 255}.${n & 255}`;
}

export function formatCidr({ address, prefix }: Cidr): string {
  return `${formatIp(address)}/${prefix}`;
}

/** Four or sixteen bytes in network order. */
export function ipBytes({ family, value }: Ip): Buffer {
  const bytes = Buffer.alloc(family === 4 ? 4 : 16);
  if (family === 4) bytes.writeUInt32BE(Number(value));
  else {
    bytes.writeBigUInt64BE(value >> 64n, 0);
    bytes.writeBigUInt64BE(value & 0xffff_ffff_ffff_ffffn, 8);
  }
  return bytes;
}

/** The address in four or sixteen bytes; undefined for another length. */
export function ipFromBytes(bytes: Uint8Array): Ip | undefined {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length === 4) return { family: 4, value: BigInt(view.readUInt32BE()) };
  if (view.length !== 16) return undefined;
  return { family: 6, value: (view.readBigUInt64BE(0) << 64n) | view.readBigUInt64BE(8) };
}

export function sameIp(a: Ip, b: Ip): boolean {
  return a.family === b.family && a.value === b.value;
}

function hostBits({ address, prefix }: Cidr): bigint {
  return (1n << BigInt(bitsOf(address.family) - prefix)) - 1n;
}

/** Lowest address of the prefix. */
export function firstIp(cidr: Cidr): Ip {
  return { family: cidr.address.family, value: cidr.address.value & ~hostBits(cidr) };
}

/** Highest address of the prefix; IPv4's broadcast address. */
export function lastIp(cidr: Cidr): Ip {
  return { family: cidr.address.family, value: cidr.address.value | hostBits(cidr) };
}

/** The prefix with its host bits cleared. */
export function networkOf(cidr: Cidr): Cidr {
  return { address: firstIp(cidr), prefix: cidr.prefix };
}

export function contains(cidr: Cidr, ip: Ip): boolean {
  return (
    cidr.address.family === ip.family &&
    ip.value >= firstIp(cidr).value &&
    ip.value <= lastIp(cidr).value
  );
}

/** True when the two share an address. */
export function overlaps(a: Cidr, b: Cidr): boolean {
  return contains(a, firstIp(b)) || contains(b, firstIp(a));
}

/** 127.0.0.0/8 and ::1. */
export function isLoopback({ family, value }: Ip): boolean {
  return family === 4 ? value >> 24n === 127n : value === 1n;
}

/** 0.0.0.0 and ::. */
export function isUnspecified({ value }: Ip): boolean {
  return value === 0n;
}

/** Canonical text of a hardware address (`02:42:ac:11:00:02`); undefined when it is not one. */
export function parseMac(text: string): string | undefined {
  const mac = text.toLowerCase().replaceAll('-', ':');
  return /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) ? mac : undefined;
}

/** Six bytes of a canonical hardware address. */
export function macBytes(mac: string): Buffer {
  return Buffer.from(mac.replaceAll(':', ''), 'hex');
}

export function formatMac(bytes: Uint8Array): string {
  return Array.from(bytes, (b) => b.toString(16).padStart(2, '0')).join(':');
}
