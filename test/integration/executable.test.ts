import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { openBox } from '../support/box.ts';
import { clientCommand } from '../support/daemon.ts';
import { run, runOk } from '../support/processes.ts';
import { CHECKOUT } from '../support/tools.ts';

/** `dist/coracle`, the single executable: one file that is everything, wherever it lies. */

before(async () => {
  if (process.env['CORACLE']) return; // the one under test
  await runOk(path.join(CHECKOUT, 'script/build'), []);
  process.env['CORACLE'] = 'dist/coracle';
});

test('it is client and daemon, by its name or its first word', async () => {
  const executable = clientCommand();
  const version = /^Coracle version \S+, build \S+\n$/;
  assert.match(await runOk(executable, ['--version']), version);
  assert.match(await runOk(executable, ['daemon', '--version']), version);
  assert.match(await runOk(`${path.dirname(executable)}/coracled`, ['--version']), version);
  const refused = await run(executable, ['daemon', '--no-such-flag']);
  assert.equal(refused.code, 1);
  assert.match(refused.stderr, /unknown flag: --no-such-flag/);
});

test('it pulls, runs, execs and saves with what it carries, two of it at once', async () => {
  await Promise.all(
    [0, 1].map(async () => {
      await using box = await openBox();
      const said = await box.sh('echo in $$', { HostConfig: { Init: true } });
      assert.match(said, /^in [2-9]\n$/, 'below an init');
      const id = await box.up({ Cmd: ['sleep', '100'] });
      assert.equal((await box.exec(id, 'echo', 'exec')).output, 'exec\n');
      const client = (...args: string[]) => run(clientCommand(), ['-H', box.daemon.host, ...args]);
      assert.equal((await client('image', 'verify', box.image)).code, 0);
      assert.match((await client('ps', '--format', '{{.Image}}')).stdout, /test\/box:v1/);
    }),
  );
});

test('it runs from a read-only disk where no program may be run from /run, /dev/shm or /tmp', async () => {
  const data = mkdtempSync(path.join(CHECKOUT, 'build/executable-data-'));
  try {
    const script = `
      for each in /run /dev/shm /tmp; do
        mount --bind $each $each && mount -o remount,bind,noexec $each || exit 1
      done
      dist=${path.dirname(clientCommand())}
      mount --bind "$dist" "$dist" && mount -o remount,bind,ro "$dist" && exec "$@"`;
    const wrapper = ['unshare', '--mount', 'sh', '-c', script, 'sh'];
    await using box = await openBox({ dataRoot: path.join(data, 'root'), wrapper });
    assert.equal(await box.sh('echo hardened'), 'hardened\n');
  } finally {
    rmSync(data, { recursive: true });
  }
});
