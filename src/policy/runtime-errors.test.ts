import assert from 'node:assert/strict';
import { test } from 'node:test';
import { explainStartFailure } from './runtime-errors.ts';

/** What crun 1.8 and runc 1.1 say, as recorded, and what a client is told. */
const RECORDED: readonly (readonly [string, string, string, number])[] = [
  [
    'executable file `nope` not found in $PATH: No such file or directory',
    'nope',
    'exec: "nope": executable file not found in $PATH',
    127,
  ],
  [
    'unable to start container process: exec: "nope": executable file not found in $PATH',
    'nope',
    'exec: "nope": executable file not found in $PATH',
    127,
  ],
  [
    'executable file `/nope` not found in $PATH: No such file or directory',
    '/nope',
    'exec: "/nope": stat /nope: no such file or directory',
    127,
  ],
  [
    'unable to start container process: exec: "/nope": stat /nope: no such file or directory',
    '/nope',
    'exec: "/nope": stat /nope: no such file or directory',
    127,
  ],
  ['open executable: Permission denied', '/etc/x', 'exec: "/etc/x": permission denied', 126],
  ['open executable: Operation not permitted', '/tmp', 'exec: "/tmp": permission denied', 126],
  [
    'unable to start container process: exec: "/tmp": permission denied',
    '/tmp',
    'exec: "/tmp": permission denied',
    126,
  ],
  [
    'exec container process `/bin/x`: Exec format error',
    '/bin/x',
    'exec: "/bin/x": exec format error',
    126,
  ],
];

for (const [said, command, told, exitCode] of RECORDED) {
  test(`${said} → ${exitCode}`, () => {
    assert.deepEqual(explainStartFailure(said, command), {
      message: `unable to start container process: ${told}`,
      exitCode,
      isRefusal: true,
    });
  });
}

test('what is not about the command keeps its words', () => {
  const said = 'error mounting "/x" to rootfs at "/y": not a directory';
  assert.deepEqual(explainStartFailure(said, 'sh'), {
    message: said,
    exitCode: 128,
    isRefusal: false,
  });
  assert.equal(
    explainStartFailure('mount `/a` to `b`: No such file or directory', 'sh').exitCode,
    127,
  );
});

test('a command with the characters of a pattern is taken as it is', () => {
  assert.equal(
    explainStartFailure('executable file `a(*` not found in $PATH', 'a(*').exitCode,
    127,
  );
});

test('a value that the host does not take is a refusal, what is broken is not', () => {
  const isRefusal = (text: string): boolean => explainStartFailure(text, 'sh').isRefusal;
  assert.ok(isRefusal('executable file `sh` not found in $PATH'));
  assert.ok(isRefusal('writing file `cpu.cfs_quota_us`: Numerical result out of range'));
  assert.ok(isRefusal('the sysctl `a.b` is not namespaced'));
  assert.ok(!isRefusal('writing file `cpu.cfs_quota_us`: Input/output error'));
  assert.ok(!isRefusal('the runtime exited with 1'));
});
