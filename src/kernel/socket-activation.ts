import { fstatSync } from 'node:fs';
import { invalidArgument } from '../base/errors.ts';

/** A socket that systemd opened for us; sd_listen_fds(3). */
export type ActivatedSocket = {
  readonly fd: number;
  /** FileDescriptorName= of the unit; '' when none was given. */
  readonly name: string;
};

const FIRST_FD = 3;
const SOCKETS_MAX = 64;

/**
 * The sockets that the environment promises: LISTEN_FDS of them from descriptor 3, when LISTEN_PID
 * is this process.
 * @throws invalidArgument when a promised one is not a socket
 */
export function activatedSockets(
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
): readonly ActivatedSocket[] {
  const count = Number(env['LISTEN_FDS'] ?? 0);
  if (env['LISTEN_PID'] !== String(pid) || !Number.isInteger(count)) return [];
  if (count > SOCKETS_MAX) throw invalidArgument(`LISTEN_FDS: ${count} sockets are too many`);
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':');
  return Array.from({ length: count }, (_, i) => {
    const fd = FIRST_FD + i;
    if (!isSocket(fd)) {
      throw invalidArgument(`LISTEN_FDS names descriptor ${fd}, which is not a socket`);
    }
    return { fd, name: names[i] ?? '' };
  });
}

function isSocket(fd: number): boolean {
  try {
    return fstatSync(fd).isSocket();
  } catch {
    return false; // not open at all
  }
}

/**
 * The sockets that `fd://NAME` means: all for '', else by number or name.
 * @throws invalidArgument when there is none
 */
export function chooseSockets(
  sockets: readonly ActivatedSocket[],
  name: string,
): readonly ActivatedSocket[] {
  const chosen =
    name === '' || name === '*'
      ? sockets
      : sockets.filter((socket) => String(socket.fd) === name || socket.name === name);
  if (chosen.length > 0) return chosen;
  throw invalidArgument(
    sockets.length === 0
      ? 'no sockets found via socket activation: make sure the service was started by systemd'
      : `failed to find a matching socket for fd://${name}: there are ${sockets
          .map((socket) => socket.name || socket.fd)
          .join(', ')}`,
  );
}
