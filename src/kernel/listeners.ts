import { once } from 'node:events';
import { chmodSync, chownSync, lstatSync, readFileSync, unlinkSync } from 'node:fs';
import { connect, type Server } from 'node:net';
import path from 'node:path';
import { conflict, errnoOf, internal, invalidArgument, notFound } from '../base/errors.ts';
import { makeFolders } from './make-folders.ts';
import { type ActivatedSocket, chooseSockets } from './socket-activation.ts';

/** Sockets that the API is served on. */

/** Groups that a unix socket is given to when nobody named one, first found. */
const USUAL_GROUPS = ['docker', 'coracle'];
const SOCKET_MODE = 0o660;

/** Number of a group of /etc/group, by name or number; undefined when there is none. */
export function findGroup(name: string, file = '/etc/group'): number | undefined {
  if (/^\d+$/.test(name)) return Number(name);
  const line = readFileSync(file, 'utf8')
    .split('\n')
    .find((entry) => entry.startsWith(`${name}:`));
  return line === undefined ? undefined : Number(line.split(':')[2]);
}

function groupOf(name: string): number {
  if (name === '') return USUAL_GROUPS.map((usual) => findGroup(usual)).find(Number.isInteger) ?? 0;
  const gid = findGroup(name);
  if (gid === undefined) throw notFound(`cannot give the socket to group ${name}: no such group`);
  return gid;
}

/** Resolves when the server listens. @throws what the socket says */
async function started(server: Server, listen: () => void): Promise<void> {
  listen();
  await once(server, 'listening');
}

/**
 * Listens on a unix socket, mode 0660. A socket that nobody serves any more is replaced.
 * @throws conflict when another process serves it; notFound when the group does not exist
 */
export async function listenUnix(
  server: Server,
  { socket, group }: { socket: string; group: string },
): Promise<void> {
  const gid = groupOf(group);
  try {
    makeFolders(path.dirname(socket));
  } catch (cause) {
    throw cannotListen(`unix://${socket}`, cause);
  }
  await clearStaleSocket(socket);
  try {
    await started(server, () => server.listen(socket));
  } catch (cause) {
    throw cannotListen(`unix://${socket}`, cause);
  }
  // Until here only root may connect: it takes write permission, which the umask takes away.
  chownSync(socket, 0, gid);
  chmodSync(socket, SOCKET_MODE);
}

async function clearStaleSocket(socket: string): Promise<void> {
  const stat = lstatSync(socket, { throwIfNoEntry: false });
  if (stat === undefined) return;
  if (!stat.isSocket()) {
    throw invalidArgument(`cannot listen on unix://${socket}: a file that is no socket is there`);
  }
  const client = connect(socket);
  try {
    await once(client, 'connect');
  } catch {
    unlinkSync(socket); // refused: whoever made it is gone
    return;
  } finally {
    client.destroy();
  }
  throw conflict(
    `cannot listen on unix://${socket}: another process serves it. Stop that one, or choose a socket with --host`,
  );
}

/** Listens on TCP. @throws conflict when the port is taken */
export async function listenTcp(
  server: Server,
  { host, port }: { host: string; port: number },
): Promise<void> {
  try {
    await started(server, () => server.listen({ host, port }));
  } catch (cause) {
    throw cannotListen(`tcp://${host}:${port}`, cause);
  }
}

/**
 * Listens on the sockets that `fd://name` means, with a server from `make` for each.
 * @throws invalidArgument when there is none
 */
export async function listenActivated(
  make: () => Promise<Server>,
  sockets: readonly ActivatedSocket[],
  name: string,
): Promise<void> {
  for (const { fd } of chooseSockets(sockets, name)) {
    const server = await make();
    try {
      await started(server, () => server.listen({ fd }));
    } catch (cause) {
      throw cannotListen(`fd://${fd}`, cause);
    }
  }
}

function cannotListen(address: string, cause: unknown): Error {
  const errno = errnoOf(cause);
  const reason = cause instanceof Error ? cause.message : String(cause);
  if (errno === 'EADDRINUSE') {
    return conflict(`cannot listen on ${address}: the address is in use`, { cause });
  }
  return internal(`cannot listen on ${address}: ${reason}`, {
    cause,
    ...(errno === undefined ? {} : { detail: { errno } }),
  });
}
