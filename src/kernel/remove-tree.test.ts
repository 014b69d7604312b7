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
import { openSyscalls } from './ffi.ts';
import { removeTree } from './remove-tree.ts';

const sys = openSyscalls();

test('a tree deeper than a path can be goes, and what its symlinks lead to stays', async () => {
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
    await removeTree(sys, path.join(folder, 'tree'));
    assert.deepEqual(readdirSync(folder), ['kept']);
  } finally {
    process.chdir(start);
    rmSync(folder, { recursive: true, force: true });
  }
});

test('a file and a symlink go themselves, nothing is fine, an aborted removal removes nothing', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-remove-'));
  try {
    const at = (name: string): string => path.join(folder, name);
    writeFileSync(at('file'), '');
    symlinkSync(folder, at('link'));
    for (const name of ['file', 'link', 'absent']) await removeTree(sys, at(name));
    assert.deepEqual(readdirSync(folder), []);

    mkdirSync(at('many/1'), { recursive: true });
    const signal = AbortSignal.abort(new Error('stop'));
    await assert.rejects(removeTree(sys, at('many'), { signal }), /stop/);
    assert.ok(existsSync(at('many/1')));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
