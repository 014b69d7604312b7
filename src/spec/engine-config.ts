import type { LogConfig } from './docker/container.ts';

/**
 * What the daemon was told by its flags and `daemon.json`, after defaults. Read-only; the fields
 * that SIGHUP may change are read through `Engine.config()` each time they are needed.
 */
export type EngineConfig = {
  /** Absolute. */
  readonly dataRoot: string;
  /** Absolute; a tmpfs. */
  readonly execRoot: string;
  readonly debug: boolean;
  readonly labels: readonly string[];

  // --- images ---
  /** `host[:port]` or CIDR. 127.0.0.0/8 and ::1 are always in. */
  readonly insecureRegistries: readonly string[];
  /** URLs, tried in order before docker.io. */
  readonly registryMirrors: readonly string[];
  readonly maxConcurrentDownloads: number;
  readonly maxConcurrentUploads: number;
  readonly maxDownloadAttempts: number;
  /** Bytes in a second of one pull; 0 for no limit. */
  readonly maxDownloadRate: number;
  /** Whether pulls use deltas that they find beside an image. */
  readonly delta: 'auto' | 'never' | 'require';
  readonly storageDriver: 'overlay2' | 'vfs' | '';
  readonly storageOpts: readonly string[];
  /** Absolute: another data root, where bases of deltas are looked for too; ''. */
  readonly deltaDataRoot: string;
  readonly httpProxy: string;
  readonly httpsProxy: string;
  readonly noProxy: string;

  // --- containers ---
  readonly defaultRuntime: string;
  /** Name to path and arguments; crun, runc and bare are always there. */
  readonly runtimes: Readonly<
    Record<string, { readonly path: string; readonly args: readonly string[] }>
  >;
  readonly init: boolean;
  readonly initPath: string;
  readonly liveRestore: boolean;
  /** Seconds to wait for containers at shutdown. */
  readonly shutdownTimeoutSec: number;
  readonly logConfig: LogConfig;
  readonly cgroupParent: string;
  /** '' picks by the host. */
  readonly cgroupDriver: 'cgroupfs' | 'systemd' | '';
  readonly defaultCgroupnsMode: 'host' | 'private' | '';
  readonly defaultIpcMode: 'private' | 'shareable';
  readonly defaultShmSizeBytes: number;
  /** By name (`nofile`). */
  readonly defaultUlimits: Readonly<
    Record<string, { readonly Soft: number; readonly Hard: number }>
  >;
  readonly noNewPrivileges: boolean;
  /** Path of a profile, `builtin` or `unconfined`. */
  readonly seccompProfile: string;
  readonly usernsRemap: string;

  // --- networks ---
  /** Name of the default bridge; `none` turns it off. */
  readonly bridge: string;
  /** CIDR of the bridge's own address; '' picks a free one. */
  readonly bip: string;
  readonly fixedCidr: string;
  readonly fixedCidrV6: string;
  readonly defaultGateway: string;
  readonly ipv6: boolean;
  /** Bytes; 0 is the default route's. */
  readonly mtu: number;
  /** False: hands off nftables. */
  readonly iptables: boolean;
  readonly ip6tables: boolean;
  readonly ipForward: boolean;
  readonly ipMasq: boolean;
  readonly icc: boolean;
  readonly userlandProxy: boolean;
  /** Address that ports are published on by default. */
  readonly defaultBindIp: string;
  readonly defaultAddressPools: readonly { readonly base: string; readonly size: number }[];
  readonly dns: readonly string[];
  readonly dnsOptions: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly hostGatewayIp: string;
};
