import path from 'node:path';
import { isEngineError } from '../../base/errors.ts';
import type { BytesAnswer, Client } from '../../client/client.ts';
import { decodeJson, int, string, struct } from '../../spec/decode.ts';
import { EXIT, ExitError } from '../exit.ts';
import { cleanPath, type Place } from './places.ts';

/** Docker's stat of a path; `mode` is numbered as Go's os.FileMode. */
const pathStat = struct('PathStat', { name: string, mode: int, linkTarget: string });
export type PathStat = { readonly mode: number; readonly linkTarget: string };

const GO_DIRECTORY = 2 ** 31;
const GO_SYMLINK = 2 ** 27;
const GO_DEVICE = 2 ** 26;

const has = (mode: number, bit: number): boolean => Math.floor(mode / bit) % 2 === 1;

export function isSymlink({ mode }: PathStat): boolean {
  return has(mode, GO_SYMLINK);
}

export function isDirectory({ mode }: PathStat): boolean {
  return has(mode, GO_DIRECTORY);
}

/** What a path of a container is. @throws EngineError with the daemon's words */
export async function statInContainer(
  client: Client,
  id: string,
  place: string,
): Promise<PathStat> {
  const { headers, body } = await client.containerArchiveHead({
    params: { id },
    query: { path: place },
  });
  body.resume();
  return statOf(headers);
}

/** The stat that comes with an answer. */
export function statOf(headers: BytesAnswer['headers']): PathStat {
  const header = String(headers['x-docker-container-path-stat'] ?? '');
  return decodeJson(pathStat, Buffer.from(header, 'base64').toString('utf8'));
}

/** Where a symlink of a container leads to, one step. */
export function followed(place: string, { linkTarget }: PathStat): string {
  return path.posix.resolve(path.posix.dirname(cleanPath(place)), linkTarget);
}

/**
 * What a copy into a container is aimed at; a symlink is followed.
 * @throws ExitError when it is a device
 */
export async function targetInContainer(
  client: Client,
  id: string,
  wanted: string,
): Promise<Place> {
  let place = wanted;
  let stat = await findStat(client, id, place);
  if (stat !== undefined && isSymlink(stat)) {
    place = followed(place, stat);
    stat = await findStat(client, id, place);
  }
  if (stat !== undefined && has(stat.mode, GO_DEVICE)) {
    throw new ExitError(
      EXIT.failure,
      `destination "${id}:${wanted}" must be a directory or a regular file: got a device`,
    );
  }
  return {
    path: place,
    exists: stat !== undefined,
    isDirectory: stat !== undefined && isDirectory(stat),
  };
}

async function findStat(client: Client, id: string, place: string): Promise<PathStat | undefined> {
  try {
    return await statInContainer(client, id, place);
  } catch (error) {
    if (isEngineError(error, 'notFound') && !/No such container/.test(error.message)) {
      return undefined;
    }
    throw error;
  }
}
