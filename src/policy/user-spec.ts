import { invalidArgument } from '../base/errors.ts';

/**
 * Who a process in a container is: `--user` looked up in the container's own /etc/passwd and
 * /etc/group (passwd(5), group(5)). Texts: moby `sys/user`.
 */

/** Contents of the container's files; '' for a missing one. */
export type AccountFiles = { readonly passwd: string; readonly group: string };

export type ProcessUser = {
  readonly uid: number;
  readonly gid: number;
  /** The primary group included, no number twice. */
  readonly additionalGids: readonly number[];
  readonly home: string;
};

const ID_MAX = 2 ** 31 - 1;

type Account = { name: string; uid: number; gid: number; home: string };
type Group = { name: string; gid: number; members: string[] };

/** Lines that are no entries are skipped, as libc does. */
function parsePasswd(text: string): Account[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , uid, gid, , home = ''] = line.trim().split(':');
    const ids = { uid: idOf(uid ?? ''), gid: idOf(gid ?? '') };
    if (name === '' || ids.uid === undefined || ids.gid === undefined) return [];
    return [{ name, uid: ids.uid, gid: ids.gid, home }];
  });
}

function parseGroup(text: string): Group[] {
  return text.split('\n').flatMap((line) => {
    const [name = '', , number, members = ''] = line.trim().split(':');
    const gid = idOf(number ?? '');
    if (name === '' || gid === undefined) return [];
    return [{ name, gid, members: members.split(',').filter((each) => each !== '') }];
  });
}

/** The number of an ID's text; undefined when it is not all digits. */
function idOf(text: string): number | undefined {
  return /^-?\d+$/.test(text) ? Number(text) : undefined;
}

function checkRange(id: number): number {
  if (id < 0 || id > ID_MAX) {
    throw invalidArgument(`uids and gids must be in range 0-${ID_MAX}`);
  }
  return id;
}

/**
 * @param spec `''`, `user`, `uid`, `user:group`, `uid:gid` and mixtures
 * @param groupAdd names or numbers of `--group-add`
 * @throws invalidArgument for a name that the files do not have
 */
export function lookUpUser(
  spec: string,
  groupAdd: readonly string[],
  files: AccountFiles,
): ProcessUser {
  const colon = spec.indexOf(':');
  const userText = colon < 0 ? spec : spec.slice(0, colon);
  const groupText = colon < 0 ? '' : spec.slice(colon + 1);
  // Root needs no file when nothing is asked for by name.
  const isPlainRoot = (userText === '' || userText === '0') && files.passwd === '';
  const accounts = isPlainRoot ? [] : parsePasswd(files.passwd);
  const groups = parseGroup(files.group);
  const number = userText === '' ? 0 : idOf(userText);
  const account =
    accounts.find((each) => each.name === userText) ??
    (number === undefined ? undefined : accounts.find((each) => each.uid === number));
  if (account === undefined && number === undefined) {
    throw invalidArgument(`unable to find user ${userText}: no matching entries in passwd file`);
  }
  const uid = checkRange(account?.uid ?? number ?? 0);
  const gid = groupText === '' ? checkRange(account?.gid ?? 0) : findGroup(groupText, groups);
  const own =
    groupText === '' && account !== undefined
      ? groups.filter((each) => each.members.includes(account.name)).map((each) => each.gid)
      : [];
  const added = groupAdd.map((text) => findAdditionalGroup(text, groups));
  return {
    uid,
    gid,
    additionalGids: [...new Set([gid, ...own, ...added])],
    home: account?.home || '/',
  };
}

function findGroup(text: string, groups: readonly Group[]): number {
  const gid = groups.find((each) => each.name === text)?.gid ?? idOf(text);
  if (gid === undefined) {
    throw invalidArgument(`unable to find group ${text}: no matching entries in group file`);
  }
  return checkRange(gid);
}

function findAdditionalGroup(text: string, groups: readonly Group[]): number {
  const gid = groups.find((each) => each.name === text)?.gid ?? idOf(text);
  if (gid === undefined) throw invalidArgument(`Unable to find group ${text}`);
  return checkRange(gid);
}
