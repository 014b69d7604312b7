/** Where a container's cgroup lies, and how the runtime is told. */
export type CgroupPlace = {
  /** `linux.cgroupsPath` of the runtime's configuration. */
  readonly runtimePath: string;
  /** Folder below a hierarchy's mount point, with a leading slash. */
  readonly folder: string;
};

/** Parent of all containers when neither the container nor the daemon names one. */
const DEFAULT_PARENT = { cgroupfs: '/coracle', systemd: 'system.slice' } as const;

/** The place of one container. `parent` is absolute for cgroupfs, `x.slice` for systemd; '' the default. */
export function cgroupPlace(args: {
  readonly driver: 'cgroupfs' | 'systemd';
  readonly parent: string;
  readonly id: string;
}): CgroupPlace {
  const parent = args.parent || DEFAULT_PARENT[args.driver];
  if (args.driver === 'systemd') {
    const slice = parent.split('/').at(-1) ?? parent;
    return {
      runtimePath: `${slice}:coracle:${args.id}`,
      folder: `${expandSlice(slice)}/coracle-${args.id}.scope`,
    };
  }
  const folder = `/${[...parent.split('/'), args.id]
    .filter((part) => part !== '' && part !== '.' && part !== '..')
    .join('/')}`;
  return { runtimePath: folder, folder };
}

/** `a-b.slice` → `/a.slice/a-b.slice`. Source: systemd.slice(5). */
function expandSlice(slice: string): string {
  const name = slice.replace(/\.slice$/, '');
  if (name === '-' || name === '') return '';
  const parts = name.split('-');
  return parts.map((_, i) => `/${parts.slice(0, i + 1).join('-')}.slice`).join('');
}
