import assert from 'node:assert/strict';
import { statSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temp.ts';
import { makeFolders } from './make-folders.ts';

test('folders are made with those above them, and once more does no harm', () => {
  using folder = temporaryFolder('make-folders');
  const deep = path.join(folder.path, 'a/b/c');
  makeFolders(deep, 0o711);
  makeFolders(deep, 0o700);
  assert.equal(statSync(path.dirname(deep)).mode & 0o777, 0o711);
  assert.equal(statSync(deep).mode & 0o777, 0o711);
});

test('where no folder can be made, it says so and ends', () => {
  using folder = temporaryFolder('make-folders');
  const at = (name: string): string => path.join(folder.path, name);
  writeFileSync(at('file'), '');
  symlinkSync('nowhere/at/all', at('link'));
  for (const [name, message] of [
    ['/proc/none', 'mkdir /proc/none: no such file or directory'],
    ['/proc/none/deeper', 'mkdir /proc/none: no such file or directory'],
    [at('file'), `mkdir ${at('file')}: not a directory`],
    [at('file/below'), `mkdir ${at('file/below')}: not a directory`],
    [at('link'), `mkdir ${at('link')}: not a directory`],
    [at('link/below'), `mkdir ${at('link')}: not a directory`],
  ] as const) {
    assert.throws(() => makeFolders(name), { message });
  }
});
