import type { RuntimeMount } from '../spec/oci/runtime.ts';
import type { PreparedMount, RuntimeSpecInput } from './runtime-spec-input.ts';

/** Where `--init` puts process 1. Docker's path; scripts look at it. */
export const INIT_DESTINATION = '/sbin/docker-init';

const DEFAULT_SHM_BYTES = 64 << 20;

type Input = RuntimeSpecInput & { readonly useInit: boolean };

/** All mounts in the order the runtime makes them, and the propagation that the root needs for them. */
export function runtimeMounts(input: Input): {
  mounts: RuntimeMount[];
  propagation: '' | 'shared' | 'rslave';
} {
  const own = input.mounts.own.toSorted((a, b) => depth(a.destination) - depth(b.destination));
  const taken = new Set(own.map((mount) => mount.destination));
  const fixed = [...systemMounts(input), ...fileMounts(input)].filter(
    (mount) => !taken.has(mount.destination),
  );
  const propagations = own.map((mount) => mount.propagation);
  const propagation = propagations.some((each) => each.endsWith('shared'))
    ? 'shared'
    : propagations.some((each) => each.endsWith('slave'))
      ? 'rslave'
      : '';
  return { mounts: [...fixed, ...own.map(ownMount)], propagation };
}

/** Parents first, so that a mount does not hide one below it. */
function depth(destination: string): number {
  return destination.split('/').filter((part) => part !== '').length;
}

function systemMounts({ hostConfig, host, defaults, mounts, namespaces }: Input): RuntimeMount[] {
  const quiet = ['nosuid', 'noexec', 'nodev'];
  const access = hostConfig.Privileged ? 'rw' : 'ro';
  const shmBytes = hostConfig.ShmSize || defaults.shmSizeBytes || DEFAULT_SHM_BYTES;
  const list: RuntimeMount[] = [
    { destination: '/proc', type: 'proc', source: 'proc', options: quiet },
    {
      destination: '/dev',
      type: 'tmpfs',
      source: 'tmpfs',
      options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
    },
    {
      destination: '/dev/pts',
      type: 'devpts',
      source: 'devpts',
      options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
    },
    // sysfs shows the network namespace that mounts it: the host's can only be bound.
    namespaces.network === 'host'
      ? { destination: '/sys', type: 'bind', source: '/sys', options: ['rbind', ...quiet, access] }
      : { destination: '/sys', type: 'sysfs', source: 'sysfs', options: [...quiet, access] },
    {
      destination: '/sys/fs/cgroup',
      type: 'cgroup',
      source: 'cgroup',
      options: [access, ...quiet],
    },
  ];
  if (host.hasMqueue) {
    list.push({ destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: quiet });
  }
  if (mounts.shm === 'tmpfs') {
    list.push({
      destination: '/dev/shm',
      type: 'tmpfs',
      source: 'shm',
      options: [...quiet, 'mode=1777', `size=${shmBytes}`],
    });
  } else if (mounts.shm !== 'none') {
    const { path } = mounts.shm;
    list.push({
      destination: '/dev/shm',
      type: 'bind',
      source: path,
      options: ['rbind', 'rprivate'],
    });
  }
  return list;
}

function fileMounts({ mounts, useInit, defaults }: Input): RuntimeMount[] {
  const files: readonly (readonly [string, string | undefined, string])[] = [
    ['/etc/resolv.conf', mounts.resolvConf, 'rw'],
    ['/etc/hostname', mounts.hostname, 'rw'],
    ['/etc/hosts', mounts.hosts, 'rw'],
    [INIT_DESTINATION, useInit ? defaults.initPath : undefined, 'ro'],
  ];
  return files.flatMap(([destination, source, access]) =>
    source === undefined
      ? []
      : [{ destination, type: 'bind', source, options: ['bind', access, 'rprivate'] }],
  );
}

function ownMount(mount: PreparedMount): RuntimeMount {
  const { destination } = mount;
  if (mount.type === 'tmpfs') {
    return {
      destination,
      type: 'tmpfs',
      source: 'tmpfs',
      options: tmpfsOptions(mount.tmpfsOptions),
    };
  }
  return {
    destination,
    type: 'bind',
    source: mount.hostPath,
    options: [
      mount.recursive ? 'rbind' : 'bind',
      mount.readWrite ? 'rw' : mount.readOnlyBelow ? 'rro' : 'ro',
      // Last, so that a source that is read-only stays so.
      ...mount.sourceFlags,
      mount.propagation || 'rprivate',
    ],
  };
}

/** `noexec,nosuid,nodev` unless the user says the contrary. */
function tmpfsOptions(text: string): string[] {
  const own = text === '' ? [] : text.split(',');
  const quiet = ['noexec', 'nosuid', 'nodev'].filter((each) => !own.includes(each.slice(2)));
  const size = own.flatMap((each) => (each === 'defaults' ? [] : [each]));
  return [...quiet, ...size];
}
