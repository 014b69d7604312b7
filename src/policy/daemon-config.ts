import { invalidArgument } from '../base/errors.ts';
import { LOG_LEVELS, type LogLevel } from '../base/log.ts';
import { DEFAULT_HOST } from '../spec/endpoint.ts';
import type { EngineConfig } from '../spec/engine-config.ts';
import * as check from './daemon-checks.ts';
import type { FlagWords } from './daemon-flags.ts';
import { type ListenAddress, parseListenAddress } from './daemon-listen.ts';
import { DAEMON_OPTIONS } from './daemon-options.ts';
import { type OptionValue, type Values, valueName, valuesOfFlags } from './daemon-values.ts';
import { parseDeltaMode } from './delta-mode.ts';
import { parseStorageOptions } from './storage-options.ts';

/** What the host and the environment say; passed in, so that this stays pure. */
export type DaemonHost = {
  /** Absolute paths of the OCI runtimes that were found. */
  readonly runtimes: { readonly crun?: string; readonly runc?: string };
  /** Folder of the TLS files when no flag names them: `~/.docker` or DOCKER_CERT_PATH. */
  readonly certificates: string;
  readonly env: Readonly<Record<string, string | undefined>>;
};

/** Files of TLS; undefined serves TCP plainly. */
export type TlsConfig = {
  readonly certFile: string;
  readonly keyFile: string;
  readonly caFile: string;
  /** Turn away clients without a certificate signed by `caFile`. */
  readonly verify: boolean;
};

/** All that the daemon needs to start. */
export type DaemonConfig = {
  readonly engine: EngineConfig;
  readonly listen: readonly ListenAddress[];
  readonly tls: TlsConfig | undefined;
  /** Group of unix sockets; '' picks `docker` or `coracle` when there is one. */
  readonly group: string;
  /** '' writes none. */
  readonly pidfile: string;
  readonly logLevel: LogLevel;
  readonly logFormat: 'text' | 'json';
  readonly oomScoreAdjust: number | undefined;
  /** Options that were given and do nothing, one sentence each. */
  readonly ignored: readonly string[];
};

const DEFAULT_SHM_BYTES = 64 << 20;

class Reader {
  readonly #values: Values;

  constructor(values: Values) {
    this.#values = values;
  }

  bool(key: string, otherwise: boolean): boolean {
    return (this.#values[key] as boolean | undefined) ?? otherwise;
  }

  int(key: string, otherwise: number): number {
    return (this.#values[key] as number | undefined) ?? otherwise;
  }

  string(key: string, otherwise = ''): string {
    return (this.#values[key] as string | undefined) ?? otherwise;
  }

  list(key: string): readonly string[] {
    return (this.#values[key] as readonly string[] | undefined) ?? [];
  }

  get<K extends keyof OptionValue>(key: string, otherwise: OptionValue[K]): OptionValue[K] {
    return (this.#values[key] as OptionValue[K] | undefined) ?? otherwise;
  }

  has(key: string): boolean {
    return this.#values[key] !== undefined;
  }
}

/**
 * Puts flags and file together with the defaults.
 * @throws invalidArgument for a value that cannot be, or two that exclude each other
 */
export function resolveDaemonConfig(
  flags: FlagWords,
  fileValues: Values,
  host: DaemonHost,
): DaemonConfig {
  const flagValues = valuesOfFlags(flags);
  const runtimes = { ...asObject(fileValues['runtimes']), ...asObject(flagValues['runtimes']) };
  const values = new Reader({ ...fileValues, ...flagValues, runtimes });
  const tls = tlsOf(values, host);
  const hosts = values.list('hosts').filter((text) => text !== '');
  const listen = (hosts.length === 0 ? [DEFAULT_HOST] : hosts).map((text) =>
    parseListenAddress(text, tls !== undefined),
  );
  const logFormat = values.string('log-format', 'text');
  if (logFormat !== 'text' && logFormat !== 'json') {
    throw invalidArgument(`invalid log format: ${logFormat}. Use "text" or "json"`);
  }
  const engine = engineOf(values, host);
  parseStorageOptions(engine.storageOpts);
  check.engineConfig(engine);
  return {
    engine,
    listen,
    tls,
    group: values.string('group'),
    pidfile: values.string('pidfile', '/run/coracle.pid'),
    logLevel: logLevelOf(values),
    logFormat,
    oomScoreAdjust: values.has('oom-score-adjust') ? values.int('oom-score-adjust', 0) : undefined,
    ignored: ignoredOf(flags, fileValues),
  };
}

function asObject(value: unknown): OptionValue['runtimes'] {
  return (value ?? {}) as OptionValue['runtimes'];
}

function logLevelOf(values: Reader): LogLevel {
  const name = values.string('log-level', 'info').toLowerCase();
  const level = LOG_LEVELS.find((known) => known === (name === 'warning' ? 'warn' : name));
  if (level === undefined) {
    throw invalidArgument(`invalid logging level: ${name}. Use one of ${LOG_LEVELS.join(', ')}`);
  }
  return values.bool('debug', false) ? 'debug' : level;
}

function tlsOf(values: Reader, host: DaemonHost): TlsConfig | undefined {
  const verify = values.bool('tlsverify', (host.env['DOCKER_TLS_VERIFY'] ?? '') !== '');
  if (!values.bool('tls', verify) && !verify) return undefined;
  const file = (key: string, name: string): string =>
    values.string(key, `${host.certificates}/${name}`);
  return {
    caFile: file('tlscacert', 'ca.pem'),
    certFile: file('tlscert', 'cert.pem'),
    keyFile: file('tlskey', 'key.pem'),
    verify,
  };
}

function ignoredOf(flags: FlagWords, file: Values): string[] {
  return DAEMON_OPTIONS.flatMap((option) => {
    if (option.ignored === undefined) return [];
    if (flags.has(option)) return [`--${option.flag} does nothing: ${option.ignored}`];
    if (file[valueName(option)] === undefined) return [];
    return [`"${option.key}" does nothing: ${option.ignored}`];
  });
}

function engineOf(values: Reader, host: DaemonHost): EngineConfig {
  return {
    dataRoot: values.string('data-root', '/var/lib/coracle'),
    execRoot: values.string('exec-root', '/run/coracle'),
    debug: values.bool('debug', false),
    labels: values.list('labels'),
    ...imagePart(values, host),
    ...containerPart(values, host),
    ...networkPart(values),
  };
}

function imagePart(values: Reader, host: DaemonHost) {
  const proxies = values.get<'json'>('proxies', {});
  const inFile = check.proxies(proxies);
  const proxy = (name: 'http-proxy' | 'https-proxy' | 'no-proxy'): string => {
    const variable = name.replace('-', '_');
    // As in Go: one that is empty says nothing.
    const inEnvironment = [variable.toUpperCase(), variable].map((each) => host.env[each]);
    return values.string(name, inFile[name] ?? inEnvironment.find(Boolean) ?? '');
  };
  return {
    insecureRegistries: values.list('insecure-registries'),
    registryMirrors: values.list('registry-mirrors').map((url) => check.mirror(url)),
    maxConcurrentDownloads: values.int('max-concurrent-downloads', 3) || 3,
    maxConcurrentUploads: values.int('max-concurrent-uploads', 5) || 5,
    maxDownloadAttempts: values.int('max-download-attempts', 5) || 5,
    maxDownloadRate: values.int('max-download-rate', 0),
    delta: parseDeltaMode(values.string('delta', 'auto')),
    storageDriver: check.storageDriver(values.string('storage-driver')),
    storageOpts: values.list('storage-opts'),
    deltaDataRoot: values.string('delta-data-root'),
    httpProxy: proxy('http-proxy'),
    httpsProxy: proxy('https-proxy'),
    noProxy: proxy('no-proxy'),
  };
}

function containerPart(values: Reader, host: DaemonHost) {
  const { crun, runc } = host.runtimes;
  return {
    defaultRuntime: values.string('default-runtime') || (crun === undefined ? 'runc' : 'crun'),
    runtimes: {
      ...check.customRuntimes(values.get<'runtimes'>('runtimes', {})),
      crun: { path: crun ?? 'crun', args: [] },
      runc: { path: runc ?? 'runc', args: [] },
    },
    init: values.bool('init', false),
    initPath: values.string('init-path'),
    liveRestore: values.bool('live-restore', false),
    shutdownTimeoutSec: values.int('shutdown-timeout', 15),
    logConfig: {
      Type: values.string('log-driver', 'json-file'),
      Config: { ...values.get<'map'>('log-opts', {}) },
    },
    cgroupParent: values.string('cgroup-parent'),
    cgroupDriver: check.cgroupDriver(values.list('exec-opts')),
    defaultCgroupnsMode: check.cgroupnsMode(values.string('default-cgroupns-mode')),
    defaultIpcMode: check.ipcMode(values.string('default-ipc-mode', 'private')),
    defaultShmSizeBytes: values.int('default-shm-size', DEFAULT_SHM_BYTES) || DEFAULT_SHM_BYTES,
    defaultUlimits: values.get<'ulimits'>('default-ulimits', {}),
    noNewPrivileges: values.bool('no-new-privileges', false),
    seccompProfile: values.string('seccomp-profile') || 'builtin',
    usernsRemap: values.string('userns-remap'),
  };
}

function networkPart(values: Reader) {
  const iptables = values.bool('iptables', true);
  const gateways = [
    ...values.list('host-gateway-ip'),
    ...check.stringList('host-gateway-ips', values.get<'json'>('host-gateway-ips', [])),
  ];
  return {
    bridge: values.string('bridge') || 'coracle0',
    bip: values.string('bip'),
    fixedCidr: values.string('fixed-cidr'),
    fixedCidrV6: values.string('fixed-cidr-v6'),
    defaultGateway: values.string('default-gateway'),
    ipv6: values.bool('ipv6', false),
    mtu: values.int('mtu', 0),
    iptables,
    ip6tables: values.bool('ip6tables', true),
    ipForward: values.bool('ip-forward', true),
    ipMasq: values.bool('ip-masq', true) && iptables,
    icc: values.bool('icc', true),
    userlandProxy: values.bool('userland-proxy', true),
    defaultBindIp: values.string('ip', '0.0.0.0'),
    defaultAddressPools: values.get<'pools'>('default-address-pools', []),
    dns: values.list('dns'),
    dnsOptions: values.list('dns-opts'),
    dnsSearch: values.list('dns-search').filter((domain) => domain !== '.'),
    hostGatewayIp: gateways.join(','),
  };
}
