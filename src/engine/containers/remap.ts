import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, messageOf, unavailable } from '../../base/errors.ts';
import { openCgroupParents } from '../../kernel/cgroup.ts';
import { MNT, MS } from '../../kernel/constants.ts';
import { isMountPoint } from '../../kernel/mountinfo.ts';
import { holdNamespace } from '../../kernel/process-handle.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import {
  holdNamespaces,
  type IdMaps,
  type MappedView,
  mountMapped,
  type NamespaceHolder,
} from '../../kernel/user-namespace.ts';
import { parseNamespaceMode } from '../../policy/namespaces.ts';
import {
  idMapText,
  parseIdMaps,
  planRemap,
  rootOf,
  type UserRemap,
} from '../../policy/user-remap.ts';
import type { HostConfig } from '../../spec/docker/container.ts';
import type { DataRoot, ExecRoot } from '../../store/paths.ts';
import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';
import { containerPaths } from './paths.ts';
import { cgroupOf } from './runtime.ts';

/**
 * Containers in user namespaces (`--userns-remap`). Layers and volumes are stored as images have
 * them; the data root is mounted a second time with mapped owners, and what a remapped container
 * mounts is taken from there.
 */
export type Remap = {
  readonly users: UserRemap;
  readonly view: MappedView;
  readonly hold: (options: { readonly network: boolean }) => Promise<NamespaceHolder>;
};

/**
 * Mounts the mapped data root.
 * @throws invalidArgument for users without ranges; unavailable where mounts cannot be mapped
 */
export async function openRemap(
  roots: { readonly sys: Syscalls; readonly dataRoot: DataRoot; readonly execRoot: ExecRoot },
  wish: string,
  program: string,
): Promise<Remap> {
  const users = planRemap(wish, {
    passwd: readOrNothing('/etc/passwd'),
    group: readOrNothing('/etc/group'),
    subuid: readOrNothing('/etc/subuid'),
    subgid: readOrNothing('/etc/subgid'),
  });
  const maps: IdMaps = { uids: idMapText(users.uids), gids: idMapText(users.gids) };
  const { sys, dataRoot, execRoot } = roots;
  const folder = execRoot.mapped;
  if (isMountPoint(folder)) sys.umount(folder, MNT.DETACH);
  try {
    await using holder = await holdNamespaces(program, maps, { network: false });
    mountMapped(sys, { source: dataRoot.root, target: folder, pid: holder.pid });
  } catch (cause) {
    throw unavailable(
      `cannot remap users: ${messageOf(cause)}. It needs user namespaces and mounts with mapped owners: Linux 5.19, and a data root on ext4, xfs, btrfs or f2fs`,
      { cause },
    );
  }
  const mapMount = async (mountPoint: string): Promise<void> => {
    const target = path.join(folder, path.relative(dataRoot.root, mountPoint));
    if (isMountPoint(target)) return;
    await using holder = await holdNamespaces(program, maps, { network: false });
    mountMapped(sys, { source: mountPoint, target, pid: holder.pid });
  };
  return {
    users,
    view: { folder, mapMount, root: rootOf(users) },
    hold: (options) => holdNamespaces(program, maps, options),
  };
}

function readOrNothing(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}

/** Of a container; undefined for one that is the host's users. */
export function remapOf(engine: Engine, host: HostConfig): Remap | undefined {
  return host.UsernsMode === 'host' ? undefined : engine.remap;
}

/** Whom the owners of a container's files are shown as now: it is mounted so while it runs. */
export function shownUsers(container: Container): UserRemap | undefined {
  const { run } = container;
  if (run === undefined) return undefined;
  // The daemon that started it may have mapped other users.
  const read = (file: string): string => readFileSync(`/proc/${run.pid}/${file}`, 'utf8');
  return parseIdMaps({ uids: read('uid_map'), gids: read('gid_map') });
}

/** The same folder of the data root with mapped owners, where no other filesystem is mounted on it. */
export function mappedPath(engine: Engine, remap: Remap, file: string): string {
  const { volumes, root } = engine.dataRoot;
  const [name = ''] = path.relative(volumes, file).split('/');
  if (!file.startsWith(`${volumes}/`) || isMountPoint(path.join(volumes, name, '_data'))) {
    return file;
  }
  return path.join(remap.view.folder, path.relative(root, file));
}

/** The user namespace of one run, bound to a file for the runtime. */
export type RunNamespace = {
  readonly path: string;
  /** Holds its network namespace; undefined when that is another container's. */
  readonly holder: NamespaceHolder | undefined;
};

/** Containers that share a namespace share the user namespace that it belongs to. */
export async function openUserNamespace(
  engine: Engine,
  container: Container,
  { remap, held }: { readonly remap: Remap; readonly held: DisposableStack },
): Promise<RunNamespace> {
  const { hostConfig } = container.document;
  for (const mode of [hostConfig.NetworkMode, hostConfig.IpcMode, hostConfig.PidMode]) {
    if (!mode.startsWith('container:')) continue;
    const { container: reference } = parseNamespaceMode('user', mode, ['container']);
    const { run } = engine.containers.get(reference);
    const namespace = run && holdNamespace(run.process, 'user');
    if (namespace !== undefined) return { path: held.use(namespace).path, holder: undefined };
  }
  const { userns } = containerPaths(engine, container.id);
  closeUserNamespace(engine, container);
  openCgroupParents(engine.host.cgroups, cgroupOf(engine, container).folder);
  const holder = await remap.hold({ network: true });
  try {
    mkdirSync(path.dirname(userns), { recursive: true, mode: 0o711 });
    writeFileSync(userns, '', { mode: 0o444 });
    engine.sys.mount({ source: `/proc/${holder.pid}/ns/user`, target: userns, flags: MS.BIND });
    return { path: userns, holder };
  } catch (error) {
    await holder[Symbol.asyncDispose]();
    throw error;
  }
}

/** Lets go of a run's user namespace; nothing when it has none. */
export function closeUserNamespace(engine: Engine, container: Container): void {
  const { userns } = containerPaths(engine, container.id);
  if (isMountPoint(userns)) engine.sys.umount(userns, MNT.DETACH);
  rmSync(userns, { force: true });
}
