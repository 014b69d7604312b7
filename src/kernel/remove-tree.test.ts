import assert from 'node:assert/strict';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { errnoOf } from '../base/errors.ts';
import { openSyscalls } from './ffi.ts';
import { removeTree } from './remove-tree.ts';

const sys = openSyscalls();

/** With the library, and where it cannot be loaded. */
const WAYS = [{ isPortable: false }, { isPortable: true }];

for (const way of WAYS) {
  const how = way.isPortable ? 'in JavaScript' : 'by the library';
  test(`a tree deeper than a path can be goes ${how}, and what its symlinks lead to stays`, async () => {
    await removesDeepTree(way);
  });
  test(`a file and a symlink go themselves ${how}, nothing is fine, an abort removes nothing`, async () => {
    await removesThemselves(way);
  });
}

async function removesDeepTree(way: { isPortable: boolean }): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-remove-'));
  const start = process.cwd();
  try {
    writeFileSync(path.join(folder, 'kept'), '');
    mkdirSync(path.join(folder, 'tree/.removed-0/x'), { recursive: true });
    process.chdir(path.join(folder, 'tree'));
    for (let depth = 0; depth < 100; depth += 1) {
      const name = 'd'.repeat(100);
      mkdirSync(name);
      symlinkSync(folder, `link-${depth}`);
      writeFileSync(Buffer.from('caf\xe9', 'latin1'), '');
      process.chdir(name);
    }
    process.chdir(start);
    await removeTree(sys, path.join(folder, 'tree'), way);
    assert.deepEqual(readdirSync(folder), ['kept']);
  } finally {
    process.chdir(start);
    rmSync(folder, { recursive: true, force: true });
  }
}

async function removesThemselves(way: { isPortable: boolean }): Promise<void> {
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-remove-'));
  try {
    const at = (name: string): string => path.join(folder, name);
    writeFileSync(at('file'), '');
    symlinkSync(folder, at('link'));
    for (const name of ['file', 'link', 'absent']) await removeTree(sys, at(name), way);
    assert.deepEqual(readdirSync(folder), []);

    mkdirSync(at('many/1'), { recursive: true });
    const signal = AbortSignal.abort(new Error('stop'));
    await assert.rejects(removeTree(sys, at('many'), { ...way, signal }), /stop/);
    assert.ok(existsSync(at('many/1')));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

test('the library removes in slices, and stops between two', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-remove-'));
  try {
    const tree = path.join(folder, 'tree');
    for (let i = 0; i < 20; i += 1) {
      mkdirSync(path.join(tree, String(i)), { recursive: true });
      for (let j = 0; j < 50; j += 1) writeFileSync(path.join(tree, String(i), String(j)), 'x');
    }
    const stop = new AbortController();
    const removal = removeTree(sys, tree, { signal: stop.signal });
    stop.abort(new Error('stop'));
    await assert.rejects(removal, /stop/);
    const left = readdirSync(tree, { recursive: true }).length;
    assert.ok(left > 0 && left < 1020, `${left} of 1,020 names are left`);
    await removeTree(sys, tree);
    assert.deepEqual(readdirSync(folder), []);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

test('what the library cannot remove is told of as ever', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-remove-'));
  const tree = path.join(folder, 'tree');
  mkdirSync(path.join(tree, 'mounted'), { recursive: true });
  sys.mount({ source: 'none', target: path.join(tree, 'mounted'), type: 'tmpfs' });
  try {
    await assert.rejects(removeTree(sys, tree), (error) => errnoOf(error) === 'EBUSY');
    assert.deepEqual(readdirSync(tree), ['mounted']);
  } finally {
    sys.umount(path.join(tree, 'mounted'), 0);
    rmSync(folder, { recursive: true, force: true });
  }
});
