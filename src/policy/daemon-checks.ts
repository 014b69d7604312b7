import { invalidArgument, messageOf } from '../base/errors.ts';
import type { EngineConfig } from '../spec/engine-config.ts';
import type { OptionValue } from './daemon-values.ts';
import { planLog } from './log-options.ts';

/** Checks of single options and of options together; each throws invalidArgument with one sentence. */

/** Names that users may not give to a runtime of their own. */
const RESERVED_RUNTIMES = ['runc', 'crun', 'bare'];

export function customRuntimes(runtimes: OptionValue['runtimes']): OptionValue['runtimes'] {
  for (const name of Object.keys(runtimes)) {
    if (RESERVED_RUNTIMES.includes(name)) {
      throw invalidArgument(`runtime name '${name}' is reserved`);
    }
  }
  return runtimes;
}

export function storageDriver(name: string): EngineConfig['storageDriver'] {
  if (name === '' || name === 'overlay2' || name === 'vfs') return name;
  throw invalidArgument(`driver not supported: ${name}. Use overlay2 or vfs`);
}

export function cgroupDriver(execOpts: readonly string[]): EngineConfig['cgroupDriver'] {
  let driver: EngineConfig['cgroupDriver'] = '';
  for (const word of execOpts) {
    const [name, value] = word.split('=', 2);
    if (name?.trim().toLowerCase() !== 'native.cgroupdriver') {
      throw invalidArgument(`invalid option: "${word}". Use native.cgroupdriver=cgroupfs|systemd`);
    }
    if (value !== 'cgroupfs' && value !== 'systemd') {
      throw invalidArgument(`invalid native.cgroupdriver: ${value ?? ''}. Use cgroupfs or systemd`);
    }
    driver = value;
  }
  return driver;
}

export function cgroupnsMode(mode: string): EngineConfig['defaultCgroupnsMode'] {
  if (mode === '' || mode === 'host' || mode === 'private') return mode;
  throw invalidArgument(
    `invalid default cgroup namespace (${mode}). Use one of "host" or "private"`,
  );
}

export function ipcMode(mode: string): EngineConfig['defaultIpcMode'] {
  if (mode === 'private' || mode === 'shareable') return mode;
  throw invalidArgument(`IPC mode "${mode}" is not supported. Use "private" or "shareable"`);
}

/** A mirror's URL without a slash at its end. */
export function mirror(text: string): string {
  const bare = text.trim().replace(/\/$/, '');
  const url = URL.canParse(bare) ? new URL(bare) : undefined;
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw invalidArgument(
      `invalid mirror: unsupported scheme in "${text}". Use http:// or https://`,
    );
  }
  if (url.search !== '' || url.hash !== '' || (url.pathname !== '/' && url.pathname !== '')) {
    throw invalidArgument(`invalid mirror: path, query, or fragment at end of the URI "${text}"`);
  }
  if (url.username !== '' || url.password !== '') {
    throw invalidArgument(`invalid mirror: username/password not allowed in URI "${url.host}"`);
  }
  return bare;
}

type Proxies = Readonly<Partial<Record<'http-proxy' | 'https-proxy' | 'no-proxy', string>>>;

/** The file's `proxies` object. */
export function proxies(value: unknown): Proxies {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidArgument('proxies: an object with http-proxy, https-proxy and no-proxy is needed');
  }
  for (const [key, field] of Object.entries(value)) {
    if (!['http-proxy', 'https-proxy', 'no-proxy'].includes(key) || typeof field !== 'string') {
      throw invalidArgument(`proxies: "${key}" must be one of http-proxy, https-proxy, no-proxy`);
    }
  }
  return value;
}

export function stringList(key: string, value: unknown): readonly string[] {
  if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
  throw invalidArgument(`${key}: a list of strings is needed`);
}

function isIpv4(text: string): boolean {
  return /^(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)(?:\.(?!$)|$)){4}$/.test(text);
}

function isIp(text: string): boolean {
  return isIpv4(text) || (text.includes(':') && URL.canParse(`http://[${text}]/`));
}

function isCidr(text: string): boolean {
  const [address = '', bits = ''] = text.split('/', 2);
  const max = isIpv4(address) ? 32 : 128;
  return isIp(address) && /^\d{1,3}$/.test(bits) && Number(bits) <= max;
}

function ips(what: string, texts: readonly string[]): void {
  for (const text of texts) {
    if (!isIp(text)) throw invalidArgument(`${what}: ${text} is not an ip address`);
  }
}

function cidrs(what: string, texts: readonly string[]): void {
  for (const text of texts) {
    if (text !== '' && !isCidr(text)) {
      throw invalidArgument(`${what}: invalid CIDR address: ${text}`);
    }
  }
}

/** What values must be on their own and among themselves. */
export function engineConfig(config: EngineConfig): void {
  for (const [name, path] of [
    ['data-root', config.dataRoot],
    ['exec-root', config.execRoot],
    ['delta-data-root', config.deltaDataRoot || '/'],
  ] as const) {
    if (!path.startsWith('/')) throw invalidArgument(`${name}: ${path} must be an absolute path`);
  }
  if (config.dataRoot === config.execRoot) {
    throw invalidArgument('data-root and exec-root must be two folders');
  }
  counts(config);
  labels(config.labels);
  logs(config.logConfig);
  if (!Object.hasOwn(config.runtimes, config.defaultRuntime)) {
    throw invalidArgument(
      `specified default runtime '${config.defaultRuntime}' does not exist. Name it with --add-runtime`,
    );
  }
  network(config);
}

function counts(config: EngineConfig): void {
  const counted = {
    'max concurrent downloads': config.maxConcurrentDownloads,
    'max concurrent uploads': config.maxConcurrentUploads,
    'max download attempts': config.maxDownloadAttempts,
    'default shm size': config.defaultShmSizeBytes,
  };
  for (const [name, value] of Object.entries(counted)) {
    if (value < 1) throw invalidArgument(`invalid ${name}: ${value}`);
  }
  if (config.maxDownloadRate < 0) {
    throw invalidArgument(`invalid max download rate: ${config.maxDownloadRate}`);
  }
  if (config.shutdownTimeoutSec < -1) {
    throw invalidArgument(`invalid shutdown timeout: ${config.shutdownTimeoutSec}`);
  }
  if (config.mtu !== 0 && (config.mtu < 68 || config.mtu > 65_535)) {
    throw invalidArgument(`invalid default MTU: ${config.mtu}`);
  }
}

function labels(words: readonly string[]): void {
  const seen = new Map<string, string>();
  for (const word of words) {
    const [key, ...rest] = word.split('=');
    if (key === undefined || key === '' || rest.length === 0) {
      throw invalidArgument(`bad attribute format: ${word}`);
    }
    const value = rest.join('=');
    const before = seen.get(key);
    if (before !== undefined && before !== value) {
      throw invalidArgument(`conflict labels for ${key}=${before} and ${key}=${value}`);
    }
    seen.set(key, value);
  }
}

function logs(config: EngineConfig['logConfig']): void {
  try {
    planLog(config);
  } catch (cause) {
    throw invalidArgument(`failed to set log opts: ${messageOf(cause)}`, { cause });
  }
}

function network(config: EngineConfig): void {
  if (!/^[A-Za-z0-9_.-]{1,15}$/.test(config.bridge)) {
    throw invalidArgument(`invalid bridge name: ${config.bridge}. Use up to 15 letters and digits`);
  }
  ips('dns', config.dns);
  ips('ip', [config.defaultBindIp]);
  if (config.defaultGateway !== '') ips('default-gateway', [config.defaultGateway]);
  if (config.hostGatewayIp !== '') ips('host-gateway-ip', config.hostGatewayIp.split(','));
  cidrs('bip', [config.bip]);
  cidrs('fixed-cidr', [config.fixedCidr]);
  cidrs('fixed-cidr-v6', [config.fixedCidrV6]);
  for (const { base, size } of config.defaultAddressPools) {
    cidrs('default-address-pools', [base]);
    const bits = Number(base.split('/')[1]);
    if (size < bits || size > (base.includes(':') ? 128 : 32)) {
      throw invalidArgument(`default-address-pools: invalid size ${size} of ${base}`);
    }
  }
  for (const domain of config.dnsSearch) {
    if (!/^(?=.{1,255}$)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?$/.test(domain)) {
      throw invalidArgument(`dns-search: ${domain} is not a valid domain`);
    }
  }
  if (!config.icc && !config.iptables) {
    throw invalidArgument(
      'You specified --iptables=false with --icc=false. ICC=false uses iptables to function. Please set --icc or --iptables to true',
    );
  }
}
