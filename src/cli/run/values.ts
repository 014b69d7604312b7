import { isIP } from 'node:net';
import path from 'node:path';
import { parseSizeBinary } from '../../base/bytes.ts';
import { ULIMIT_NAMES } from '../../policy/ulimits.ts';
import { parseInteger, splitPair } from '../flags.ts';

/**
 * Values of single flags of `create` and `run`. Each takes what was given and gives what the API
 * wants, or throws an Error with the cause that Docker's client names.
 */

/** `--add-host name:ip` or `name=ip`; the API has `name:ip`. */
export function checkAddHost(value: string): string {
  const at = value.includes('=') ? value.indexOf('=') : value.indexOf(':');
  const name = value.slice(0, at);
  if (at < 1) throw new Error(`bad format for add-host: ${JSON.stringify(value)}`);
  const address = value.slice(at + 1);
  const bare = address.replace(/^\[(.*)\]$/, '$1');
  if (address !== 'host-gateway' && isIP(bare) === 0) {
    throw new Error(`invalid IP address in add-host: ${JSON.stringify(address)}`);
  }
  return `${name}:${bare}`;
}

export function checkIpAddress(value: string): string {
  const address = value.trim();
  if (isIP(address) === 0) throw new Error(`IP address is not correctly formatted: ${value}`);
  return address;
}

export function checkDnsSearch(value: string): string {
  const domain = value.trim();
  if (domain === '.') return domain;
  const valid =
    domain.length <= 255 &&
    /[a-zA-Z]/.test(domain) &&
    /^(?:[a-zA-Z0-9_](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)(?:\.[a-zA-Z0-9_](?:[a-zA-Z0-9_-]{0,61}[a-zA-Z0-9_])?)*\.?$/.test(
      domain,
    );
  if (!valid) throw new Error(`${domain} is not a valid domain`);
  return domain;
}

/** `-e NAME` and `-e NAME=value`. What NAME alone means is settled later, with the environment. */
export function checkEnv(value: string): string {
  if (value.startsWith('=') || value === '') {
    throw new Error(`invalid environment variable: ${value}`);
  }
  return value;
}

export function checkLabel(value: string): string {
  if (value.startsWith('=') || value === '')
    throw new Error(`invalid label '${value}': empty name`);
  return value;
}

export function checkSysctl(value: string): void {
  const [key, setting] = splitPair(value);
  if (!value.includes('=') || setting === '') throw new Error(`sysctl '${value}' is not allowed`);
  const allowed =
    /^(?:kernel\.(?:msgmax|msgmnb|msgmni|sem|shmall|shmmax|shmmni|shm_rmid_forced)|net\..+|fs\.mqueue\..+)$/;
  if (!allowed.test(key)) throw new Error(`sysctl '${value}' is not allowed`);
}

export function checkLink(value: string): string {
  const [container, alias, ...rest] = value.split(':');
  if (value === '') throw new Error('empty string specified for links');
  if (rest.length > 0) throw new Error(`bad format for links: ${value}`);
  const name = container ?? '';
  // Names as daemons inspect them start with a slash.
  if (alias?.startsWith('/') === true && name.startsWith('/')) {
    return `${name}:${path.posix.basename(alias)}`;
  }
  return value;
}

const DEVICE_RULE = /^[acb] (?:\d+|\*):(?:\d+|\*) [rwm]{1,3}$/;

export function checkDeviceCgroupRule(value: string): string {
  if (!DEVICE_RULE.test(value)) throw new Error(`invalid device cgroup format '${value}'`);
  return value;
}

type PathValue = readonly [device: string, value: string];

/** `/dev/x:value`. */
function devicePair(value: string): PathValue {
  const [device, rest] = [value.split(':', 1)[0] ?? '', value.split(':').slice(1).join(':')];
  if (!value.includes(':')) throw new Error(`bad format: ${value}`);
  if (!device.startsWith('/dev/')) throw new Error(`bad format for device path: ${value}`);
  return [device, rest];
}

export type WeightDevice = { readonly Path: string; readonly Weight: number };

export function checkBlkioWeightDevice(value: string): WeightDevice {
  const [device, text] = devicePair(value);
  const weight = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (Number.isNaN(weight) || (weight > 0 && (weight < 10 || weight > 1000))) {
    throw new Error(`invalid weight for device: ${value}`);
  }
  return { Path: device, Weight: weight };
}

export type ThrottleDevice = { readonly Path: string; readonly Rate: number };

export function parseThrottle(value: string, unit: 'bytes' | 'count'): ThrottleDevice {
  const [device, text] = devicePair(value);
  const rate =
    unit === 'bytes' ? parseSizeBinary(text) : /^\d+$/.test(text) ? Number(text) : undefined;
  if (rate === undefined) {
    const form =
      unit === 'bytes'
        ? '<number>[<unit>]. Number must be a positive integer. Unit is optional and can be kb, mb, or gb'
        : '<number>. Number must be a positive integer';
    throw new Error(
      `invalid rate for device: ${value}. The correct format is <device-path>:${form}`,
    );
  }
  return { Path: device, Rate: rate };
}

export type UlimitValue = { readonly Name: string; readonly Soft: number; readonly Hard: number };

/** `nofile=1024:2048`; -1 is unlimited. */
export function parseUlimit(value: string): UlimitValue {
  const [name, limits] = splitPair(value);
  if (!value.includes('=')) throw new Error(`invalid ulimit argument: ${value}`);
  if (!ULIMIT_NAMES.has(name)) throw new Error(`invalid ulimit type: ${name}`);
  const [softText = '', hardText, ...rest] = limits.split(':');
  if (rest.length > 0) {
    throw new Error(
      `too many limit value arguments - ${limits}, can only have up to two, \`soft[:hard]\``,
    );
  }
  const soft = parseInteger(softText);
  const hard = hardText === undefined ? soft : parseInteger(hardText);
  const unlimited = hard === -1;
  if (!unlimited && (soft === -1 || soft > hard)) {
    const shown = soft === -1 ? `soft: -1 (unlimited), hard: ${hard}` : `${soft} > ${hard}`;
    throw new Error(`ulimit soft limit must be less than or equal to hard limit: ${shown}`);
  }
  return { Name: name, Soft: soft, Hard: hard };
}

/** Billionths of a CPU; `0.5`, `1/2`, `1e-1`. */
export function parseNanoCpus(value: string): number {
  const m = /^([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?)(?:\/(\d+))?$/.exec(value);
  const divisor = m?.[2] === undefined ? 1 : Number(m[2]);
  if (m === null || divisor === 0) {
    throw new Error(`failed to parse ${value} as a rational number`);
  }
  const nano = (Number(m[1]) / divisor) * 1e9;
  const rounded = Math.round(nano);
  // Nine decimals are what fits; a double holds them exactly enough to tell.
  if (Math.abs(nano - rounded) > 1e-4) throw new Error('value is too precise');
  return rounded;
}
