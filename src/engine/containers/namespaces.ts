import { conflict } from '../../base/errors.ts';
import { parseNamespaceMode } from '../../policy/namespaces.ts';
import type { NamespaceChoice, RuntimeMountFacts } from '../../policy/runtime-spec-input.ts';
import type { HostConfig } from '../../spec/docker/container.ts';
import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';
import { containerPaths } from './paths.ts';

/** Namespaces that containers share with each other or with the host. Texts: moby `daemon/oci_linux.go`. */

const ANY = ['', 'none', 'private', 'shareable', 'host', 'container'];

/** @throws notFound when a container to borrow from is not there */
export function checkBorrowedNamespaces(engine: Engine, host: HostConfig): void {
  for (const [what, mode] of [
    ['PID', host.PidMode],
    ['IPC', host.IpcMode],
  ] as const) {
    const { container } = parseNamespaceMode(what, mode, ANY);
    if (container !== '') engine.containers.get(container);
  }
}

/** A container that runs, and its process. */
type Donor = { readonly container: Container; readonly pid: number };

function running(engine: Engine, what: string, reference: string): Donor {
  const container = engine.containers.get(reference);
  if (container.restart !== undefined) {
    throw conflict(`Container ${container.id} is restarting, wait until the container is running`);
  }
  if (container.run === undefined) {
    throw conflict(`cannot join ${what} of a non running container: ${container.id}`);
  }
  return { container, pid: container.run.pid };
}

/** The namespaces of one run, apart from the network's. @throws notFound, conflict */
export function chooseNamespaces(
  engine: Engine,
  host: HostConfig,
): Record<'pid' | 'ipc' | 'uts' | 'cgroup', NamespaceChoice> {
  const pid = parseNamespaceMode('PID', host.PidMode, ANY);
  const ipc = parseNamespaceMode('IPC', host.IpcMode, ANY);
  const own = (kind: string): NamespaceChoice => (kind === 'host' ? 'host' : 'new');
  return {
    pid:
      pid.kind === 'container'
        ? { path: `/proc/${running(engine, 'PID', pid.container).pid}/ns/pid` }
        : own(pid.kind),
    ipc:
      ipc.kind === 'container'
        ? { path: `/proc/${shareableIpc(engine, ipc.container).pid}/ns/ipc` }
        : own(ipc.kind),
    uts: own(host.UTSMode),
    cgroup: own(host.CgroupnsMode),
  };
}

function shareableIpc(engine: Engine, reference: string): Donor {
  const donor = running(engine, 'IPC', reference);
  if (!['shareable', 'host'].includes(donor.container.document.hostConfig.IpcMode)) {
    throw conflict(
      `container ${donor.container.id}: non-shareable IPC (hint: use IpcMode:shareable for the donor container)`,
    );
  }
  return donor;
}

/** What is at /dev/shm: it belongs to the IPC namespace. */
export function chooseShm(engine: Engine, container: Container): RuntimeMountFacts['shm'] {
  const { kind, container: reference } = parseNamespaceMode(
    'IPC',
    container.document.hostConfig.IpcMode,
    ANY,
  );
  switch (kind) {
    case 'none':
      return 'none';
    case 'host':
      return { path: '/dev/shm' };
    case 'shareable':
      return { path: containerPaths(engine, container.id).shm };
    case 'container': {
      const donor = engine.containers.get(reference);
      const isHost = donor.document.hostConfig.IpcMode === 'host';
      return { path: isHost ? '/dev/shm' : containerPaths(engine, donor.id).shm };
    }
    default:
      return 'tmpfs';
  }
}
