import type {
  RuntimeDeviceRule,
  RuntimeNamespace,
  RuntimeProcess,
  RuntimeSeccomp,
  RuntimeSpec,
} from '../spec/oci/runtime.ts';
import { containerCapabilities } from './capabilities.ts';
import { DEFAULT_DEVICE_RULES, parseDeviceRule, ruleFor } from './devices.ts';
import { containerEnvironment } from './environment.ts';
import type { RuntimeHost, RuntimeSpecInput } from './runtime-spec-input.ts';
import { INIT_DESTINATION, runtimeMounts } from './runtime-spec-mounts.ts';
import { defaultSeccomp, type SeccompFacts, userSeccomp } from './seccomp.ts';
import { parseSecurityOptions } from './security-options.ts';
import { rlimitsOf } from './ulimits.ts';
import { mappings } from './user-remap.ts';

/**
 * What the OCI runtime is told about a container: a pure function of the container, the host, and
 * what was opened for this run. Source: OCI runtime-spec v1.1; defaults are Docker's.
 */

const OCI_VERSION = '1.0.2';
/** The runtime's `config.json`. @throws invalidArgument for a seccomp profile that does not parse */
export function runtimeSpec(input: RuntimeSpecInput): RuntimeSpec {
  const { hostConfig, host, defaults, namespaces } = input;
  const security = parseSecurityOptions(hostConfig.SecurityOpt ?? []);
  const capabilities = containerCapabilities({
    add: hostConfig.CapAdd ?? [],
    drop: hostConfig.CapDrop ?? [],
    privileged: hostConfig.Privileged,
    available: host.capabilities,
  });
  const seccomp = seccompOf(
    security.seccomp || defaults.seccompProfile,
    hostConfig.Privileged && security.seccomp === '',
    { architecture: host.architecture, kernel: host.kernel, capabilities },
    host,
  );
  const useInit = wantsInit(input);
  const { mounts, propagation } = runtimeMounts({ ...input, useInit });
  const sysctl = sysctlsOf(input);
  const uts = namespaces.uts === 'new';
  return {
    ociVersion: OCI_VERSION,
    process: processOf(input, capabilities, useInit, security),
    root: { path: input.rootfs, readonly: hostConfig.ReadonlyRootfs },
    ...(uts ? { hostname: input.hostname } : {}),
    ...(uts && input.config.Domainname !== '' ? { domainname: input.config.Domainname } : {}),
    mounts,
    ...(Object.keys(hostConfig.Annotations).length > 0
      ? { annotations: hostConfig.Annotations }
      : {}),
    linux: {
      namespaces: namespaceList(namespaces),
      ...(input.remap === undefined
        ? {}
        : { uidMappings: mappings(input.remap.uids), gidMappings: mappings(input.remap.gids) }),
      devices: input.devices.map(({ device }) => device),
      cgroupsPath: input.cgroupsPath,
      resources: { devices: deviceRules(input), ...input.resources },
      ...(propagation === '' ? {} : { rootfsPropagation: propagation }),
      ...(seccomp === undefined ? {} : { seccomp }),
      ...(Object.keys(sysctl).length === 0 ? {} : { sysctl }),
      maskedPaths: hostConfig.MaskedPaths ?? [],
      readonlyPaths: hostConfig.ReadonlyPaths ?? [],
    },
  };
}

function wantsInit({ hostConfig, defaults, namespaces }: RuntimeSpecInput): boolean {
  // Beside an init of another namespace it would reap nothing.
  return (hostConfig.Init ?? defaults.init) && namespaces.pid === 'new';
}

function processOf(
  input: RuntimeSpecInput,
  capabilities: readonly string[],
  useInit: boolean,
  security: ReturnType<typeof parseSecurityOptions>,
): RuntimeProcess {
  const { config, hostConfig, host, defaults, user } = input;
  const command = [input.path, ...input.args];
  const [height, width] = hostConfig.ConsoleSize;
  const hasSize = config.Tty && height !== undefined && width !== undefined && height > 0;
  const score = attainableOomScore(hostConfig.OomScoreAdj, host);
  const rlimits = rlimitsOf(hostConfig.Ulimits ?? [], defaults.ulimits);
  const profile = apparmorProfile(security.apparmor, host);
  return {
    terminal: config.Tty,
    ...(hasSize ? { consoleSize: { height, width } } : {}),
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: useInit ? [INIT_DESTINATION, '--', ...command] : command,
    env: containerEnvironment({
      hostname: input.hostname,
      home: user.home,
      tty: config.Tty,
      own: config.Env,
      idVariable: hostConfig.ContainerIDEnv,
      id: input.id,
    }),
    cwd: config.WorkingDir || '/',
    capabilities: processCapabilities(capabilities, user.uid),
    ...(rlimits.length === 0 ? {} : { rlimits }),
    noNewPrivileges: security.noNewPrivileges ?? defaults.noNewPrivileges,
    ...(profile === '' ? {} : { apparmorProfile: profile }),
    ...(score === host.oomScoreAdj ? {} : { oomScoreAdj: score }),
  };
}

/** A user other than root has no capability until it execs a file that has some, as after any execve(2). */
export function processCapabilities(
  names: readonly string[],
  uid: number,
): NonNullable<RuntimeProcess['capabilities']> {
  return uid === 0 ? { bounding: names, effective: names, permitted: names } : { bounding: names };
}

/** Without CAP_SYS_RESOURCE the score cannot go below the daemon's own. */
function attainableOomScore(wish: number, host: RuntimeHost): number {
  if (host.capabilities.includes('CAP_SYS_RESOURCE')) return wish;
  return Math.max(wish, host.oomScoreAdj);
}

function apparmorProfile(wish: string, host: RuntimeHost): string {
  return host.hasApparmor && wish !== 'unconfined' ? wish : '';
}

const filters = new Map<string, RuntimeSeccomp>();

function seccompOf(
  wish: string,
  isUnconfined: boolean,
  facts: SeccompFacts,
  host: RuntimeHost,
): RuntimeSeccomp | undefined {
  if (!host.hasSeccomp || isUnconfined || wish === 'unconfined') return undefined;
  if (wish !== '' && wish !== 'builtin') return userSeccomp(wish, facts);
  // Sets of capabilities are few, and the filter is the bulk of the configuration.
  const key = facts.capabilities.join();
  let filter = filters.get(key);
  if (filter === undefined) {
    filter = defaultSeccomp(facts);
    if (filters.size < 64) filters.set(key, filter);
  }
  return filter;
}

function namespaceList(choices: RuntimeSpecInput['namespaces']): RuntimeNamespace[] {
  const list: RuntimeNamespace[] = [{ type: 'mount' }];
  for (const [type, choice] of Object.entries(choices)) {
    if (choice === 'host') continue;
    const name = type as RuntimeNamespace['type'];
    list.push(choice === 'new' ? { type: name } : { type: name, path: choice.path });
  }
  return list;
}

function deviceRules({ hostConfig, devices }: RuntimeSpecInput): RuntimeDeviceRule[] {
  if (hostConfig.Privileged) return [{ allow: true, access: 'rwm' }];
  return [
    ...DEFAULT_DEVICE_RULES,
    ...devices.map(ruleFor),
    ...(hostConfig.DeviceCgroupRules ?? []).map(parseDeviceRule),
  ];
}

/** The user's, over what lets an unprivileged process ping and bind low ports in a network of its own. */
function sysctlsOf({ hostConfig, namespaces, remap }: RuntimeSpecInput): Record<string, string> {
  const own = hostConfig.Sysctls ?? {};
  const isPrivate = namespaces.network !== 'host' && !hostConfig.NetworkMode.includes(':');
  return isPrivate
    ? {
        'net.ipv4.ip_unprivileged_port_start': '0',
        // A user namespace does not have all these groups.
        ...(remap === undefined ? { 'net.ipv4.ping_group_range': '0 2147483647' } : {}),
        ...own,
      }
    : own;
}
