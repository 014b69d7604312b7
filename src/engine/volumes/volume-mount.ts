import { lookup } from 'node:dns/promises';
import { internal, messageOf } from '../../base/errors.ts';
import { MS } from '../../kernel/constants.ts';
import { isMountPoint } from '../../kernel/mountinfo.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { type LocalMount, localMount } from '../../policy/volume-options.ts';
import type { Volume } from './volume.ts';

/** The mounts of volumes whose options name a device: `type`, `device` and `o`. */

/** How long an address in a volume's options may take to look up. */
const LOOKUP_TIMEOUT_MS = 5_000;

/** Mounts what a volume's options name, unless it is there. @throws internal in Docker's words */
export async function mountVolume(sys: Syscalls, volume: Volume): Promise<void> {
  const wish = localMount(volume.options);
  if (wish === undefined || isMountPoint(volume.mountpoint)) return;
  let { data } = wish;
  try {
    if (wish.addressToResolve !== undefined) {
      const found = await withTimeout(lookup(wish.addressToResolve), LOOKUP_TIMEOUT_MS);
      data = data.replace(`addr=${wish.addressToResolve}`, `addr=${found.address}`);
    }
    mountLocal(sys, { ...wish, data }, volume.mountpoint);
  } catch (cause) {
    // The error goes to clients and to the log, and a share's password stands among its options.
    const shown = data.replace(/(^|,)(pass(?:word)?2?=)[^,]*/gi, '$1$2********');
    throw internal(
      `error while mounting volume '${volume.mountpoint}': failed to mount local volume: mount ${wish.device}:${volume.mountpoint}, flags: 0x${wish.flags.toString(16)}, data: ${shown}: ${messageOf(cause).replace(/^.*: /, '')}`,
      { cause },
    );
  }
}

/** Unmounts what {@link mountVolume} mounted; nothing when it is not there. */
export function unmountVolume(sys: Syscalls, volume: Volume): void {
  if (localMount(volume.options) === undefined) return;
  if (isMountPoint(volume.mountpoint)) sys.umount(volume.mountpoint);
}

/** mount(2) for a volume. A bind takes flags such as read-only by a second call alone. */
function mountLocal(sys: Syscalls, wish: LocalMount, target: string): void {
  const { device: source, flags, data, type } = wish;
  if ((flags & MS.BIND) === 0) {
    sys.mount({ source, target, type, flags, data });
    return;
  }
  sys.mount({ source, target, flags: flags & (MS.BIND | MS.REC), data });
  const rest = flags & ~(MS.BIND | MS.REC);
  if (rest === 0) return;
  try {
    sys.mount({ source: '', target, flags: rest | MS.BIND | MS.REMOUNT, data: '' });
  } catch (error) {
    sys.umount(target);
    throw error;
  }
}

async function withTimeout<T>(promise: Promise<T>, ms: number): Promise<T> {
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(internal('the look-up timed out')), ms);
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
