import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitDevice } from './device-number.ts';

test('a device number has its major in the middle of its minor', () => {
  assert.deepEqual(splitDevice(0x103), { major: 1, minor: 3 });
  assert.deepEqual(splitDevice(0xfff_ff), { major: 0xfff, minor: 0xff });
  assert.deepEqual(splitDevice(0x1_000_00), { major: 0, minor: 0x100 });
  assert.deepEqual(splitDevice(0xabc_123_45), { major: 0x123, minor: 0xabc45 });
});
