import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hasUml, runInUml } from '../support/uml.ts';

/** Containers and their limits on an older kernel, with control groups of version 2. */

const skip = hasUml ? false : 'only Debian for x86 has user-mode Linux';

test('limits, devices, stats and ends of containers on cgroup v2', { skip }, async () => {
  const files = ['host-config', 'container-stats', 'containers'].map(
    (name) => `test/integration/${name}.test.ts`,
  );
  const names = ['every limit', 'the container.s own', 'devices', 'OOM is told', 'pause holds'];
  const flags = ['--test', '--test-concurrency=1', '--disable-warning=ExperimentalWarning'];
  const patterns = names.map((name) => `--test-name-pattern='${name}'`);
  const said = await runInUml(
    `export TMPDIR=/tmp/ext4 HOME=/tmp
${process.execPath} ${[...flags, ...patterns, ...files].join(' ')} 2>&1`,
    200_000,
  );
  const count = (what: string): number =>
    Number(new RegExp(`^ℹ ${what} (\\d+)$`, 'm').exec(said)?.[1]);
  assert.deepEqual([count('fail'), count('cancelled')], [0, 0], said);
  assert.ok(count('pass') >= 9, said);
});
