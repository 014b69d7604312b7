import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from '../base/errors.ts';
import { lookUpUser } from './user-spec.ts';

const files = {
  passwd:
    'root:x:0:0:root:/root:/bin/sh\n# no entry\nbad:x\nuser:x:1000:100::/home/user:/bin/sh\n77:x:78:79::/n:\n',
  group: 'root:x:0:\nusers:x:100:\nwheel:x:10:root,user\nextra:x:2000:user\n',
};
const NOTHING = { passwd: '', group: '' };

test('names, numbers and groups are looked up in the container', () => {
  const of = (spec: string, add: string[] = []) => lookUpUser(spec, add, files);
  assert.deepEqual(of(''), { uid: 0, gid: 0, additionalGids: [0, 10], home: '/root' });
  assert.deepEqual(of('user'), {
    uid: 1000,
    gid: 100,
    additionalGids: [100, 10, 2000],
    home: '/home/user',
  });
  assert.deepEqual(of('1000'), of('user'));
  assert.deepEqual(of('user:wheel'), {
    uid: 1000,
    gid: 10,
    additionalGids: [10],
    home: '/home/user',
  });
  assert.deepEqual(of('4242:55'), { uid: 4242, gid: 55, additionalGids: [55], home: '/' });
  assert.deepEqual(of('77').uid, 78, 'a name of digits comes before the number');
  assert.deepEqual(of('user', ['extra', '9']).additionalGids, [100, 10, 2000, 9]);
  assert.deepEqual(lookUpUser('0', [], NOTHING), {
    uid: 0,
    gid: 0,
    additionalGids: [0],
    home: '/',
  });
});

test('what is not there is said in words that clients know', () => {
  assert.throws(() => lookUpUser('nobody', [], files), {
    message: 'unable to find user nobody: no matching entries in passwd file',
  });
  assert.throws(() => lookUpUser('user:none', [], files), {
    message: 'unable to find group none: no matching entries in group file',
  });
  assert.throws(() => lookUpUser('', ['none'], files), { message: 'Unable to find group none' });
  assert.throws(() => lookUpUser('4294967296', [], files), {
    message: 'uids and gids must be in range 0-2147483647',
  });
});

test('no file of an image makes a number out of range', () => {
  const line = fc.oneof(
    fc.string(),
    fc.constantFrom('root:x:-1:5::/:', 'root:x:9999999999:0::/:', 'a:b:1e3:0::/:'),
  );
  fc.assert(
    fc.property(fc.array(line), fc.array(line), fc.string(), (passwd, group, spec) => {
      try {
        const user = lookUpUser(spec, [], { passwd: passwd.join('\n'), group: group.join('\n') });
        for (const id of [user.uid, user.gid])
          assert.ok(Number.isInteger(id) && id >= 0 && id < 2 ** 31);
      } catch (error) {
        assert.ok(error instanceof EngineError);
      }
    }),
  );
});
