import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { daemonCommand, TestDaemon } from '../support/daemon.ts';
import { run } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/** Starts that cannot be, and what they leave; names of files that are relative. */

const [command, ...leading] = daemonCommand();

/** Starts a daemon that has to refuse, in a folder; its flags come before `flags`. */
async function refused(folder: string, ...flags: string[]): Promise<string> {
  const execRoot = path.join(folder, 'exec');
  const roots = ['--data-root', path.join(folder, 'data'), '--exec-root', execRoot];
  const rest = ['--pidfile', '', '--bridge', 'none', '--config-file', 'daemon.json'];
  const listen = ['--host', `unix://${path.join(folder, 'first.sock')}`];
  const args = [...leading, ...roots, ...rest, ...listen, ...flags];
  writeFileSync(path.join(folder, 'daemon.json'), '{}');
  const { code, stderr } = await run(command, args, { cwd: folder, timeoutMs: 20_000 });
  assert.equal(code, 1, `${flags.join(' ')}: ${stderr}`);
  const left = readFileSync('/proc/self/mountinfo', 'utf8');
  assert.ok(!left.includes(execRoot), `${flags.join(' ')} left a mount`);
  assert.ok(!existsSync(path.join(folder, 'first.sock')), `${flags.join(' ')} left a socket`);
  // Lines of the log may come first: the sentence is the last.
  return stderr.trimEnd().split('\n').at(-1) ?? '';
}

test('a start that fails is one sentence, and leaves neither mount nor socket', async () => {
  using folder = temporaryFolder('start');
  const at = (name: string): string => path.join(folder.path, name);
  writeFileSync(at('file'), 'neither a folder nor a profile');
  const open = 'no such file or directory';
  for (const [flag, sentence] of [
    ['--data-root=/proc/none', `cannot use the data root /proc/none: mkdir /proc/none: ${open}`],
    [
      '--exec-root=/proc/none/a',
      `cannot use the exec root /proc/none/a: mkdir /proc/none: ${open}`,
    ],
    ['--pidfile=/proc/none/pid', `mkdir /proc/none: ${open}`],
    [
      `--pidfile=${at('data')}`,
      `cannot write ${at('data')}: EISDIR: illegal operation on a directory, open '${at('data')}'`,
    ],
    [
      '--host=unix:///proc/none/api.sock',
      `cannot listen on unix:///proc/none/api.sock: mkdir /proc/none: ${open}`,
    ],
    [
      `--host=unix://${at('file')}`,
      `cannot listen on unix://${at('file')}: a file that is no socket is there`,
    ],
    [
      '--log-driver=nope',
      "failed to set log opts: logger: no log driver named 'nope' is registered",
    ],
    ['--log-opt=foo=bar', "failed to set log opts: unknown log opt 'foo' for json-file log driver"],
    ['--seccomp-profile=none', `opening seccomp profile (none) failed: ${open}`],
    [`--tlsverify=1`, `cannot read the certificate of TLS: open ${at('cert.pem')}: ${open}`],
  ] as const) {
    const files = ['cert', 'key', 'cacert'].map((name) => `--tls${name}=${at(`${name}.pem`)}`);
    const flags = flag.startsWith('--tls') ? [...files, flag] : [flag];
    assert.equal(await refused(folder.path, ...flags), sentence);
  }
  assert.match(await refused(folder.path, '--seccomp-profile=file'), /^opening seccomp profile/);
});

test('files of the command line are relative to where it is started', async () => {
  using folder = temporaryFolder('start');
  writeFileSync(path.join(folder.path, 'mine.json'), '{"labels": ["from=here"]}');
  writeFileSync(path.join(folder.path, 'profile.json'), '{"defaultAction": "SCMP_ACT_ALLOW"}');
  await using daemon = new TestDaemon({
    flags: ['--config-file', 'mine.json', '--seccomp-profile', 'profile.json'],
    wrapper: ['env', '-C', folder.path],
  });
  await daemon.start();
  const info = (await daemon.json('GET', '/info')) as Record<
    'Labels' | 'SecurityOptions',
    string[]
  >;
  assert.deepEqual(info.Labels, ['from=here']);
  const profile = path.join(folder.path, 'profile.json');
  assert.ok(info.SecurityOptions.includes(`name=seccomp,profile=${profile}`));
});
