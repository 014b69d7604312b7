import { closeSync } from 'node:fs';
import { AF, MSG, SOCK } from './constants.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * systemd's notification protocol, sd_notify(3): `KEY=value` lines in one datagram to the socket
 * that `NOTIFY_SOCKET` names; a leading `@` is the abstract namespace.
 */
export type ServiceManager = {
  /** Sends a state such as `READY=1`; does nothing when no manager listens. */
  readonly notify: (...lines: readonly string[]) => void;
  /** Milliseconds between two signs of life: half of what the watchdog allows; undefined without one. */
  readonly watchdogMs: number | undefined;
};

/** Longest path of a unix socket, without the zero at its end. */
const PATH_BYTES_MAX = 107;

/** The manager that the environment names. `onError` hears of one that cannot be reached. */
export function serviceManager(
  sys: Syscalls,
  env: Readonly<Record<string, string | undefined>>,
  pid: number,
  onError: (error: unknown) => void,
): ServiceManager {
  const socket = env['NOTIFY_SOCKET'] ?? '';
  if (!/^[/@]/.test(socket) || Buffer.byteLength(socket) > PATH_BYTES_MAX) {
    return { notify: () => undefined, watchdogMs: undefined };
  }
  const usec = Number(env['WATCHDOG_USEC'] ?? 0);
  const forUs = (env['WATCHDOG_PID'] ?? String(pid)) === String(pid);
  return {
    notify: (...lines) => {
      try {
        send(sys, socket, lines.join('\n'));
      } catch (error) {
        onError(error);
      }
    },
    watchdogMs: forUs && Number.isFinite(usec) && usec > 0 ? usec / 2000 : undefined,
  };
}

function send(sys: Syscalls, socket: string, text: string): void {
  const fd = sys.socket(AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0);
  try {
    sys.connect(fd, unixAddress(socket));
    sys.send(fd, Buffer.from(text), MSG.NOSIGNAL);
  } finally {
    closeSync(fd);
  }
}

/** struct sockaddr_un: the family in host order, then the path; `@` stands for a zero byte. */
function unixAddress(socket: string): Uint8Array {
  const path = Buffer.from(socket);
  const abstract = path[0] === 0x40;
  const address = Buffer.alloc(2 + path.length + (abstract ? 0 : 1));
  address.writeUInt16LE(AF.UNIX, 0);
  path.copy(address, 2);
  if (abstract) address[2] = 0;
  return address;
}
