import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { run, runOk } from './processes.ts';
import { tool } from './tools.ts';

/** What to run in a {@link makeBundle}. */
export type BundleProcess = {
  readonly args: readonly string[];
  readonly terminal?: boolean;
  readonly env?: readonly string[];
  /** Rows and columns of the terminal; the runtime sets it before the process runs. */
  readonly consoleSize?: readonly [rows: number, columns: number];
  /** Bytes; none: no limit. */
  readonly memoryBytes?: number;
  /** Name of the container's control group below the root of each hierarchy. */
  readonly cgroup?: string;
};

/** A root filesystem of busybox and nothing else. */
export async function makeBusyboxRoot(folder: string): Promise<void> {
  for (const name of ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp']) {
    mkdirSync(path.join(folder, name), { recursive: true });
  }
  const busybox = path.join(folder, 'bin/busybox');
  copyFileSync('/bin/busybox', busybox);
  chmodSync(busybox, 0o755);
  for (const applet of (await runOk(busybox, ['--list'])).trim().split('\n')) {
    if (applet !== 'busybox') symlinkSync('busybox', path.join(folder, 'bin', applet));
  }
}

const NAMESPACES = ['pid', 'mount', 'ipc', 'uts', 'network'];

/** The `process` of a runtime spec. */
export function processSpec(process: BundleProcess): object {
  return {
    terminal: process.terminal ?? false,
    ...(process.consoleSize === undefined
      ? {}
      : { consoleSize: { height: process.consoleSize[0], width: process.consoleSize[1] } }),
    user: { uid: 0, gid: 0 },
    args: process.args,
    env: ['PATH=/bin', 'TERM=xterm', ...(process.env ?? [])],
    cwd: '/',
    capabilities: { bounding: ['CAP_KILL'], effective: ['CAP_KILL'], permitted: ['CAP_KILL'] },
    noNewPrivileges: true,
  };
}

/** Writes a bundle's config.json; `root` is its root filesystem. */
export function makeBundle(folder: string, root: string, process: BundleProcess): void {
  mkdirSync(folder, { recursive: true });
  const config = {
    ociVersion: '1.0.2',
    process: processSpec(process),
    root: { path: root, readonly: true },
    hostname: 'test',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc' },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'mode=755', 'size=65536k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620'],
      },
      { destination: '/tmp', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=1777'] },
    ],
    linux: {
      namespaces: NAMESPACES.map((type) => ({ type })),
      ...(process.cgroup === undefined ? {} : { cgroupsPath: process.cgroup }),
      ...(process.memoryBytes === undefined
        ? {}
        : { resources: { memory: { limit: process.memoryBytes, swap: process.memoryBytes } } }),
    },
  };
  writeFileSync(path.join(folder, 'config.json'), JSON.stringify(config));
}

/**
 * A runtime that runs on this host: crun refuses hosts with hybrid control groups, so there it runs
 * in a mount namespace without the unified hierarchy, as the daemon does.
 */
export async function usableRuntime(folder: string, name: 'crun' | 'runc'): Promise<string> {
  const program = tool(name);
  const hybrid = (await run('mountpoint', ['-q', '/sys/fs/cgroup/unified'])).code === 0;
  if (name === 'runc' || !hybrid) return program;
  const script = path.join(folder, 'crun');
  const inner = `umount /sys/fs/cgroup/unified && exec "$0" "$@"`;
  writeFileSync(script, `#!/bin/sh\nexec unshare -m sh -c '${inner}' ${program} "$@"\n`);
  chmodSync(script, 0o755);
  return script;
}
