import assert from 'node:assert/strict';
import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { errnoOf } from '../base/errors.ts';
import { O_PATH, RESOLVE, S, SOCK } from './constants.ts';
import { openSyscalls } from './ffi.ts';
import { CWD } from './syscalls.ts';

const sys = openSyscalls();
const root = mkdtempSync(path.join(tmpdir(), 'coracle-ffi-'));
after(() => rmSync(root, { recursive: true, force: true }));

test('a failed call names the syscall, the path and the errno', () => {
  assert.throws(
    () => sys.umount(path.join(root, 'absent')),
    (error) => errnoOf(error) === 'ENOENT' && /umount .*absent: no such file/.test(String(error)),
  );
});

test('openat2 keeps a symlink that points out of the tree inside it', () => {
  symlinkSync('/etc', path.join(root, 'escape'));
  const dir = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  assert.throws(
    () => sys.openat2(dir, 'escape/passwd', { flags: O_PATH, resolve: RESOLVE.IN_ROOT }),
    (error) => errnoOf(error) === 'ENOENT',
  );
  assert.throws(
    () => sys.openat2(dir, 'escape/passwd', { flags: O_PATH, resolve: RESOLVE.BENEATH }),
    (error) => errnoOf(error) === 'EXDEV',
  );
  closeSync(dir);
});

test('times keep their nanoseconds, before 1970 too', () => {
  const file = path.join(root, 'times');
  writeFileSync(file, 'x');
  sys.utimensat(CWD, file, { sec: 1, nsec: 2 }, { sec: 1_700_000_000, nsec: 123_456_789 });
  assert.equal(statSync(file, { bigint: true }).mtimeNs, 1_700_000_000_123_456_789n);
  sys.utimensat(CWD, file, { sec: 1, nsec: 2 }, { sec: -2, nsec: 500 });
  assert.equal(statSync(file, { bigint: true }).mtimeNs, -2_000_000_000n + 500n);
});

test('xattrs are set, listed, read and removed; an absent one is undefined', () => {
  const file = path.join(root, 'xattr');
  writeFileSync(file, 'x');
  sys.lsetxattr(file, 'trusted.test', Buffer.from([0, 1, 255]));
  assert.deepEqual(sys.llistxattr(file), ['trusted.test']);
  assert.deepEqual([...(sys.lgetxattr(file, 'trusted.test') ?? [])], [0, 1, 255]);
  const long = Buffer.alloc(2000, 7);
  sys.lsetxattr(file, 'trusted.test', long);
  assert.deepEqual(Buffer.from(sys.lgetxattr(file, 'trusted.test') ?? []), long);
  sys.lremovexattr(file, 'trusted.test');
  assert.equal(sys.lgetxattr(file, 'trusted.test'), undefined);
});

test('a device node gets its numbers', () => {
  const before = process.umask(0);
  sys.mknodat(CWD, path.join(root, 'null'), S.IFCHR | 0o666, { major: 1, minor: 300 });
  process.umask(before);
  const { rdev } = statSync(path.join(root, 'null'));
  assert.equal(((rdev >>> 12) & 0xffffff00) | (rdev & 0xff), 300);
});

test('descriptors travel over a socket pair', () => {
  const [a, b] = sys.socketpair(SOCK.STREAM);
  const file = path.join(root, 'sent');
  writeFileSync(file, 'hello');
  const fd = openSync(file, 'r');
  sys.sendFds(a, Buffer.from('!'), [fd, fd]);
  const got = sys.recvFds(b, Buffer.alloc(8), 4);
  assert.equal(got.bytes, 1);
  assert.equal(got.fds.length, 2);
  assert.equal(readFileSync(got.fds[1] ?? -1, 'utf8'), 'hello');
  for (const each of [a, b, fd, ...got.fds]) closeSync(each);
});

test('the table of descriptors has room before it is needed, as far as is allowed', async () => {
  const tableSize = (): number => {
    const status = readFileSync('/proc/self/status', 'utf8');
    return Number(/^FDSize:\s+(\d+)/m.exec(status)?.[1]);
  };
  const fd = openSync(root, 'r');
  const before = tableSize();
  const open = readdirSync('/proc/self/fd').length;
  await sys.roomForDescriptors(fd, 2 * before);
  assert.ok(tableSize() >= 2 * before, `${before} before, ${tableSize()} now`);
  await sys.roomForDescriptors(fd, 2 ** 30);
  assert.equal(readdirSync('/proc/self/fd').length, open);
  closeSync(fd);
});
