/**
 * The daemon's options as one table: dockerd's flags (20.10 to 28) with their keys in
 * `daemon.json`. A new option is a line here and its use in daemon-config.ts.
 */

/** How an option's value is written and stored. */
export type OptionKind =
  | 'bool'
  | 'int'
  | 'string'
  /** May be given many times; a list of strings in the file. */
  | 'list'
  /** `key=value`, many times; an object of strings in the file. */
  | 'map'
  /** `64m`; a string or a number in the file. */
  | 'bytes'
  /** `name=path`; an object of `{ path, runtimeArgs }` in the file. */
  | 'runtimes'
  /** `nofile=1024:2048`; an object of `{ Name, Soft, Hard }` in the file. */
  | 'ulimits'
  /** `base=10.0.0.0/8,size=24`; a list of `{ base, size }` in the file. */
  | 'pools'
  /** Any JSON; has no flag. */
  | 'json';

export type DaemonOption = {
  /** Long name; undefined for what only the file can say. */
  readonly flag: string | undefined;
  readonly short?: string;
  /** Key in the file; undefined for what only a flag can say. */
  readonly key: string | undefined;
  readonly kind: OptionKind;
  /** What `--help` says; undefined hides it. */
  readonly help: string | undefined;
  /** Accepted for the sake of compatibility; this says why it does nothing here. */
  readonly ignored?: string;
};

const CONTAINERD = 'there is no containerd here';
const SWARM = 'there is no Swarm mode here';
const SAME_LAYERS = 'all storage drivers keep layers in the same way';
const PLUGINS = 'there are no plugins here';

type More = Omit<Partial<DaemonOption>, 'flag' | 'kind' | 'help'>;

function option(flag: string, kind: OptionKind, help: string | undefined, more?: More) {
  return { flag, key: flag, kind, help, ...more };
}

function fileOnly(key: string, ignored?: string): DaemonOption {
  const base = { flag: undefined, key, kind: 'json', help: undefined } as const;
  return ignored === undefined ? base : { ...base, ignored };
}

/** All options, in the order of `--help`. */
export const DAEMON_OPTIONS: readonly DaemonOption[] = [
  option('add-runtime', 'runtimes', 'Register an additional OCI runtime (name=path)', {
    key: 'runtimes',
  }),
  option('bip', 'string', 'Address of the default bridge in CIDR notation'),
  option(
    'bridge',
    'string',
    'Name of the default bridge, made when missing; "none" for no bridge',
    {
      short: 'b',
    },
  ),
  option('cgroup-parent', 'string', 'Parent control group of all containers'),
  option('config-file', 'string', 'Configuration file (default "/etc/coracle/daemon.json")', {
    key: undefined,
  }),
  option('data-root', 'string', 'Folder of persistent state (default "/var/lib/coracle")'),
  option('debug', 'bool', 'Enable debug mode', { short: 'D' }),
  option('default-address-pool', 'pools', 'Pools for networks (base=CIDR,size=BITS)', {
    key: 'default-address-pools',
  }),
  option('default-cgroupns-mode', 'string', 'Control group namespace ("host" | "private")'),
  option('default-gateway', 'string', 'Gateway of containers on the default bridge, IPv4'),
  option('default-ipc-mode', 'string', 'IPC namespace ("shareable" | "private")'),
  option('default-runtime', 'string', 'Runtime of containers (default: crun, else runc)'),
  option('default-shm-size', 'bytes', 'Size of /dev/shm (default 64MiB)'),
  option('default-ulimit', 'ulimits', 'Limits of containers (name=soft[:hard])', {
    key: 'default-ulimits',
  }),
  option('delta-data-root', 'string', 'Another data root to look for the bases of deltas in'),
  option('delta', 'string', 'Use of deltas by pulls ("auto" | "never" | "require")'),
  option('dns', 'list', 'DNS server of containers'),
  option('dns-opt', 'list', 'DNS options of containers', { key: 'dns-opts' }),
  option('dns-search', 'list', 'DNS search domains of containers'),
  option('exec-opt', 'list', 'Runtime options (native.cgroupdriver=cgroupfs|systemd)', {
    key: 'exec-opts',
  }),
  option('exec-root', 'string', 'Folder of state until reboot (default "/run/coracle")'),
  option('fixed-cidr', 'string', 'IPv4 range of containers on the default bridge'),
  option('fixed-cidr-v6', 'string', 'IPv6 range of containers on the default bridge'),
  option('group', 'string', 'Group of the unix socket (default: docker or coracle)', {
    short: 'G',
  }),
  option('host', 'list', 'Socket to listen on: unix://, tcp:// or fd://', {
    short: 'H',
    key: 'hosts',
  }),
  option('host-gateway-ip', 'list', 'Address that "host-gateway" of --add-host resolves to'),
  option('http-proxy', 'string', 'Proxy for HTTP requests of the daemon'),
  option('https-proxy', 'string', 'Proxy for HTTPS requests of the daemon'),
  option('icc', 'bool', 'Let containers of the default bridge talk (default true)'),
  option('init', 'bool', 'Run an init in containers that forwards signals and reaps'),
  option('init-path', 'string', 'Path of that init (default: the built-in one)'),
  option('insecure-registry', 'list', 'Registry without TLS or with any certificate', {
    key: 'insecure-registries',
  }),
  option('ip', 'string', 'Address that ports are published on (default 0.0.0.0)'),
  option('ip-forward', 'bool', 'Enable forwarding on the host (default true)'),
  option('ip-masq', 'bool', 'Masquerade what leaves the bridge (default true)'),
  option('ip6tables', 'bool', 'Make packet filter rules for IPv6 (default true)'),
  option('iptables', 'bool', 'Make packet filter rules (default true)'),
  option('ipv6', 'bool', 'Enable IPv6 on the default bridge'),
  option('label', 'list', 'Set key=value labels of the daemon', { key: 'labels' }),
  option('live-restore', 'bool', 'Keep containers running when the daemon stops'),
  option('log-driver', 'string', 'Log driver of containers (default "json-file")'),
  option('log-format', 'string', 'Format of the daemon log ("text" | "json")'),
  option('log-level', 'string', 'Level ("debug"|"info"|"warn"|"error"|"fatal")', { short: 'l' }),
  option('log-opt', 'map', 'Options of the log driver (key=value)', { key: 'log-opts' }),
  option('max-concurrent-downloads', 'int', 'Layers that one pull loads at once (default 3)'),
  option('max-concurrent-uploads', 'int', 'Layers that one push sends at once (default 5)'),
  option('max-download-attempts', 'int', 'Attempts for each layer of a pull (default 5)'),
  option('max-download-rate', 'bytes', 'Bytes in a second that one pull takes (default no limit)'),
  option('mtu', 'int', 'MTU of container networks (default: of the default route)'),
  option('no-new-privileges', 'bool', 'Set no-new-privileges for new containers'),
  option('no-proxy', 'string', 'Hosts that are reached without the proxy, by commas'),
  option('oom-score-adjust', 'int', 'oom_score_adj of the daemon'),
  option('pidfile', 'string', 'Path of the PID file (default "/run/coracle.pid")', { short: 'p' }),
  option('registry-mirror', 'list', 'Mirror of Docker Hub', { key: 'registry-mirrors' }),
  option('seccomp-profile', 'string', 'Path of a profile, "builtin" or "unconfined"'),
  option('shutdown-timeout', 'int', 'Seconds for containers to stop at shutdown (default 15)'),
  option('storage-driver', 'string', 'Storage driver ("overlay2" | "vfs")', { short: 's' }),
  option('storage-opt', 'list', 'Storage driver options', { key: 'storage-opts' }),
  option('tls', 'bool', 'Use TLS; implied by --tlsverify'),
  option('tlscacert', 'string', 'Certificates that clients must be signed by'),
  option('tlscert', 'string', 'Certificate of the daemon'),
  option('tlskey', 'string', 'Key of the daemon'),
  option('tlsverify', 'bool', 'Use TLS and verify clients'),
  option('userland-proxy', 'bool', 'Accepted; ports need no proxy process here'),
  option('userns-remap', 'string', 'User or user:group for user namespaces'),
  option('validate', 'bool', 'Check the configuration and exit', { key: undefined }),
  option('version', 'bool', 'Print version information and quit', { short: 'v', key: undefined }),
  option('help', 'bool', 'Print usage', { key: undefined }),

  // --- accepted, and of no use here -------------------------------------------------------------
  option('containerd', 'string', undefined, { ignored: CONTAINERD }),
  option('containerd-namespace', 'string', undefined, { ignored: CONTAINERD }),
  option('containerd-plugins-namespace', 'string', undefined, {
    key: 'containerd-plugin-namespace',
    ignored: CONTAINERD,
  }),
  option('cri-containerd', 'bool', undefined, { ignored: CONTAINERD }),
  option('node-generic-resource', 'list', undefined, {
    key: 'node-generic-resources',
    ignored: SWARM,
  }),
  option('swarm-default-advertise-addr', 'string', undefined, { ignored: SWARM }),
  option('network-control-plane-mtu', 'int', undefined, { ignored: SWARM }),
  option('cluster-advertise', 'string', undefined, { ignored: SWARM }),
  option('cluster-store', 'string', undefined, { ignored: SWARM }),
  option('cluster-store-opt', 'map', undefined, { key: 'cluster-store-opts', ignored: SWARM }),
  option('authorization-plugin', 'list', undefined, {
    key: 'authorization-plugins',
    ignored: PLUGINS,
  }),
  option('allow-nondistributable-artifacts', 'list', undefined, {
    ignored: 'every layer may be pushed',
  }),
  option('allow-direct-routing', 'bool', undefined, { ignored: 'it is always allowed' }),
  option('api-cors-header', 'string', undefined, { ignored: 'Docker has removed it' }),
  option('bip6', 'string', undefined, { ignored: 'use --fixed-cidr-v6' }),
  option('bridge-accept-fwmark', 'string', undefined, { ignored: 'marks are not looked at' }),
  option('cdi-spec-dir', 'list', undefined, { key: 'cdi-spec-dirs', ignored: 'CDI is not used' }),
  option('cpu-rt-period', 'int', undefined, { ignored: 'set it on the parent control group' }),
  option('cpu-rt-runtime', 'int', undefined, { ignored: 'set it on the parent control group' }),
  option('default-gateway-v6', 'string', undefined, { ignored: 'the bridge itself is used' }),
  option('default-network-opt', 'map', undefined, {
    key: 'default-network-opts',
    ignored: 'give options to each network',
  }),
  option('delta-storage-driver', 'string', undefined, { ignored: SAME_LAYERS }),
  option('delta-storage-opt', 'list', undefined, {
    key: 'delta-storage-opts',
    ignored: SAME_LAYERS,
  }),
  option('disable-legacy-registry', 'bool', undefined, { ignored: 'it is always disabled' }),
  option('experimental', 'bool', undefined, { ignored: 'there is nothing experimental' }),
  option('feature', 'map', undefined, { key: 'features', ignored: 'features are always on' }),
  option('firewall-backend', 'string', undefined, { ignored: 'nftables is always used' }),
  option('ip-forward-no-drop', 'bool', undefined, { ignored: 'the policy of FORWARD stays' }),
  option('metrics-addr', 'string', undefined, { ignored: 'there is no metrics endpoint' }),
  option('raw-logs', 'bool', undefined, { ignored: 'the log has no colours' }),
  option('rootless', 'bool', undefined, { ignored: 'the daemon needs root' }),
  option('selinux-enabled', 'bool', undefined, { ignored: 'labels are not set' }),
  option('userland-proxy-path', 'string', undefined, { ignored: 'there is no proxy process' }),
  fileOnly('proxies'),
  fileOnly('host-gateway-ips'),
  fileOnly('builder', 'the builder keeps its own bounds'),
  fileOnly('deprecated-key-path', 'there is no such key'),
  fileOnly('min-api-version', 'v1.24 and later are served'),
  fileOnly('network-diagnostic-port', SWARM),
];
