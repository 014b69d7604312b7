import { chownSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { internal, messageOf } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import type { Undo } from '../../base/undo.ts';
import { oomFile } from '../../kernel/cgroup.ts';
import { MNT, MS } from '../../kernel/constants.ts';
import { isMountPoint } from '../../kernel/mountinfo.ts';
import { makeDirectoryInRoot, readInRoot } from '../../kernel/rootfs-file.ts';
import type { ShimSpec } from '../../kernel/shim.ts';
import type { NamespaceHolder } from '../../kernel/user-namespace.ts';
import { runtimeResources } from '../../policy/resources.ts';
import { runtimeSpec } from '../../policy/runtime-spec.ts';
import type { NamespaceChoice, PreparedMount } from '../../policy/runtime-spec-input.ts';
import { rootOf, type UserRemap } from '../../policy/user-remap.ts';
import { lookUpUser, type ProcessUser } from '../../policy/user-spec.ts';
import type { Engine } from '../engine.ts';
import { shimLog } from '../logs/shim-log.ts';
import type { Sandbox } from '../networks/networks.ts';
import { bindFacts } from '../volumes/bind-facts.ts';
import type { MountPoint } from '../volumes/volumes.ts';
import type { Container } from './container.ts';
import { blockDeviceAt, grantedDevices } from './devices.ts';
import { logSubjectOf } from './logs.ts';
import { chooseNamespaces, chooseShm } from './namespaces.ts';
import { networkClientOf } from './network-client.ts';
import { containerPaths } from './paths.ts';
import { closeUserNamespace, mappedPath, openUserNamespace, remapOf } from './remap.ts';
import { cgroupOf, runtimeOf } from './runtime.ts';
import { bindSubpaths, unbindSubpaths } from './subpaths.ts';

/**
 * Everything that must be there before the shim runs a container: its root mounted, volumes and
 * network ready, its files written, the runtime's configuration. What is made is handed to `undo`,
 * so that a failure half-way leaves nothing behind; `held` is what the runtime needs until it has
 * come back.
 */
export async function prepareRun(
  engine: Engine,
  container: Container,
  { undo, held }: { readonly undo: Undo; readonly held: DisposableStack },
): Promise<ShimSpec> {
  const { id, document } = container;
  const paths = containerPaths(engine, id);
  const namespaces = chooseNamespaces(engine, document.hostConfig, held);
  const devices = grantedDevices(document.hostConfig);
  const resources = runtimeResources(document.hostConfig, blockDeviceAt);

  undo.defer(() => engine.layers.unmountRootfs(id));
  const { merged } = await engine.layers.mountRootfs(id, document.layers);
  const user = containerUser(engine, container, merged);
  undo.defer(() => engine.volumes.release(id));
  const hostPaths = await engine.volumes.prepare(id, document.mounts, merged);
  makeWorkingDirectory(engine, container, merged, user);
  undo.defer(() => closeUserNamespace(engine, container));
  const mapped = await mapUsers(engine, container, { hostPaths, held });
  await using _holder = mapped.holder;
  undo.defer(() => unbindSubpaths(engine, container));
  const mountPaths = bindSubpaths(engine, container, mapped.hostPaths);
  undo.defer(() => engine.networks.close(id));
  const sandbox = await engine.networks.open({
    ...networkClientOf(container),
    ...(mapped.holder === undefined ? {} : { namespaceOf: mapped.holder.pid }),
  });
  undo.defer(() => unmountShm(engine, container));
  mountShm(engine, container);

  mkdirSync(paths.bundle, { recursive: true, mode: 0o711 });
  // The last run's exit file and socket must not be taken for this one's.
  rmSync(paths.shim, { recursive: true, force: true });
  mkdirSync(paths.shim, { recursive: true, mode: 0o700 });
  writeNetworkFiles(engine, container, sandbox, mapped.users);
  const spec = runtimeSpec({
    id,
    config: document.config,
    hostConfig: document.hostConfig,
    path: document.path,
    args: document.args,
    host: engine.host.runtime,
    defaults: runtimeDefaults(engine),
    rootfs: merged,
    user,
    hostname: document.config.Hostname,
    mounts: {
      own: preparedMounts(engine, document.mounts, mountPaths),
      hosts: paths.hosts,
      hostname: paths.hostname,
      resolvConf: paths.resolvConf,
      shm: chooseShm(engine, container),
    },
    namespaces: { network: networkNamespace(sandbox), user: mapped.namespace, ...namespaces },
    remap: mapped.users,
    devices,
    resources,
    cgroupsPath: cgroupOf(engine, container).runtimePath,
  });
  const { path: runtime } = runtimeOf(engine, container);
  const compiled = engine.runtimeCache.withCompiledFilter(id, runtime, spec);
  writeFileSync(paths.config, JSON.stringify(compiled), { mode: 0o600 });
  const owner = mapped.users === undefined ? undefined : rootOf(mapped.users);
  return { ...(await shimSpecOf(engine, container)), owner };
}

function preparedMounts(
  engine: Engine,
  mounts: readonly MountPoint[],
  hostPaths: readonly string[],
): PreparedMount[] {
  const facts = bindFacts(engine.sys, mounts, hostPaths);
  return mounts.map((mount, i) => ({
    ...mount,
    hostPath: hostPaths[i] ?? '',
    sourceFlags: facts[i]?.sourceFlags ?? [],
    readOnlyBelow: facts[i]?.readOnlyBelow ?? false,
  }));
}

/** What a run in a user namespace has instead of what the engine itself sees. */
type Mapped = {
  readonly namespace: NamespaceChoice;
  readonly users: UserRemap | undefined;
  readonly holder: NamespaceHolder | undefined;
  readonly hostPaths: readonly string[];
};

/**
 * Mounts the root of a remapped container anew with mapped owners. Until now the engine could write
 * to it as root; in the mapped one it is nobody.
 */
async function mapUsers(
  engine: Engine,
  container: Container,
  { hostPaths, held }: { readonly hostPaths: readonly string[]; readonly held: DisposableStack },
): Promise<Mapped> {
  const { id, document } = container;
  const remap = remapOf(engine, document.hostConfig);
  if (remap === undefined) {
    return { namespace: 'host', users: undefined, holder: undefined, hostPaths };
  }
  await engine.layers.unmountRootfs(id);
  await engine.layers.mountRootfs(id, document.layers, remap.view);
  const { path, holder } = await openUserNamespace(engine, container, { remap, held });
  return {
    namespace: { path },
    users: remap.users,
    holder,
    hostPaths: hostPaths.map((each) => mappedPath(engine, remap, each)),
  };
}

function networkNamespace(sandbox: Sandbox): NamespaceChoice {
  return sandbox.netnsPath === undefined ? 'host' : { path: sandbox.netnsPath };
}

function runtimeDefaults(engine: Engine) {
  const config = engine.config();
  return {
    init: config.init,
    initPath: config.initPath,
    noNewPrivileges: config.noNewPrivileges,
    seccompProfile: defaultProfile(config.seccompProfile),
    ulimits: config.defaultUlimits,
    shmSizeBytes: config.defaultShmSizeBytes,
  };
}

/** The daemon's default may be a file, which may change. */
function defaultProfile(setting: string): string {
  if (!setting.startsWith('/')) return setting;
  try {
    return readFileSync(setting, 'utf8');
  } catch (cause) {
    throw internal(`opening seccomp profile (${setting}) failed: ${messageOf(cause)}`, { cause });
  }
}

/** `--user` and `--group-add` by the container's own accounts. @throws invalidArgument */
function containerUser(engine: Engine, container: Container, rootfs: string): ProcessUser {
  const { config, hostConfig } = container.document;
  const read = (file: string): string =>
    readInRoot(engine.sys, rootfs, file, LIMITS.accountFileBytesMax);
  return lookUpUser(config.User, hostConfig.GroupAdd ?? [], {
    passwd: read('/etc/passwd'),
    group: read('/etc/group'),
  });
}

/** Docker makes a working directory that the image lacks, owned by the container's user. */
function makeWorkingDirectory(
  engine: Engine,
  container: Container,
  rootfs: string,
  user: ProcessUser,
): void {
  const { WorkingDir } = container.document.config;
  if (WorkingDir === '' || WorkingDir === '/') return;
  try {
    makeDirectoryInRoot(engine.sys, rootfs, WorkingDir, user);
  } catch (cause) {
    throw internal(
      `OCI runtime create failed: cannot make the working directory ${WorkingDir}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

function writeNetworkFiles(
  engine: Engine,
  container: Container,
  sandbox: Sandbox,
  users: UserRemap | undefined,
): void {
  const paths = containerPaths(engine, container.id);
  const { Hostname, Domainname } = container.document.config;
  const full = Domainname === '' ? Hostname : `${Hostname}.${Domainname}`;
  writeFileSync(paths.hosts, sandbox.hosts, { mode: 0o644 });
  writeFileSync(paths.hostname, `${full}\n`, { mode: 0o644 });
  writeFileSync(paths.resolvConf, sandbox.resolvConf, { mode: 0o644 });
  const owner = users === undefined ? { uid: 0, gid: 0 } : rootOf(users);
  for (const file of [paths.hosts, paths.hostname, paths.resolvConf]) {
    chownSync(file, owner.uid, owner.gid);
  }
}

/** A /dev/shm that other containers may join lives on the host's side. */
function mountShm(engine: Engine, container: Container): void {
  const { hostConfig } = container.document;
  if (hostConfig.IpcMode !== 'shareable') return;
  const { shm } = containerPaths(engine, container.id);
  mkdirSync(shm, { recursive: true, mode: 0o700 });
  if (isMountPoint(shm)) return;
  engine.sys.mount({
    source: 'shm',
    target: shm,
    type: 'tmpfs',
    flags: MS.NOSUID | MS.NODEV | MS.NOEXEC,
    data: `mode=1777,size=${hostConfig.ShmSize}`,
  });
}

/** Takes a shareable /dev/shm down; nothing when there is none. */
export function unmountShm(engine: Engine, container: Container): void {
  if (container.document.hostConfig.IpcMode !== 'shareable') return;
  const { shm } = containerPaths(engine, container.id);
  if (isMountPoint(shm)) engine.sys.umount(shm, MNT.DETACH);
}

/** What the shim is told; the same for every run. */
async function shimSpecOf(engine: Engine, container: Container): Promise<ShimSpec> {
  const { id, document } = container;
  const { config, hostConfig } = document;
  const paths = containerPaths(engine, id);
  const runtime = runtimeOf(engine, container);
  mkdirSync(runtime.root, { recursive: true, mode: 0o700 });
  const oom = oomFile(engine.host.cgroups, cgroupOf(engine, container).folder);
  const [rows, columns] = hostConfig.ConsoleSize;
  const hasSize = config.Tty && rows !== undefined && columns !== undefined && rows > 0;
  return {
    directory: paths.shim,
    containerId: id,
    runtime,
    process: { kind: 'container', bundle: paths.bundle },
    terminal: config.Tty,
    openStdin: config.OpenStdin,
    stdinOnce: config.StdinOnce,
    log: await shimLog(hostConfig.LogConfig, paths.data, logSubjectOf(container)),
    ...(hasSize ? { consoleSize: [rows, columns] as const } : {}),
    ...(oom === undefined ? {} : { oomFile: oom }),
  };
}
