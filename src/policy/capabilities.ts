import { invalidArgument } from '../base/errors.ts';

/**
 * Which capabilities a container gets. Names and numbers: capabilities(7), linux/capability.h.
 * Texts: moby `oci/caps`.
 */

/** In the order of their bits in `CapEff` of /proc/PID/status. */
export const CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_DAC_READ_SEARCH',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETPCAP',
  'CAP_LINUX_IMMUTABLE',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_BROADCAST',
  'CAP_NET_ADMIN',
  'CAP_NET_RAW',
  'CAP_IPC_LOCK',
  'CAP_IPC_OWNER',
  'CAP_SYS_MODULE',
  'CAP_SYS_RAWIO',
  'CAP_SYS_CHROOT',
  'CAP_SYS_PTRACE',
  'CAP_SYS_PACCT',
  'CAP_SYS_ADMIN',
  'CAP_SYS_BOOT',
  'CAP_SYS_NICE',
  'CAP_SYS_RESOURCE',
  'CAP_SYS_TIME',
  'CAP_SYS_TTY_CONFIG',
  'CAP_MKNOD',
  'CAP_LEASE',
  'CAP_AUDIT_WRITE',
  'CAP_AUDIT_CONTROL',
  'CAP_SETFCAP',
  'CAP_MAC_OVERRIDE',
  'CAP_MAC_ADMIN',
  'CAP_SYSLOG',
  'CAP_WAKE_ALARM',
  'CAP_BLOCK_SUSPEND',
  'CAP_AUDIT_READ',
  'CAP_PERFMON',
  'CAP_BPF',
  'CAP_CHECKPOINT_RESTORE',
] as const;

/** What Docker gives a container that asks for nothing. */
export const DEFAULT_CAPABILITIES: readonly string[] = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

const KNOWN: ReadonlySet<string> = new Set(CAPABILITIES);

/** Names of the bits of a `Cap…` line's hex number; bits newer than this list are left out. */
export function capabilitiesOfMask(hex: string): string[] {
  const mask = BigInt(`0x${hex}`);
  return CAPABILITIES.filter((_, bit) => ((mask >> BigInt(bit)) & 1n) === 1n);
}

/** `NET_ADMIN`, `cap_net_admin` → `CAP_NET_ADMIN`; `ALL` stays. @throws invalidArgument */
function normalized(names: readonly string[]): string[] {
  return names.map((name) => {
    const upper = name.toUpperCase();
    if (upper === 'ALL') return upper;
    const full = upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
    if (!KNOWN.has(full)) throw invalidArgument(`invalid capability: "${name}"`);
    return full;
  });
}

/**
 * The set after `--cap-add`, `--cap-drop` and `--privileged`. A capability that the daemon does not
 * have (`available`) cannot be given: of the default and ALL it is left out silently.
 * @throws invalidArgument for an unknown name
 */
export function containerCapabilities(wish: {
  readonly add: readonly string[];
  readonly drop: readonly string[];
  readonly privileged: boolean;
  readonly available: readonly string[];
}): string[] {
  const has = new Set(wish.available);
  if (wish.privileged) return [...wish.available];
  const add = normalized(wish.add);
  const drop = normalized(wish.drop);
  if (add.length === 0 && drop.length === 0) return DEFAULT_CAPABILITIES.filter((c) => has.has(c));
  if (drop.includes('ALL') && !add.includes('ALL')) return add.filter((c) => has.has(c));
  const dropped = new Set(drop.filter((c) => c !== 'ALL'));
  if (add.includes('ALL')) return wish.available.filter((c) => !dropped.has(c));
  const all = new Set([...DEFAULT_CAPABILITIES.filter((c) => !dropped.has(c)), ...add]);
  return [...all].filter((c) => has.has(c));
}
