import assert from 'node:assert/strict';
import { test } from 'node:test';
import { idMapText, parseIdMaps, planRemap, toContainerId, toHostId } from './user-remap.ts';

const files = {
  passwd: 'root:x:0:0::/:/bin/sh\nmapped:x:1001:1001::/:/bin/sh\n',
  group: 'root:x:0:\nmapped:x:1002:\nothers:x:1003:\n',
  subuid: '# comment\ndockremap:100000:65536\nmapped:200000:10\n1001:300000:5\nbad:1\n',
  subgid: 'dockremap:110000:65536\nmapped:210000:10\n1003:310000:7\n',
};

test('ranges come from /etc/subuid and /etc/subgid, by name or by number', () => {
  assert.deepEqual(planRemap('default', files), {
    uids: [{ hostId: 100_000, size: 65_536 }],
    gids: [{ hostId: 110_000, size: 65_536 }],
  });
  const uids = [
    { hostId: 200_000, size: 10 },
    { hostId: 300_000, size: 5 },
  ];
  assert.deepEqual(planRemap('mapped', files).uids, uids);
  assert.deepEqual(planRemap('1001:others', files), {
    uids,
    gids: [{ hostId: 310_000, size: 7 }],
  });
  assert.equal(idMapText(uids), '0 200000 10\n10 300000 5\n');
});

test('what is missing is said with the line that is to be added', () => {
  assert.throws(() => planRemap('nobody', files), {
    message:
      'cannot remap users: /etc/subuid has no range for nobody. Add a line such as nobody:100000:65536',
  });
  for (const bad of ['', ':', 'a:', 'a:b:c']) {
    assert.throws(() => planRemap(bad, files), /invalid value for --userns-remap/);
  }
});

test('the maps of a process say its users, unless they are the host’s', () => {
  const users = planRemap('mapped', files);
  const texts = { uids: idMapText(users.uids), gids: idMapText(users.gids) };
  assert.deepEqual(parseIdMaps(texts), users);
  const host = '         0          0 4294967295\n';
  assert.equal(parseIdMaps({ uids: host, gids: host }), undefined);
});

test('IDs are translated both ways', () => {
  const { uids } = planRemap('mapped', files);
  assert.deepEqual(
    [0, 9, 10, 14, 15].map((id) => toHostId(uids, id)),
    [200_000, 200_009, 300_000, 300_004, undefined],
  );
  assert.deepEqual(
    [200_000, 300_004, 0].map((id) => toContainerId(uids, id)),
    [0, 14, 65_534],
  );
});
