/** Variables of a container's process. Source: moby `container/env.go`, `oci/defaults.go`. */

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Docker's own, overridden by the container's; an entry without `=` takes one of Docker's away. */
export function containerEnvironment(args: {
  readonly hostname: string;
  readonly home: string;
  readonly tty: boolean;
  readonly own: readonly string[];
  /** ContainerIDEnv; '' for none. */
  readonly idVariable: string;
  readonly id: string;
}): string[] {
  const base = [
    `PATH=${DEFAULT_PATH}`,
    `HOSTNAME=${args.hostname}`,
    ...(args.tty ? ['TERM=xterm'] : []),
    ...(args.idVariable === '' ? [] : [`${args.idVariable}=${args.id}`]),
  ];
  const env = overrideEnvironment(base, args.own);
  return env.some((entry) => entry.startsWith('HOME=')) ? env : [...env, `HOME=${args.home}`];
}

/** `own` over `base`, in the order of first mention; an entry of `own` without `=` removes. */
export function overrideEnvironment(base: readonly string[], own: readonly string[]): string[] {
  const byName = new Map(base.map((entry) => [entry.split('=', 1)[0] ?? '', entry]));
  for (const entry of own) {
    const name = entry.split('=', 1)[0] ?? '';
    if (entry.includes('=')) byName.set(name, entry);
    else byName.delete(name);
  }
  return [...byName.values()];
}
