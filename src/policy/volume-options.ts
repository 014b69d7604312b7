import { invalidArgument } from '../base/errors.ts';

/**
 * Options of the local volume driver: `type`, `o` and `device` are what mount(8) would be told,
 * `size` is a quota. Source: moby `volume/local/local_unix.go`, mount(8).
 */
export type LocalMount = {
  readonly type: string;
  readonly device: string;
  /** MS_* bits. */
  readonly flags: number;
  /** What is left for the filesystem, comma-separated. */
  readonly data: string;
  /** Host name in `addr=` that must be looked up before mounting (nfs, cifs). */
  readonly addressToResolve: string | undefined;
};

/** Numeric addresses, which need no look-up; a host name has neither form. */
const ADDRESS = /^\d+\.\d+\.\d+\.\d+$|:/;

const KNOWN = new Set(['type', 'o', 'device', 'size']);

/** Each flag of mount(8) as [bits, set or clear]. Numbers: linux/mount.h. */
const FLAGS: ReadonlyMap<string, readonly [bits: number, set: boolean]> = new Map([
  ['defaults', [0, true]],
  ['ro', [1, true]],
  ['rw', [1, false]],
  ['nosuid', [2, true]],
  ['suid', [2, false]],
  ['nodev', [4, true]],
  ['dev', [4, false]],
  ['noexec', [8, true]],
  ['exec', [8, false]],
  ['sync', [16, true]],
  ['async', [16, false]],
  ['mand', [64, true]],
  ['nomand', [64, false]],
  ['dirsync', [128, true]],
  ['noatime', [1024, true]],
  ['atime', [1024, false]],
  ['nodiratime', [2048, true]],
  ['diratime', [2048, false]],
  ['bind', [4096, true]],
  ['rbind', [4096 | 16384, true]],
  ['relatime', [1 << 21, true]],
  ['norelatime', [1 << 21, false]],
  ['strictatime', [1 << 24, true]],
  ['nostrictatime', [1 << 24, false]],
]);

/**
 * Checks a volume's driver options.
 * @throws invalidArgument
 */
export function checkVolumeOptions(options: Readonly<Record<string, string>>): void {
  for (const key of Object.keys(options)) {
    if (!KNOWN.has(key)) throw invalidArgument(`create: invalid option: "${key}"`);
  }
  if (options['size'] !== undefined) {
    throw invalidArgument(
      'create: quota size requested but no quota support: the data root needs project quotas',
    );
  }
  if (Object.keys(options).length === 0) return;
  for (const key of ['device', 'type']) {
    if (!options[key]) throw invalidArgument(`create: missing required option: "${key}"`);
  }
}

/** What to mount for a volume with options; undefined for a plain folder. */
export function localMount(options: Readonly<Record<string, string>>): LocalMount | undefined {
  if (Object.keys(options).length === 0) return undefined;
  let flags = 0;
  const data: string[] = [];
  let addressToResolve: string | undefined;
  for (const each of (options['o'] ?? '').split(',').filter((part) => part !== '')) {
    const flag = FLAGS.get(each);
    if (flag !== undefined) {
      flags = flag[1] ? flags | flag[0] : flags & ~flag[0];
      continue;
    }
    if (each.startsWith('addr=') && /^(nfs4?|cifs)$/.test(options['type'] ?? '')) {
      const host = each.slice('addr='.length);
      if (!ADDRESS.test(host)) addressToResolve = host;
    }
    data.push(each);
  }
  return {
    type: options['type'] ?? '',
    device: options['device'] ?? '',
    flags,
    data: data.join(','),
    addressToResolve,
  };
}
