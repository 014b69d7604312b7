import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';

const folder = mkdtempSync(path.join(tmpdir(), 'coracle-init-'));
const init = path.join(folder, 'init');
const source = path.join(import.meta.dirname, '../../native/init.c');
const flags = ['-std=c11', '-O1', '-Wall', '-Wextra', '-Werror'];
execFileSync('cc', [...flags, '-fsanitize=address,undefined', '-o', init, source]);
after(() => rmSync(folder, { recursive: true }));

/** Runs the init as process 1 of a pid namespace. */
const asPid1 = (...command: string[]): string[] => ['-fp', '--mount-proc', init, '--', ...command];

test('it exits as its child did', () => {
  const code = (...command: string[]) => spawnSync(init, ['--', ...command]).status;
  assert.equal(code('true'), 0);
  assert.equal(code('sh', '-c', 'exit 7'), 7);
  assert.equal(code('sh', '-c', 'kill -TERM $$'), 143);
  assert.equal(code('/nonexistent'), 127);
  assert.equal(code('/etc/passwd'), 126);
  assert.equal(spawnSync(init, []).status, 125);
});

test('a signal reaches the child although process 1 has no handler', async () => {
  const script = 'trap "echo got; exit 3" TERM; echo ready; while :; do sleep 0.05; done';
  const child = spawn('unshare', asPid1('sh', '-c', script));
  await once(child.stdout, 'data');
  const children = `/proc/${child.pid}/task/${child.pid}/children`;
  process.kill(Number(readFileSync(children, 'utf8').trim()), 'SIGTERM');
  const [code] = await once(child, 'exit');
  assert.equal(code, 3);
});

test('orphans leave no zombies', async () => {
  const orphans =
    'for i in 1 2 3 4 5; do (sh -c "sleep 0.05" &) ; done; sleep 0.4; ps -eo stat | grep -c Z';
  const result = spawnSync('unshare', asPid1('sh', '-c', orphans), { encoding: 'utf8' });
  assert.equal(result.stdout.trim(), '0', result.stderr);
});
