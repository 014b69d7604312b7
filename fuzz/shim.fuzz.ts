import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { NO_LOG } from '../src/engine/logs/shim-log.ts';
import type { LogRequest } from '../src/kernel/shim.ts';
import {
  logRequest,
  readToEnd,
  sanitizedShims,
  sanitizerFindings,
  unframe,
} from '../test/support/shim.ts';

/* The shim under sanitizers: what it reads comes from containers, damaged disks and clients. */

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 4);
const seed = process.env['FUZZ_SEED'];
const limits = {
  numRuns: Number.MAX_SAFE_INTEGER,
  interruptAfterTimeLimit: (seconds * 1000) / 3,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
};

const { root, shims, running } = sanitizedShims('shim-fuzz');

let logs = 0;
const launch = async (command: string, log = NO_LOG) => {
  const spec = running(command, { log, openStdin: true, stdinOnce: true });
  return { spec, shim: await shims.launch(spec) };
};

const request = (
  driver: LogRequest['driver'],
  file: string,
  more: Partial<LogRequest> = {},
): LogRequest =>
  logRequest({ driver, path: file }, { filesMax: 3, timestamps: true, details: true, ...more });

const bytes = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom('\n', '"', '\\', '\u2028', '€', '𝄞').map((each) => Buffer.from(each)),
    fc.constantFrom('e282', 'f09d84', 'eda080', 'c0').map((each) => Buffer.from(each, 'hex')),
    fc.integer({ min: 1, max: 40_000 }).map((size) => Buffer.alloc(size, 'y')),
  ),
  { maxLength: 30 },
);

test('any output is passed on as it is, and logged so that it is read back', async () => {
  await fc.assert(
    fc.asyncProperty(
      bytes,
      fc.constantFrom('json-file', 'local'),
      fc.boolean(),
      async (pieces, driver, compress) => {
        const data = path.join(root, 'data');
        writeFileSync(data, Buffer.concat(pieces));
        const file = path.join(root, `log${++logs}`);
        const { shim } = await launch(`cat ${data}`, {
          ...NO_LOG,
          ...{ driver, path: file, attrs: '{"k":"v w"}', maxSizeBytes: 30_000, filesMax: 100 },
          compress,
        });
        const client = await shim.attach({ stdin: false, stdout: true, stderr: true });
        await shim.start();
        assert.ok(unframe(await readToEnd(client)).stdout.equals(readFileSync(data)));
        assert.equal((await shim.exited).exitCode, 0);
        const all = { filesMax: 100, timestamps: false, details: false };
        const output = shims.readLog(request(driver, file, all)).output;
        const { stdout } = unframe(Buffer.concat(await output.toArray()));
        // json-file keeps text only: what is no UTF-8 comes back as U+FFFD.
        if (driver === 'local') assert.ok(stdout.equals(readFileSync(data)));
        else assert.ok(!stdout.includes(0xff));
        assert.equal(sanitizerFindings(root), '');
      },
    ),
    limits,
  );
});

test('any damage to a log gives whole frames', async () => {
  const logs: Record<'json-file' | 'local', Buffer> = {
    'json-file': Buffer.of(),
    local: Buffer.of(),
  };
  for (const driver of ['json-file', 'local'] as const) {
    const file = path.join(root, `whole-${driver}`);
    const log = { ...NO_LOG, driver, path: file, attrs: '{"a":"b"}' };
    const { shim } = await launch('seq 1 300; printf "%s" "\\"\\\\<>"', log);
    await shim.start();
    await shim.exited;
    logs[driver] = readFileSync(file);
  }
  const damage = fc.record({
    driver: fc.constantFrom('json-file', 'local'),
    /** Packed by gzip at this level, and damaged then. */
    level: fc.option(fc.integer({ min: 0, max: 9 })),
    cut: fc.option(fc.nat(40_000)),
    changes: fc.array(fc.tuple(fc.nat(40_000), fc.integer({ min: 0, max: 255 })), {
      maxLength: 20,
    }),
    insert: fc.uint8Array({ maxLength: 60 }),
    at: fc.nat(40_000),
    tail: fc.option(fc.nat(400), { nil: undefined }),
  });
  await fc.assert(
    fc.asyncProperty(damage, async ({ driver, level, cut, changes, insert, at, tail }) => {
      const whole = level === null ? Buffer.from(logs[driver]) : gzipSync(logs[driver], { level });
      for (const [offset, value] of changes) whole[offset % whole.length] = value;
      const place = at % whole.length;
      const damaged = Buffer.concat([whole.subarray(0, place), insert, whole.subarray(place)]);
      const file = path.join(root, 'damaged');
      const there = level === null ? file : `${file}.1.gz`;
      writeFileSync(there, damaged.subarray(0, cut ?? damaged.length));
      if (level !== null) writeFileSync(file, '');
      const output = shims.readLog(request(driver, file, { tail })).output;
      unframe(Buffer.concat(await output.toArray()));
      rmSync(there);
      assert.equal(sanitizerFindings(root), '');
    }),
    limits,
  );
});

test('any bytes from journalctl give whole frames', async () => {
  const file = path.join(root, 'journal');
  mkdirSync(path.join(root, 'bin'));
  writeFileSync(path.join(root, 'bin/journalctl'), `#!/bin/sh\ncat ${file}\n`, { mode: 0o755 });
  const size = fc
    .oneof(fc.nat(50), fc.constantFrom(0, 2 ** 31, 2 ** 32))
    .map((value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer));
  const words = fc.constantFrom(
    ...['MESSAGE=', 'MESSAGE\n', 'PRIORITY=3\n', '\n', '\n\n', '__REALTIME_TIMESTAMP=179\n', '='],
  );
  const piece = fc.oneof(
    ...[words.map((each) => Buffer.from(each)), size, fc.uint8Array({ maxLength: 60 })],
    fc.integer({ min: 1, max: 300_000 }).map((length) => Buffer.alloc(length, 'y')),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 30 }), async (pieces) => {
      writeFileSync(file, Buffer.concat(pieces));
      const { output } = shims.readLog(request('journald', ''));
      unframe(Buffer.concat(await output.toArray()));
      assert.equal(sanitizerFindings(root), '');
    }),
    limits,
  );
});

test('any talk on the socket leaves the process and its other clients alone', async () => {
  const words = fc.constantFrom(
    ...['control\n', 'attach ioe\n', 'attach i\n', 'start\n', 'resize 1 2\n', 'resize x\n', '\n'],
  );
  const talk = fc.array(fc.oneof(words, fc.string({ maxLength: 100 })), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(fc.array(talk, { maxLength: 12 }), async (talks) => {
      const { spec, shim } = await launch('sleep 0.03; echo alive');
      const client = await shim.attach({ stdin: false, stdout: true, stderr: true });
      const output = readToEnd(client);
      const address = path.join(spec.directory, 'shim.sock');
      const sockets = talks.map((each) => {
        const socket = createConnection(address).on('error', () => undefined);
        for (const word of each) socket.write(word);
        if (randomInt(2) === 0) socket.end();
        return socket.resume();
      });
      await shim.start();
      for (const socket of sockets) if (randomInt(3) === 0) socket.destroy();
      assert.equal(unframe(await output).stdout.toString(), 'alive\n');
      assert.equal((await shim.exited).exitCode, 0);
      for (const socket of sockets) if (!socket.closed) await once(socket.destroy(), 'close');
      assert.equal(sanitizerFindings(root), '');
    }),
    limits,
  );
});
