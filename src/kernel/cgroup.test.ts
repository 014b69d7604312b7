import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temp.ts';
import { type Cgroups, isFrozen } from './cgroup.ts';

test('a cgroup is frozen when its freezer says so, and never without one', () => {
  using root = temporaryFolder('cgroup');
  const group = path.join(root.path, 'c');
  mkdirSync(group);
  const cgroups = (version: 1 | 2, mount: string | undefined): Cgroups => ({
    version,
    hierarchies: [root.path],
    mountOf: () => mount,
  });
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
