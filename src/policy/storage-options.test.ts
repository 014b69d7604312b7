import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseContainerSize, parseStorageOptions } from './storage-options.ts';

test('the daemon’s options are overlay2’s', () => {
  assert.deepEqual(parseStorageOptions([]), { sizeBytes: 0, syncDiffs: true });
  assert.deepEqual(
    parseStorageOptions(['overlay2.size=10G', 'Overlay2.sync_diffs=false', 'overlay2.size=1.5m']),
    { sizeBytes: 1.5 * 2 ** 20, syncDiffs: false },
  );
  for (const [word, text] of [
    ['size', /^unable to parse storage-opt: "size"$/],
    ['dm.basesize=1G', /^overlay2: unknown option dm\.basesize$/],
    ['overlay2.size=much', /^invalid size: 'much'$/],
    ['overlay2.sync_diffs=maybe', /parsing "maybe": invalid syntax$/],
  ] as const) {
    assert.throws(() => parseStorageOptions([word]), { message: text });
  }
});

test('a container’s size is its own, or the daemon’s', () => {
  assert.equal(parseContainerSize({}), undefined);
  assert.equal(parseContainerSize({ size: '64k' }), 65_536);
  assert.throws(() => parseContainerSize({ inodes: '5' }), { message: /^Unknown option inodes$/ });
  assert.throws(() => parseContainerSize({ size: '99999999P' }), { message: /^invalid size/ });
});
