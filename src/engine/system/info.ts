import os from 'node:os';
import path from 'node:path';
import { formatTimeNs } from '../../base/clock.ts';
import { VERSION } from '../../base/version.ts';
import type { SystemInfo } from '../../spec/docker/system.ts';
import { atLeast, type Call } from '../call.ts';
import { cgroupDriver } from '../containers/host-config-facts.ts';
import type { Engine } from '../engine.ts';
import {
  engineId,
  isSysctlOn,
  openDescriptors,
  operatingSystem,
  securityOptions,
  storageInfo,
} from './host-info.ts';
import { registryInfo } from './registry-info.ts';
import { defaultRuntime, runtimeVersion } from './runtime-version.ts';

const SWARM = {
  NodeID: '',
  NodeAddr: '',
  LocalNodeState: 'inactive',
  ControlAvailable: false,
  Error: '',
  RemoteManagers: null,
} as const;

/** Everything that `docker info` shows, from the host and the daemon as they are now. */
export async function systemInfo(engine: Engine, _args: unknown, call: Call): Promise<SystemInfo> {
  const config = engine.config();
  return {
    ID: engineId(engine),
    ...containerCounts(engine),
    Images: engine.store.images.count(),
    ...storageInfo(engine),
    Plugins: {
      Volume: ['local'],
      Network: ['bridge', 'host', 'ipvlan', 'macvlan', 'null'],
      Authorization: null,
      Log: ['journald', 'json-file', 'local', 'none', 'syslog'],
    },
    ...cgroupInfo(engine),
    IPv4Forwarding: isSysctlOn('net/ipv4/ip_forward'),
    ...(atLeast(call, 1, 50)
      ? {}
      : {
          BridgeNfIptables: isSysctlOn('net/bridge/bridge-nf-call-iptables'),
          BridgeNfIp6tables: isSysctlOn('net/bridge/bridge-nf-call-ip6tables'),
        }),
    Debug: config.debug,
    NFd: openDescriptors(),
    NGoroutines: 1,
    SystemTime: formatTimeNs(engine.clock.nowNs()),
    LoggingDriver: config.logConfig.Type,
    NEventsListener: engine.events.listenerCount,
    ...machineInfo(),
    ...registryInfo(config, call),
    GenericResources: null,
    DockerRootDir: engine.dataRoot.root,
    HttpProxy: withoutPassword(config.httpProxy),
    HttpsProxy: withoutPassword(config.httpsProxy),
    NoProxy: config.noProxy,
    Labels: config.labels,
    ExperimentalBuild: false,
    ServerVersion: VERSION,
    ...(await runtimeInfo(engine)),
    Swarm: SWARM,
    LiveRestoreEnabled: config.liveRestore,
    Isolation: '',
    InitBinary: path.basename(config.initPath) || 'docker-init',
    SecurityOptions: securityOptions(engine),
    ...(config.defaultAddressPools.length === 0
      ? {}
      : {
          DefaultAddressPools: config.defaultAddressPools.map(({ base, size }) => ({
            Base: base,
            Size: size,
          })),
        }),
    ...(atLeast(call, 1, 49) && config.iptables ? { FirewallBackend: { Driver: 'nftables' } } : {}),
    CDISpecDirs: [],
    Warnings: warningsOf(engine),
  };
}

function containerCounts(engine: Engine): {
  Containers: number;
  ContainersRunning: number;
  ContainersPaused: number;
  ContainersStopped: number;
} {
  const all = engine.containers.list();
  const paused = all.filter((each) => each.status === 'paused').length;
  const running = all.filter((each) => each.isRunning).length - paused;
  return {
    Containers: all.length,
    ContainersRunning: running,
    ContainersPaused: paused,
    ContainersStopped: all.length - running - paused,
  };
}

function cgroupInfo(engine: Engine) {
  const { abilities } = engine.host.resources;
  return {
    MemoryLimit: abilities.memory,
    SwapLimit: abilities.swap,
    CpuCfsPeriod: abilities.cpuQuota,
    CpuCfsQuota: abilities.cpuQuota,
    CPUShares: abilities.cpuShares,
    CPUSet: abilities.cpuset,
    PidsLimit: abilities.pids,
    OomKillDisable: abilities.oomKillDisable,
    CgroupDriver: cgroupDriver(engine),
    CgroupVersion: String(engine.host.cgroups.version),
  };
}

function machineInfo() {
  return {
    KernelVersion: os.release(),
    ...operatingSystem(),
    OSType: 'linux',
    Architecture: os.machine(),
    NCPU: os.availableParallelism(),
    MemTotal: os.totalmem(),
    Name: os.hostname(),
  };
}

async function runtimeInfo(engine: Engine) {
  const { runtimes } = engine.config();
  const { name, path: file } = defaultRuntime(engine);
  const { version, commit } = await runtimeVersion(engine, file);
  return {
    Runtimes: Object.fromEntries(
      Object.entries(runtimes).map(([each, { path: path_, args }]) => [
        each,
        { path: path_, ...(args.length === 0 ? {} : { runtimeArgs: args }) },
      ]),
    ),
    DefaultRuntime: name,
    // There is no containerd; the runtime's place is runc's in Docker's words.
    ContainerdCommit: { ID: '' },
    RuncCommit: { ID: commit || version },
    InitCommit: { ID: VERSION },
  };
}

/** What the host cannot do, in the words that Docker's clients print. */
function warningsOf(engine: Engine): string[] | null {
  const { abilities } = engine.host.resources;
  const isV1 = engine.host.cgroups.version === 1;
  const missing: [boolean, string][] = [
    [abilities.memory, 'No memory limit support'],
    [abilities.swap, 'No swap limit support'],
    [abilities.oomKillDisable || !isV1, 'No oom kill disable support'],
    [abilities.cpuQuota, 'No cpu cfs quota support'],
    [abilities.cpuQuota, 'No cpu cfs period support'],
    [abilities.cpuShares, 'No cpu shares support'],
    [abilities.cpuset, 'No cpuset support'],
    [abilities.blkioWeight, `No ${isV1 ? 'blkio' : 'io'}.weight support`],
    [isSysctlOn('net/ipv4/ip_forward'), 'IPv4 forwarding is disabled'],
  ];
  const warnings = missing.filter(([can]) => !can).map(([, text]) => `WARNING: ${text}`);
  return warnings.length === 0 ? null : warnings;
}

/** A proxy's URL may hold a password; everyone with the API may not. */
function withoutPassword(proxy: string): string {
  return proxy.replace(/^([a-z]+:\/\/)[^/@]*@/i, '$1xxxxx:xxxxx@');
}
