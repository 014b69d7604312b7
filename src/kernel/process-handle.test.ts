import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { test } from 'node:test';
import { openSyscalls } from './ffi.ts';
import { holdNamespace, openProcess } from './process-handle.ts';

const sys = openSyscalls();

test('a held namespace stays the one of its process, whoever gets the number next', async () => {
  const child = spawn('unshare', ['--ipc', 'sleep', '100']);
  assert.ok(child.pid !== undefined);
  const handle = openProcess(sys, child.pid);
  const own = readlinkSync('/proc/self/ns/ipc');
  while (readlinkSync(`/proc/${child.pid}/ns/ipc`) === own) await new Promise(setImmediate);
  const its = readlinkSync(`/proc/${child.pid}/ns/ipc`);

  const held = holdNamespace(handle, 'ipc');
  assert.ok(held !== undefined);
  child.kill('SIGKILL');
  await once(child, 'exit');
  assert.equal(readlinkSync(held.path), its, 'also when the process has ended');
  assert.equal(holdNamespace(handle, 'ipc'), undefined, 'of one that has ended there is none');
  const reused = { ...handle, pid: process.pid };
  const before = readdirSync('/proc/self/fd').length;
  assert.equal(holdNamespace(reused, 'ipc'), undefined, 'nor is it another’s of the same number');
  assert.equal(readdirSync('/proc/self/fd').length, before);
  held[Symbol.dispose]();
  assert.ok(!existsSync(held.path));
  handle.close();
});
