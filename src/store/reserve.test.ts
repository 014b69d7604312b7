import assert from 'node:assert/strict';
import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/temp.ts';
import { silentLogger } from '../base/log.ts';
import { openSyscalls } from '../kernel/ffi.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { freeReserve, keepReserve } from './reserve.ts';

function failing(code: string): Syscalls {
  const fallocate = (): void => {
    throw Object.assign(new Error(`fallocate: ${code}`), { code });
  };
  return { ...openSyscalls(), fallocate };
}

test('room is set aside without a byte written, and given back', () => {
  using folder = temporaryFolder('reserve');
  const database = path.join(folder.path, 'db');
  keepReserve({ sys: openSyscalls(), log: silentLogger }, database);
  const { size, blocks } = statSync(`${database}-reserve`);
  assert.equal(size, 0);
  assert(blocks * 512 >= 1 << 20, `${blocks} blocks`);
  freeReserve(database);
  assert(!existsSync(`${database}-reserve`));
});

test('whatever the filesystem says, it keeps nobody from going on', () => {
  using folder = temporaryFolder('reserve');
  const database = path.join(folder.path, 'db');
  for (const [code, warnings] of Object.entries({ EOPNOTSUPP: 0, ENOSPC: 0, EIO: 1, EINTR: 1 })) {
    const said: string[] = [];
    const log = { ...silentLogger, warn: (message: string) => void said.push(message) };
    keepReserve({ sys: failing(code), log }, database);
    assert.equal(said.length, warnings, code);
  }
});
