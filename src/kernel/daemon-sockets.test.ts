import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { isEngineError } from '../base/errors.ts';
import { AF, MSG, SOCK } from './constants.ts';
import { lockFolder, lockPidFile } from './daemon-lock.ts';
import { openSyscalls } from './ffi.ts';
import { findGroup, listenTcp, listenUnix } from './listeners.ts';
import { pageOutText, parseCleanMaps, parseTextMaps, releaseText } from './page-out.ts';
import { serviceManager } from './sd-notify.ts';
import { activatedSockets, chooseSockets } from './socket-activation.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'coracle-sockets-'));
after(() => rmSync(folder, { recursive: true }));
const sys = openSyscalls();
const at = (name: string): string => path.join(folder, name);

test('a folder and a PID file have one daemon, and another is told which', () => {
  {
    using _folder = lockFolder(sys, folder, 'data root');
    assert.throws(
      () => lockFolder(sys, folder, 'data root'),
      (error: unknown) =>
        isEngineError(error, 'conflict') &&
        error.message.startsWith(
          `cannot use the data root ${folder}: another daemon with PID ${process.pid} uses it`,
        ),
    );
    using _file = lockPidFile(sys, at('pid'));
    assert.equal(readFileSync(at('pid'), 'utf8'), `${process.pid}\n`);
    assert.throws(() => lockPidFile(sys, at('pid')), /still running/);
  }
  assert.equal(existsSync(at('pid')), false);
  using _again = lockFolder(sys, folder, 'data root');
});

test('a PID file that a killed daemon left is taken over', () => {
  writeFileSync(at('stale.pid'), '1\n'); // PID 1 runs, and has nothing to do with it
  using _file = lockPidFile(sys, at('stale.pid'));
  assert.equal(readFileSync(at('stale.pid'), 'utf8'), `${process.pid}\n`);
});

async function closed(server: Server): Promise<void> {
  server.close();
  await once(server, 'close');
}

test('a unix socket gets its mode and group, and a stale one is replaced', async () => {
  const socket = at('deep/down/api.sock');
  // A process that dies without unlinking leaves a stale socket.
  const child = spawn(process.execPath, [
    '-e',
    `require('fs').mkdirSync(${JSON.stringify(path.dirname(socket))},{recursive:true});
     require('net').createServer().listen(${JSON.stringify(socket)},()=>process.kill(process.pid,9))`,
  ]);
  await once(child, 'exit');
  assert.ok(existsSync(socket));
  const server = createServer();
  await listenUnix(server, { socket, group: 'daemon' });
  const { mode, gid } = statSync(socket);
  assert.deepEqual([mode & 0o777, gid], [0o660, findGroup('daemon')]);
  await assert.rejects(
    listenUnix(createServer(), { socket, group: '' }),
    (error: unknown) =>
      isEngineError(error, 'conflict') && /another process serves it/.test(error.message),
  );
  await closed(server);
});

test('a file in the way, a group that is none and a taken port are one clear error each', async () => {
  writeFileSync(at('file'), 'precious');
  await assert.rejects(
    listenUnix(createServer(), { socket: at('file'), group: '' }),
    /a file that is no socket is there/,
  );
  assert.equal(readFileSync(at('file'), 'utf8'), 'precious');
  await assert.rejects(
    listenUnix(createServer(), { socket: at('new'), group: 'no-such-group' }),
    /no such group/,
  );
  const server = createServer();
  await listenTcp(server, { host: '127.0.0.1', port: 0 });
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  await assert.rejects(
    listenTcp(createServer(), { host: '127.0.0.1', port: address.port }),
    /the address is in use/,
  );
  await closed(server);
});

test('the service manager gets its lines by a path and by an abstract name', () => {
  for (const name of [at('notify'), `@coracle-test-${process.pid}`]) {
    const fd = sys.socket(AF.UNIX, SOCK.DGRAM | SOCK.CLOEXEC, 0);
    const text = Buffer.from(`\x01\0${name}`.replace('@', '\0'));
    sys.bind(fd, text);
    const errors: unknown[] = [];
    const env = { NOTIFY_SOCKET: name, WATCHDOG_USEC: '3000000' };
    const manager = serviceManager(sys, env, process.pid, (error) => errors.push(error));
    manager.notify('READY=1', 'STATUS=fine');
    const into = Buffer.alloc(100);
    const length = sys.recv(fd, into, MSG.DONTWAIT);
    assert.equal(into.toString('utf8', 0, length), 'READY=1\nSTATUS=fine');
    assert.equal(manager.watchdogMs, 1500);
    closeSync(fd);
    rmSync(name, { force: true });
    manager.notify('WATCHDOG=1');
    assert.equal(errors.length, 1);
  }
  assert.equal(
    serviceManager(sys, { WATCHDOG_USEC: '5' }, 1, () => assert.fail()).watchdogMs,
    undefined,
  );
});

test('activated sockets are taken by this process only, by number or name', () => {
  const env = { LISTEN_PID: String(process.pid), LISTEN_FDS: '1' };
  assert.deepEqual(activatedSockets({ ...env, LISTEN_PID: '1' }, process.pid), []);
  const sockets = [
    { fd: 3, name: 'api' },
    { fd: 4, name: '' },
  ];
  assert.equal(chooseSockets(sockets, '').length, 2);
  assert.deepEqual(chooseSockets(sockets, '4'), [sockets[1]]);
  assert.deepEqual(chooseSockets(sockets, 'api'), [sockets[0]]);
  assert.throws(() => chooseSockets([], ''), /no sockets found via socket activation/);
  assert.throws(() => chooseSockets(sockets, 'x'), /fd:\/\/x: there are api, 4/);
});

test('only read-only maps of files are paged out', () => {
  const text = [
    '00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/dbus-daemon',
    '00651000-00652000 r--p 00051000 08:02 173521      /usr/bin/dbus-daemon',
    '00652000-00655000 rw-p 00052000 08:02 173521      /usr/bin/dbus-daemon',
    '00e03000-00e24000 rw-p 00000000 00:00 0           [heap]',
    '7ffc6f8f4000-7ffc6f8f6000 r-xp 00000000 00:00 0   [vdso]',
    '7f0000000000-7f0000001000 r-xp 00000000 00:00 0 ',
    '7f0000002000-7f0000003000 r-xs 00000000 08:02 9   /shared',
    '',
  ].join('\n');
  assert.deepEqual(parseTextMaps(text), [
    { start: 0x400000n, bytes: 0x52000 },
    { start: 0x651000n, bytes: 0x1000 },
  ]);
  assert.equal(typeof pageOutText(sys), 'boolean');
});

test('text is released where no page of it was changed, and comes back', () => {
  const smaps = (head: string, anonymous: number, swap: number): string =>
    `${head}\nSize: 8 kB\nRss:  8 kB\nAnonymous:     ${anonymous} kB\nSwap:          ${swap} kB\n`;
  const text = [
    smaps('00400000-00402000 r-xp 00000000 08:02 173521   /usr/bin/node', 0, 0),
    smaps('00651000-00653000 r--p 00051000 08:02 173521   /usr/bin/node', 4, 0),
    smaps('00654000-00656000 r--p 00054000 08:02 173521   /usr/bin/node', 0, 4),
    smaps('00657000-00659000 rw-p 00057000 08:02 173521   /usr/bin/node', 0, 0),
  ].join('');
  assert.deepEqual(parseCleanMaps(text), [{ start: 0x400000n, bytes: 0x2000 }]);
  const residentKb = (): number =>
    Number(/^Rss:\s+(\d+)/m.exec(readFileSync('/proc/self/smaps_rollup', 'utf8'))?.[1]);
  const before = residentKb();
  assert.doesNotThrow(() => releaseText(sys, '/proc/self/none'), 'a kernel without smaps');
  releaseText(sys);
  assert(residentKb() < before - 5_000, `${before} kB before, ${residentKb()} kB after`);
});
