import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from '../base/errors.ts';
import { hostConfig, mount as mountDecoder } from '../spec/docker/container.ts';
import { mountWishes, parseBind, parseMount, parseTmpfs, parseVolumesFrom } from './mounts.ts';

const fails = (body: () => unknown, text: string | RegExp): void => {
  assert.throws(body, (error) => {
    assert.ok(error instanceof EngineError && error.kind === 'invalidArgument', String(error));
    if (typeof text === 'string') assert.equal(error.message, text);
    else assert.match(error.message, text);
    return true;
  });
};

test('a bind has a host path, a volume a name, an anonymous volume neither', () => {
  const bind = parseBind('/srv/data:/data:ro,rslave', '');
  assert.equal(bind.type, 'bind');
  assert.deepEqual(
    [bind.source, bind.destination, bind.readWrite, bind.propagation, bind.createSource],
    ['/srv/data', '/data', false, 'rslave', true],
  );
  const named = parseBind('db:/var/lib/db', '');
  assert.deepEqual([named.type, named.name, named.copyUp], ['volume', 'db', true]);
  assert.equal(parseBind('db:/var/lib/db:nocopy', '').copyUp, false);
  const anonymous = parseBind('/cache/', '');
  assert.deepEqual(
    [anonymous.type, anonymous.name, anonymous.destination],
    ['volume', '', '/cache'],
  );
});

test('binds that mean nothing are refused in the words of Docker', () => {
  fails(() => parseBind('', ''), "invalid volume specification: ''");
  fails(() => parseBind(':/x', ''), "invalid volume specification: ':/x'");
  fails(() => parseBind('/a:/b:ro:x', ''), "invalid volume specification: '/a:/b:ro:x'");
  fails(() => parseBind('/a:ro', ''), "invalid volume specification: '/a:ro'");
  fails(() => parseBind('/a:/b:sideways', ''), 'invalid mode: sideways');
  fails(() => parseBind('/a:/b:ro,rw', ''), 'invalid mode: ro,rw');
  fails(() => parseBind('/a:/', ''), /destination can't be '\/'/);
  fails(() => parseBind('/a:b', ''), /invalid mount path: 'b' mount path must be absolute/);
  fails(() => parseBind('./here:/b', ''), /If you intended to pass a host directory, use absolute/);
  fails(() => parseBind('x:/b', ''), /volume name is too short/);
});

const mount = (value: object) => mountDecoder.decode(value, '');

test('--mount takes what its type has and refuses the rest', () => {
  const wish = parseMount(
    mount({ Type: 'bind', Source: '/a', Target: '/b', BindOptions: { NonRecursive: true } }),
  );
  assert.deepEqual(
    [wish.recursive, wish.propagation, wish.createSource],
    [false, 'rprivate', false],
  );
  fails(
    () => parseMount(mount({ Type: 'bind', Source: '/a', Target: '/b', VolumeOptions: {} })),
    'invalid mount config for type "bind": field VolumeOptions must not be specified',
  );
  fails(
    () => parseMount(mount({ Type: 'bind', Target: '/b' })),
    'invalid mount config for type "bind": field Source must not be empty',
  );
  fails(
    () => parseMount(mount({ Type: 'volume', Target: '/b', ReadOnly: true })),
    'invalid mount config for type "volume": must not set ReadOnly mode when using anonymous volumes',
  );
  fails(
    () =>
      parseMount(
        mount({ Type: 'volume', Source: 'v1', Target: '/b', VolumeOptions: { Subpath: '../x' } }),
      ),
    /subpath must be a relative path/,
  );
  fails(() => parseMount(mount({ Type: 'floppy', Target: '/b' })), /mount type unknown/);
});

test('a tmpfs keeps its size and mode and refuses unknown options', () => {
  const wish = parseMount(
    mount({ Type: 'tmpfs', Target: '/t', TmpfsOptions: { SizeBytes: 1024, Mode: 0o1770 } }),
  );
  assert.equal(wish.tmpfsOptions, 'mode=1770,size=1024');
  assert.equal(parseTmpfs('/run', 'rw,noexec,size=64m').tmpfsOptions, 'rw,noexec,size=64m');
  fails(() => parseTmpfs('/run', 'lowerdir=/'), 'invalid tmpfs option ["lowerdir=/"]');
});

test('two mounts at one place are refused; an image volume gives way', () => {
  const config = (value: object) => hostConfig.decode(value, '');
  fails(
    () => mountWishes({ hostConfig: config({ Binds: ['/a:/x', '/b:/x/'] }), anonymous: [] }),
    'Duplicate mount point: /x',
  );
  const wishes = mountWishes({ hostConfig: config({ Binds: ['/a:/x'] }), anonymous: ['/x', '/y'] });
  assert.deepEqual(
    wishes.map((wish) => [wish.type, wish.destination]),
    [
      ['bind', '/x'],
      ['volume', '/y'],
    ],
  );
});

test('volumes-from takes a mode', () => {
  assert.deepEqual(parseVolumesFrom('web'), { container: 'web', readWrite: undefined });
  assert.deepEqual(parseVolumesFrom('web:ro'), { container: 'web', readWrite: false });
  fails(() => parseVolumesFrom('web:rslave'), 'invalid mode: rslave');
});

test('whatever the text, a bind is one valid wish or one clear error', () => {
  const piece = fc.oneof(
    fc.constantFrom('/', '/a', 'vol', 'ro', 'rw', 'z', '..', '', ',', 'nocopy', 'rshared', '\0'),
    fc.string({ maxLength: 6 }),
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 5 }), (pieces) => {
      try {
        const wish = parseBind(pieces.join(':'), '');
        assert.ok(wish.destination.startsWith('/') && wish.destination !== '/');
        assert.ok(!wish.destination.includes('/../') && !wish.destination.endsWith('/..'));
        assert.equal(wish.type === 'bind', wish.source !== '');
      } catch (error) {
        assert.ok(error instanceof EngineError, String(error));
        assert.equal(error.kind, 'invalidArgument');
      }
    }),
    { numRuns: 2000 },
  );
});
