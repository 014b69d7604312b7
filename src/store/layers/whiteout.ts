import { closeSync, constants } from 'node:fs';
import { errnoOf } from '../../base/errors.ts';
import { O_CLOEXEC, S } from '../../kernel/constants.ts';
import type { PathArg, Syscalls } from '../../kernel/syscalls.ts';

/**
 * How a layer's folder says that it hides a name of the layers below: by a character device 0:0, as
 * overlayfs wants it. On a data root that lies on an overlay itself (an engine in a container) that
 * cannot be made; no overlay can be mounted there either, so only we read it: an empty file without
 * permissions and with an attribute of ours, which no layer can bring.
 */
const STAND_IN = 'trusted.coracle.whiteout';

/** Hides `name` in an open directory. @throws EEXIST when the name is taken */
export function makeWhiteout(sys: Syscalls, dirFd: number, name: PathArg): void {
  try {
    sys.mknodat(dirFd, name, S.IFCHR, { major: 0, minor: 0 });
  } catch (error) {
    if (errnoOf(error) !== 'EPERM') throw error;
    const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | O_CLOEXEC;
    const fd = sys.openat2(dirFd, name, { flags, mode: 0 });
    try {
      sys.fsetxattr(fd, STAND_IN, Buffer.from('y'));
    } finally {
      closeSync(fd);
    }
  }
}

/** What lstat(2) says of a name; numbers or bigints. */
type Stats = {
  readonly rdev: number | bigint;
  readonly size: number | bigint;
  readonly mode: number | bigint;
  readonly isFile: () => boolean;
  readonly isCharacterDevice: () => boolean;
};

/** True for what hides a name. `place` is a path of it. */
export function isWhiteout(sys: Syscalls, place: PathArg, stats: Stats): boolean {
  if (stats.isCharacterDevice()) return Number(stats.rdev) === 0;
  const mayBe = stats.isFile() && Number(stats.size) === 0 && (Number(stats.mode) & 0o7777) === 0;
  return mayBe && sys.lgetxattr(place, STAND_IN) !== undefined;
}
