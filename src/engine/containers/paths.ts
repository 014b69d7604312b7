import path from 'node:path';
import type { DataRoot, ExecRoot } from '../../store/paths.ts';

/** Where one container's things lie. All absolute. */
export type ContainerPaths = {
  /** Exec root: gone after a reboot. */
  readonly run: string;
  readonly bundle: string;
  readonly config: string;
  readonly hosts: string;
  readonly hostname: string;
  readonly resolvConf: string;
  /** Mount point of a shareable /dev/shm. */
  readonly shm: string;
  /** Where parts of volumes are bound. */
  readonly subpaths: string;
  /** The user namespace of a remapped container's run. */
  readonly userns: string;
  /** The shim's folder. */
  readonly shim: string;
  readonly execs: string;
  /** What is newer than the database's state, JSON. */
  readonly state: string;
  /** Data root. */
  readonly data: string;
};

export function containerPaths(
  roots: { readonly dataRoot: DataRoot; readonly execRoot: ExecRoot },
  id: string,
): ContainerPaths {
  // The roots are normalised, and a start asks this for each container several times.
  const run = `${roots.execRoot.containers}/${id}`;
  const data = `${roots.dataRoot.containers}/${id}`;
  const at = (name: string): string => `${run}/${name}`;
  return {
    run,
    bundle: at('bundle'),
    config: at('bundle/config.json'),
    hosts: at('hosts'),
    hostname: at('hostname'),
    resolvConf: at('resolv.conf'),
    shm: at('shm'),
    subpaths: at('subpaths'),
    userns: at('userns'),
    shim: at('shim'),
    execs: at('exec'),
    state: at('state.json'),
    data,
  };
}

/** Where a runtime keeps its own state; one folder for each container in it. */
export function runtimeRoot(execRoot: ExecRoot, runtime: string): string {
  return path.join(execRoot.root, 'runtime', runtime);
}
