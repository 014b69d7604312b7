import { invalidArgument } from '../base/errors.ts';

/**
 * `--userns-remap`: which users of the host the users of containers are. Source: subuid(5),
 * user_namespaces(7); the words are dockerd's.
 */

/** IDs of the host that stand, in order, for a container's 0, 1, 2 … */
export type IdRange = { readonly hostId: number; readonly size: number };
export type UserRemap = { readonly uids: readonly IdRange[]; readonly gids: readonly IdRange[] };

/** Texts of the files of /etc. */
export type RemapFiles = {
  readonly passwd: string;
  readonly group: string;
  readonly subuid: string;
  readonly subgid: string;
};

const DEFAULT_USER = 'dockremap';
/** What the kernel takes as lines of a map. */
const RANGES_MAX = 340;

/**
 * @param wish `default`, `user`, `user:group`, or numbers in their place; not ''
 * @throws invalidArgument with the line that is missing
 */
export function planRemap(wish: string, files: RemapFiles): UserRemap {
  const [userWish = '', groupWish, ...rest] = wish.split(':');
  if (userWish === '' || groupWish === '' || rest.length > 0) {
    throw invalidArgument(`invalid value for --userns-remap: "${wish}". Use user, or user:group`);
  }
  const user = userWish === 'default' ? DEFAULT_USER : userWish;
  const group = groupWish ?? user;
  return {
    uids: rangesOf(user, namesOf(user, files.passwd), files.subuid, 'subuid'),
    gids: rangesOf(group, namesOf(group, files.group), files.subgid, 'subgid'),
  };
}

/** A name and its number, whichever was given. */
function namesOf(wish: string, accounts: string): readonly string[] {
  for (const line of accounts.split('\n')) {
    const [name = '', , id = ''] = line.split(':');
    if (name !== '' && (name === wish || id === wish)) return [name, id];
  }
  return [wish];
}

function rangesOf(
  wish: string,
  names: readonly string[],
  text: string,
  file: 'subuid' | 'subgid',
): readonly IdRange[] {
  const ranges = text.split('\n').flatMap((line) => {
    const [, name = '', start, count] = /^([^:#]+):(\d+):(\d+)\s*$/.exec(line) ?? [];
    if (!names.includes(name)) return [];
    const range = { hostId: Number(start), size: Number(count) };
    return range.size > 0 && range.hostId + range.size <= 2 ** 32 - 1 ? [range] : [];
  });
  if (ranges.length === 0 || ranges.length > RANGES_MAX) {
    throw invalidArgument(
      `cannot remap users: /etc/${file} has no range for ${wish}. Add a line such as ${wish}:100000:65536`,
    );
  }
  return ranges;
}

/** The text of uid_map or gid_map. */
export function idMapText(ranges: readonly IdRange[]): string {
  return mappings(ranges)
    .map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`)
    .join('');
}

/** What uid_map and gid_map of a process say; undefined when its users are the host's. */
export function parseIdMaps(texts: {
  readonly uids: string;
  readonly gids: string;
}): UserRemap | undefined {
  const ranges = (text: string): IdRange[] =>
    text
      .trim()
      .split('\n')
      .map((line) => line.trim().split(/\s+/).map(Number))
      .map(([, hostId = 0, size = 0]) => ({ hostId, size }));
  const uids = ranges(texts.uids);
  if (uids[0]?.hostId === 0) return undefined;
  return { uids, gids: ranges(texts.gids) };
}

/** As the runtime takes them. */
export function mappings(
  ranges: readonly IdRange[],
): { containerID: number; hostID: number; size: number }[] {
  let containerID = 0;
  return ranges.map(({ hostId, size }) => {
    const mapping = { containerID, hostID: hostId, size };
    containerID += size;
    return mapping;
  });
}

/** The ID of the host that a container's is; undefined when it has none. */
export function toHostId(ranges: readonly IdRange[], id: number): number | undefined {
  const found = mappings(ranges).find(
    ({ containerID, size }) => id >= containerID && id < containerID + size,
  );
  return found === undefined ? undefined : found.hostID + id - found.containerID;
}

/** Who is root of the containers, on the host. */
export function rootOf({ uids, gids }: UserRemap): { readonly uid: number; readonly gid: number } {
  return { uid: uids[0]?.hostId ?? 0, gid: gids[0]?.hostId ?? 0 };
}

/** The ID in the container that one of the host is; the kernel's overflow ID for others. */
export function toContainerId(ranges: readonly IdRange[], id: number): number {
  const found = mappings(ranges).find(({ hostID, size }) => id >= hostID && id < hostID + size);
  return found === undefined ? 65_534 : found.containerID + id - found.hostID;
}
