import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temp.ts';
import { type Cgroups, cgroupPids, isFrozen } from './cgroup.ts';

const cgroupsAt = (root: string, version: 1 | 2, mount: string | undefined): Cgroups => ({
  version,
  hierarchies: [root],
  mountOf: () => mount,
});

test('the processes of a cgroup are those below it too, and none that is not seen from here', () => {
  using root = temporaryFolder('cgroup');
  mkdirSync(path.join(root.path, 'c', 'below'), { recursive: true });
  writeFileSync(path.join(root.path, 'c', 'cgroup.procs'), '17\n0\n');
  writeFileSync(path.join(root.path, 'c', 'below', 'cgroup.procs'), '4\n');
  const cgroups = cgroupsAt(root.path, 1, root.path);
  assert.deepEqual(cgroupPids(cgroups, 'c'), [17, 4]);
  assert.deepEqual(cgroupPids(cgroups, 'gone'), []);
});

test('a cgroup is frozen when its freezer says so, and never without one', () => {
  using root = temporaryFolder('cgroup');
  const group = path.join(root.path, 'c');
  mkdirSync(group);
  const cgroups = (version: 1 | 2, mount: string | undefined): Cgroups =>
    cgroupsAt(root.path, version, mount);
  for (const [state, frozen] of [
    ['FROZEN', true],
    ['FREEZING', true],
    ['THAWED', false],
  ] as const) {
    writeFileSync(path.join(group, 'freezer.state'), `${state}\n`);
    assert.equal(isFrozen(cgroups(1, root.path), 'c'), frozen, state);
  }
  for (const frozen of [true, false]) {
    writeFileSync(path.join(group, 'cgroup.events'), `populated 1\nfrozen ${Number(frozen)}\n`);
    assert.equal(isFrozen(cgroups(2, root.path), 'c'), frozen);
  }
  assert.equal(isFrozen(cgroups(1, undefined), 'c'), false);
  assert.equal(isFrozen(cgroups(1, root.path), 'gone'), false);
});
