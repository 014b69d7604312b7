import { conflict, type EngineError } from '../../base/errors.ts';
import { holdNamespace } from '../../kernel/process-handle.ts';
import { parseNamespaceMode } from '../../policy/namespaces.ts';
import type { NamespaceChoice, RuntimeMountFacts } from '../../policy/runtime-spec-input.ts';
import type { HostConfig } from '../../spec/docker/container.ts';
import type { Engine } from '../engine.ts';
import type { Container, Run } from './container.ts';
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

type Donor = { readonly container: Container; readonly run: Run };

function running(engine: Engine, what: string, reference: string): Donor {
  const container = engine.containers.get(reference);
  if (container.restart !== undefined) {
    throw conflict(`Container ${container.id} is restarting, wait until the container is running`);
  }
  if (container.run === undefined) throw notRunning(container, what);
  return { container, run: container.run };
}

function notRunning(container: Container, what: string): EngineError {
  return conflict(`cannot join ${what} of a non running container: ${container.id}`);
}

/**
 * The namespaces of one run, apart from the network's. Those of other containers are held by `held`
 * until the runtime has joined them.
 * @throws notFound, conflict
 */
export function chooseNamespaces(
  engine: Engine,
  host: HostConfig,
  held: DisposableStack,
): Record<'pid' | 'ipc' | 'uts' | 'cgroup', NamespaceChoice> {
  const pid = parseNamespaceMode('PID', host.PidMode, ANY);
  const ipc = parseNamespaceMode('IPC', host.IpcMode, ANY);
  const own = (kind: string): NamespaceChoice => (kind === 'host' ? 'host' : 'new');
  return {
    pid:
      pid.kind === 'container'
        ? join(running(engine, 'PID', pid.container), 'pid', held)
        : own(pid.kind),
    ipc:
      ipc.kind === 'container'
        ? join(shareableIpc(engine, ipc.container), 'ipc', held)
        : own(ipc.kind),
    uts: own(host.UTSMode),
    cgroup: own(host.CgroupnsMode),
  };
}

function join(
  { container, run }: Donor,
  kind: 'pid' | 'ipc',
  held: DisposableStack,
): { readonly path: string } {
  const namespace = holdNamespace(run.process, kind);
  if (namespace === undefined) throw notRunning(container, kind.toUpperCase());
  return held.use(namespace);
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
