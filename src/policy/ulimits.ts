import { invalidArgument } from '../base/errors.ts';
import type { Ulimit } from '../spec/docker/container.ts';
import type { RuntimeRlimit } from '../spec/oci/runtime.ts';

/** Names of `--ulimit`; RLIMIT_… of setrlimit(2) in upper case. */
export const ULIMIT_NAMES: ReadonlySet<string> = new Set([
  'core',
  'cpu',
  'data',
  'fsize',
  'locks',
  'memlock',
  'msgqueue',
  'nice',
  'nofile',
  'nproc',
  'rss',
  'rtprio',
  'rttime',
  'sigpending',
  'stack',
]);

/** @throws invalidArgument for an unknown name or a soft limit above the hard one */
export function checkUlimits(ulimits: readonly Ulimit[]): void {
  for (const { Name, Soft, Hard } of ulimits) {
    // The client knows nothing of `as`, which the kernel does.
    if (Name !== 'as' && !ULIMIT_NAMES.has(Name))
      throw invalidArgument(`invalid ulimit type: ${Name}`);
    if (Soft < -1 || Hard < -1) {
      throw invalidArgument(`invalid ulimit ${Name}: a limit is a positive number, or -1 for none`);
    }
    if (Hard !== -1 && (Soft === -1 || Soft > Hard)) {
      throw invalidArgument(
        `ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`,
      );
    }
  }
}

/** -1 as a number of 64 bits, RLIM_INFINITY, in a form that JSON.stringify writes digit for digit. */
const UNLIMITED = (JSON as unknown as { rawJSON: (text: string) => object }).rawJSON(
  '18446744073709551615',
);

/** The daemon's defaults with the container's own over them. -1 is unlimited. */
export function rlimitsOf(
  own: readonly Ulimit[],
  defaults: Readonly<Record<string, { readonly Soft: number; readonly Hard: number }>>,
): RuntimeRlimit[] {
  const merged = new Map(Object.entries(defaults));
  for (const each of own) merged.set(each.Name, each);
  return [...merged].map(([name, { Soft, Hard }]) => ({
    type: `RLIMIT_${name.toUpperCase()}`,
    soft: Soft === -1 ? UNLIMITED : Soft,
    hard: Hard === -1 ? UNLIMITED : Hard,
  }));
}
