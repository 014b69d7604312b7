import { invalidArgument } from '../../base/errors.ts';
import type { AccountFiles } from '../user-spec.ts';

/**
 * Whom `--chown` of COPY and ADD means: numbers, or names of the image's own /etc/passwd and
 * /etc/group. Without a group it is the one that is called as the user is. Source: Dockerfile
 * reference, "COPY --chown"; texts of moby `builder/dockerfile/internals_linux.go`.
 * @throws invalidArgument for a name that is not there
 */
export function copyOwner(
  spec: string,
  files: AccountFiles,
): { readonly uid: number; readonly gid: number } {
  const [user = '', group = user, ...more] = spec.split(':');
  if (user === '' || group === '' || more.length > 0) {
    throw invalidArgument(
      `unable to convert uid/gid chown string to host mapping: invalid chown string ${JSON.stringify(spec)}`,
    );
  }
  return {
    uid: idOf('user', user, files.passwd),
    gid: idOf('group', group, files.group),
  };
}

const ID_MAX = 2 ** 32 - 2;

function idOf(what: 'user' | 'group', text: string, file: string): number {
  if (/^\d{1,10}$/.test(text) && Number(text) <= ID_MAX) return Number(text);
  for (const line of file.split('\n')) {
    const [name, , id = ''] = line.trim().split(':');
    if (name === text && /^\d{1,10}$/.test(id)) return Number(id);
  }
  const short = what === 'user' ? 'uid' : 'gid';
  throw invalidArgument(
    `unable to convert uid/gid chown string to host mapping: can't find ${short} for ${what} ${text}: no such ${what}: ${text}`,
  );
}
