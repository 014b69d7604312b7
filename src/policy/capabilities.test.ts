import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  CAPABILITIES,
  capabilitiesOfMask,
  containerCapabilities,
  DEFAULT_CAPABILITIES,
} from './capabilities.ts';

const given = { add: [], drop: [], privileged: false, available: CAPABILITIES };

test('the mask of /proc names its bits', () => {
  assert.deepEqual(capabilitiesOfMask('00000000a80425fb').sort(), [...DEFAULT_CAPABILITIES].sort());
  assert.deepEqual(capabilitiesOfMask('0'), []);
  assert.equal(capabilitiesOfMask('000001ffffffffff').length, CAPABILITIES.length);
});

test('add and drop, in every spelling', () => {
  const of = (wish: object): string[] => containerCapabilities({ ...given, ...wish });
  assert.deepEqual(of({}), DEFAULT_CAPABILITIES);
  assert.deepEqual(of({ drop: ['all'] }), []);
  assert.deepEqual(of({ drop: ['ALL'], add: ['net_admin'] }), ['CAP_NET_ADMIN']);
  assert.deepEqual(of({ add: ['ALL'], drop: ['CAP_CHOWN'] }), CAPABILITIES.slice(1));
  assert.ok(of({ add: ['cap_bpf'] }).includes('CAP_BPF'));
  assert.ok(!of({ drop: ['mknod'] }).includes('CAP_MKNOD'));
  assert.deepEqual(of({ privileged: true }), CAPABILITIES);
  assert.throws(() => of({ add: ['CAP_NOPE'] }), /invalid capability: "CAP_NOPE"/);
});

test('nothing is given that the daemon does not have', () => {
  const names = fc.subarray([...CAPABILITIES, 'ALL']);
  fc.assert(
    fc.property(
      names,
      names,
      fc.boolean(),
      fc.subarray([...CAPABILITIES]),
      (add, drop, privileged, available) => {
        const result = containerCapabilities({ add, drop, privileged, available });
        assert.ok(
          result.every((each) => available.includes(each as (typeof CAPABILITIES)[number])),
        );
        assert.equal(new Set(result).size, result.length);
      },
    ),
  );
});
