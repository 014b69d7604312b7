import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import {
  appendFileSync,
  closeSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseTimeNs } from '../../src/base/clock.ts';
import { NO_LOG } from '../../src/engine/logs/shim-log.ts';
import { AF, SOCK } from '../../src/kernel/constants.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import type { LogRequest, ShimLog } from '../../src/kernel/shim.ts';
import { openShims } from '../../src/kernel/shims.ts';
import { eventually } from '../support/processes.ts';
import { type LogEntry, logEntries, logRequest, sanitizedShims, unframe } from '../support/shim.ts';

/* What the shim logs and what its reader makes of it, under sanitizers. */

const { root, shims, running } = sanitizedShims('shim-logs');

let count = 0;
const fresh = (name: string): string => path.join(root, `${name}${++count}`);

/** Runs a shell command with its output going to a log. */
async function run(command: string, log: ShimLog): Promise<void> {
  const shim = await shims.launch(running(command, { log }));
  await shim.start();
  assert.equal((await shim.exited).exitCode, 0);
}

const fileLog = (driver: 'json-file' | 'local', more: Partial<ShimLog> = {}): ShimLog => ({
  ...NO_LOG,
  driver,
  path: fresh('log'),
  ...more,
});

async function read(log: ShimLog, more: Partial<LogRequest> = {}): Promise<Buffer> {
  assert.ok(log.driver === 'json-file' || log.driver === 'local');
  const request = logRequest({ driver: log.driver, path: log.path }, more);
  return Buffer.concat(await shims.readLog(request).output.toArray());
}
const readText = async (log: ShimLog, more: Partial<LogRequest> = {}): Promise<string> =>
  (await read(log, { raw: true, ...more })).toString();

/** What Go makes of bytes that are not all UTF-8: U+FFFD for each byte that fits nowhere. */
function decodeAsGo(bytes: Buffer): string {
  let out = '';
  for (let at = 0; at < bytes.length; ) {
    let taken = 0;
    for (let size = 1; size <= 4 && taken === 0; size++) {
      const piece = bytes.subarray(at, at + size);
      const text = piece.toString();
      const whole = piece.length === size && Array.from(text).length === 1 && text.codePointAt(0);
      if (whole !== false && Buffer.from(text).equals(piece)) taken = size;
    }
    out += taken === 0 ? '\ufffd' : bytes.toString('utf8', at, at + taken);
    at += Math.max(taken, 1);
  }
  return out;
}

/** Bytes with a liking for what is hard: broken and whole sequences, escapes, newlines. */
function hardBytes(size: number): Buffer {
  const pieces = [
    ...['é', '€', '𝄞', '\u2028', '\u2029', '\ufffd', '\n', '\r\n', '\t', '"', '\\', '<&>', '\0'],
    ...['\u007f', '\u001b[0m', 'plain text ', 'x'.repeat(300)],
  ].map((each) => Buffer.from(each));
  const broken = ['c0af', 'eda080', 'f4908080', 'e282', 'f09f98', '80', 'ff', 'c3'];
  pieces.push(...broken.map((each) => Buffer.from(each, 'hex')));
  const out: Buffer[] = [];
  for (let total = 0; total < size; total += out.at(-1)?.length ?? 0) {
    out.push(pieces[randomInt(pieces.length)] ?? randomBytes(3));
  }
  return Buffer.concat(out);
}

test('any bytes are logged as Docker would, and read back the same', async () => {
  for (let round = 0; round < 12; round++) {
    const data = fresh('data');
    const bytes = hardBytes(round < 8 ? 3000 : 120_000);
    writeFileSync(data, bytes);
    const log = fileLog('json-file');
    await run(`cat ${data}`, log);
    const text = decodeAsGo(bytes);
    assert.equal(
      logEntries(log.path)
        .map((each) => each.log)
        .join(''),
      text,
    );
    assert.equal(await readText(log), text);
    // The driver local keeps the bytes themselves; the last line gets no newline that it had not.
    const local = fileLog('local');
    await run(`cat ${data}`, local);
    assert.ok((await read(local, { raw: true })).equals(bytes));
  }
});

test('a line is one JSON object as Docker writes it, attributes and all', async () => {
  const log = fileLog('json-file', { attrs: '{"a":"b c","k":"<v>"}' });
  await run(
    `printf 'a\\t"<&>\\\\\\r\\n' ; sleep 0.05; printf 'e\\n' >&2; sleep 0.05; printf end`,
    log,
  );
  const [first, second, third, ...rest] = readFileSync(log.path, 'utf8').split('\n');
  const time = '"time":"\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{1,8}[1-9]Z"}$';
  const attrs = '"attrs":\\{"a":"b c","k":"<v>"\\},';
  const escaped = '\\{"log":"a\\\\u0009\\\\"\\\\u003c\\\\u0026\\\\u003e\\\\\\\\\\\\r\\\\n",';
  assert.match(first ?? '', new RegExp(`^${escaped}"stream":"stdout",${attrs}${time}`));
  assert.match(second ?? '', new RegExp(`^\\{"log":"e\\\\n","stream":"stderr",${attrs}${time}`));
  assert.match(third ?? '', new RegExp(`^\\{"log":"end","stream":"stdout",${attrs}${time}`));
  assert.deepEqual(rest, ['']);
});

test('a long line is split at 16 KiB, never inside a character', async () => {
  const data = fresh('data');
  writeFileSync(data, `${'x'.repeat(40_000)}\n${'x'.repeat(16_384)}\n${'€'.repeat(12_000)}\n`);
  const log = fileLog('json-file');
  await run(`cat ${data}`, log);
  assert.deepEqual(
    logEntries(log.path).map((each) => Buffer.byteLength(each.log)),
    [16_384, 16_384, 40_000 - 32_768 + 1, 16_384, 1, 16_383, 16_383, 36_000 - 32_766 + 1],
  );
});

test('rotation under load loses nothing, keeps the order and the bounds', async () => {
  for (const driver of ['json-file', 'local'] as const) {
    const log = fileLog(driver, { maxSizeBytes: 100_000, filesMax: 500 });
    const following = shims.readLog(
      logRequest({ driver, path: log.path }, { raw: true, follow: true }),
    );
    const followed = following.output.toArray() as Promise<Buffer[]>;
    await run('seq 1 100000', log);
    following.end();
    const expected = Array.from({ length: 100_000 }, (_, i) => `${i + 1}\n`).join('');
    assert.equal(Buffer.concat(await followed).toString(), expected, 'followed');
    assert.equal(await readText(log), expected, 'read afterwards');
    const files = globSync(`${log.path}*`);
    assert.ok(files.length > 10, `${files.length} files`);
    for (const file of files) assert.ok(statSync(file).size < 100_000 + 200, file);
  }
});

test('only so many files are kept, and those hold the newest lines without a gap', async () => {
  const log = fileLog('json-file', { maxSizeBytes: 20_000, filesMax: 3 });
  await run('seq 1 20000', log);
  assert.equal(globSync(`${log.path}*`).length, 3);
  const kept = logEntries(log.path).map((each) => Number(each.log));
  assert.equal(kept.at(-1), 20_000);
  assert.deepEqual(
    kept,
    Array.from(kept, (_, i) => 20_000 - kept.length + 1 + i),
  );
  assert.ok(kept.length > 400);
});

test('with one file rotation begins anew', async () => {
  const log = fileLog('json-file', { maxSizeBytes: 20_000, filesMax: 1 });
  await run('seq 1 5000', log);
  assert.equal(globSync(`${log.path}*`).length, 1);
  assert.ok(statSync(log.path).size < 20_200);
  assert.equal(logEntries(log.path).at(-1)?.log, '5000\n');
});

test('tail gives the last messages, across rotated files', async () => {
  for (const driver of ['json-file', 'local'] as const) {
    const log = fileLog(driver, { maxSizeBytes: 5000, filesMax: 100, attrs: '{"a":"b"}' });
    await run('seq 1 1000; printf last', log);
    const all = [...Array.from({ length: 1000 }, (_, i) => `${i + 1}\n`), 'last'];
    for (const tail of [0, 1, 2, 10, 59, 60, 61, 500, 999, 1000, 1001, 1002, 5000]) {
      const expected = tail === 0 ? '' : all.slice(-tail).join('');
      assert.equal(await readText(log, { tail }), expected, `${driver} ${tail}`);
    }
    const details = await readText(log, { tail: 2, details: true });
    assert.equal(details, 'a=b 1000\na=b last');
  }
});

test('streams, times, timestamps and details are as asked for', async () => {
  const log = fileLog('json-file', { attrs: '{"key &":"välue/1","z":"\\u003c"}' });
  await run('for i in 1 2 3 4; do echo $i; echo e$i >&2; sleep 0.02; done', log);
  const entries = logEntries(log.path);
  assert.equal(unframe(await read(log)).stdout.toString(), '1\n2\n3\n4\n');
  assert.equal(unframe(await read(log)).stderr.toString(), 'e1\ne2\ne3\ne4\n');
  assert.equal(await readText(log, { stderr: false }), '1\n2\n3\n4\n');
  assert.equal(await readText(log, { stdout: false }), 'e1\ne2\ne3\ne4\n');
  const timeOf = (entry: LogEntry | undefined): bigint => parseTimeNs(entry?.time ?? '') ?? 0n;
  const ones = entries.filter((each) => each.stream === 'stdout');
  const second = timeOf(ones[1]);
  const third = timeOf(ones[2]);
  const out = { stderr: false };
  assert.equal(await readText(log, { ...out, sinceNs: second }), '2\n3\n4\n');
  assert.equal(await readText(log, { ...out, sinceNs: second + 1n }), '3\n4\n');
  assert.equal(await readText(log, { ...out, untilNs: third }), '1\n2\n3\n');
  assert.equal(await readText(log, { ...out, untilNs: third - 1n }), '1\n2\n');
  assert.equal(await readText(log, { ...out, sinceNs: second, untilNs: second }), '2\n');
  // Fixed to nine digits, as Docker's RFC3339NanoFixed.
  const stamp = (entry: LogEntry | undefined): string => {
    const [whole, fraction = ''] = (entry?.time ?? '').slice(0, -1).split('.');
    return `${whole}.${fraction.padEnd(9, '0')}Z`;
  };
  const stamped = await readText(log, { ...out, timestamps: true, tail: 2 });
  assert.equal(stamped, `${stamp(ones[3])} 4\n`);
  const detailed = await readText(log, { ...out, tail: 2, details: true, timestamps: true });
  assert.equal(detailed, `${stamp(ones[3])} key+%26=v%C3%A4lue%2F1,z=%3C 4\n`);
});

test('a log of Docker is read, whatever the order of its keys', async () => {
  const log = fileLog('json-file');
  const lines = [
    '{"time":"2024-02-29T23:59:60.5+01:30","stream":"stderr","log":"\\ud834\\udd1e\\ud800x\\n"}',
    '{"log":"half',
    'garbage',
    '{"log":"","stream":"stdout","attrs":{"a":"}{\\""},"time":"1969-12-31T23:59:59Z"}',
    '{"log":"no time\\n","stream":"stdout"}',
    '{"log":"no stream\\n","time":"2024-01-01T00:00:00Z"}',
    '{"log":"bad \\q escape\\n","stream":"stdout","time":"2024-01-01T00:00:00Z"}',
    '{"log":"\\/\\b\\f\\n\\r\\t\\u00e9\\n","stream":"stdout","time":"2024-01-01T00:00:00Z","more":[1,{"x":null}]}',
    '{"log":"cut',
  ];
  writeFileSync(log.path, lines.join('\n'));
  const { stdout, stderr } = unframe(await read(log));
  assert.equal(stderr.toString(), '𝄞\ufffdx\n');
  assert.equal(stdout.toString(), '/\b\f\n\r\té\n');
  const detailed = unframe(await read(log, { details: true, tail: 7 }));
  assert.match(detailed.stdout.toString(), /^a=%7D%7B%22 /);
});

test('damaged logs are read around the damage, and crash nobody', async () => {
  for (const driver of ['json-file', 'local'] as const) {
    const log = fileLog(driver, { attrs: '{"a":"b"}' });
    await run('seq 1 400', log);
    const whole = readFileSync(log.path);
    for (let round = 0; round < 60; round++) {
      const bytes = Buffer.from(whole);
      for (let i = 0; i < 1 + (round % 5); i++) bytes[randomInt(bytes.length)] = randomInt(256);
      const cut = bytes.subarray(0, round % 3 === 0 ? randomInt(bytes.length) : bytes.length);
      writeFileSync(log.path, cut);
      const tail = round % 2 === 0 ? undefined : randomInt(500);
      const output = await read(log, { tail, details: true, timestamps: true });
      unframe(output); // whole frames only
    }
    writeFileSync(log.path, Buffer.concat([whole, randomBytes(50), Buffer.from('\n'), whole]));
    const text = await readText(log);
    assert.ok(text.startsWith('1\n2\n') && text.endsWith('\n399\n400\n'));
    assert.ok(text.split('\n').length >= 800);
  }
});

test('following ends with the container, with until, and when nobody listens', async () => {
  const log = fileLog('json-file');
  writeFileSync(log.path, '');
  const line = (text: string): void =>
    appendFileSync(
      log.path,
      `{"log":"${text}\\n","stream":"stdout","time":"${new Date().toISOString()}"}\n`,
    );
  const request = logRequest({ driver: 'json-file', path: log.path }, { raw: true });
  const until = BigInt(Date.now() + 4000) * 1_000_000n;
  const followers = [
    shims.readLog({ ...request, follow: true }),
    shims.readLog({ ...request, follow: true, untilNs: until }),
    shims.readLog({ ...request, follow: true, tail: 0 }),
  ];
  const outputs = followers.map((each) => each.output.toArray() as Promise<Buffer[]>);
  // Each has found where it begins, and waits for what comes.
  await eventually(
    () =>
      readersOf(log.path).filter((each) => isWaiting(each, log.path)).length === followers.length,
  );
  line('one');
  await sleep(100);
  // A line that comes in two writes is one line.
  appendFileSync(log.path, '{"log":"two\\n","stre');
  await sleep(50);
  appendFileSync(log.path, `am":"stdout","time":"${new Date().toISOString()}"}\n`);
  assert.equal(Buffer.concat((await outputs[1]) ?? []).toString(), 'one\ntwo\n');
  truncateSync(log.path); // by hand, as people do
  await sleep(100);
  line('three');
  followers[0]?.end();
  followers[2]?.end();
  assert.equal(Buffer.concat((await outputs[0]) ?? []).toString(), 'one\ntwo\nthree\n');
  assert.equal(Buffer.concat((await outputs[2]) ?? []).toString(), 'one\ntwo\nthree\n');

  const vanishing = shims.readLog({ ...request, follow: true });
  await once(vanishing.output, 'data');
  vanishing.output.destroy();
  await eventually(() => readersOf(log.path).length === 0);
});

/** Folders in /proc of the processes that read a log. */
function readersOf(log: string): string[] {
  return globSync('/proc/[0-9]*').filter((folder) => {
    try {
      return readFileSync(`${folder}/cmdline`, 'utf8').includes(`path=${log}`);
    } catch {
      return false; // it ended meanwhile
    }
  });
}

/** True for a reader that has opened the log, and so knows where it begins, and is told of writes. */
function isWaiting(folder: string, log: string): boolean {
  const open = readdirSync(`${folder}/fd`).map((fd) => readlinkSync(`${folder}/fd/${fd}`));
  return open.includes(log) && open.includes('anon_inode:inotify');
}

test('a container that logs nothing yet can be followed', async () => {
  const log = fileLog('local', { path: path.join(root, 'later') });
  const reading = shims.readLog(
    logRequest({ driver: 'local', path: log.path }, { raw: true, follow: true }),
  );
  const output = reading.output.toArray() as Promise<Buffer[]>;
  await sleep(100);
  await run('echo hello', log);
  reading.end();
  assert.equal(Buffer.concat(await output).toString(), 'hello\n');
});

test('what a power cut has torn off costs nothing of what comes after it', async () => {
  for (const driver of ['json-file', 'local'] as const) {
    for (const torn of [1, 2, 7, 15]) {
      const log = fileLog(driver);
      await run('seq 1 5', log);
      const whole = readFileSync(log.path);
      writeFileSync(log.path, whole.subarray(0, whole.length - torn));
      await run('seq 6 9', log);
      // The newline of the last line is no loss.
      const text = (await readText(log)).replace('5\n', '');
      assert.equal(text, '1\n2\n3\n4\n6\n7\n8\n9\n', `${driver} without ${torn} bytes`);
    }
  }
});

test('a full disk costs lines, not the container nor the log', async () => {
  const small = fresh('small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small]);
  try {
    const log = fileLog('json-file', { path: path.join(small, 'log') });
    await run('seq 1 20000; sleep 0.1; echo done', log);
    for (const entry of logEntries(log.path)) assert.match(entry.log, /^(\d+|done)\n$/);
  } finally {
    execFileSync('umount', [small]);
  }
});

test('a file that could not be begun for want of room begins with the attributes later', async () => {
  const small = fresh('inodes');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'nr_inodes=3', 'tmpfs', small]);
  try {
    const filler = path.join(small, 'filler');
    writeFileSync(filler, '');
    const place = path.join(small, 'log');
    const attrs = '{"a":"b"}';
    const log = fileLog('local', { path: place, maxSizeBytes: 4096, filesMax: 3, attrs });
    await run(`seq 1 400; sleep 0.1; rm ${filler}; seq 401 500`, log);
    const last = await readText(log, { tail: 1, details: true });
    assert.equal(last, 'a=b 500\n');
  } finally {
    execFileSync('umount', [small]);
  }
});

test('non-blocking mode drops what the driver cannot take, and the container runs on', async () => {
  const address = fresh('stuck.sock');
  const sockets: Socket[] = [];
  const server = createServer({ pauseOnConnect: true }, (socket) => sockets.push(socket));
  server.listen(address);
  await once(server, 'listening');
  const options = [`network=unix`, `address=${address}`, 'tag=t', 'format=rfc3164', 'hostname=h'];
  const log = {
    ...NO_LOG,
    driver: 'syslog' as const,
    options,
    nonBlocking: true,
    bufferBytes: 65_536,
  };
  const shim = await shims.launch(running('seq 1 100000', { log }));
  const { pid } = await shim.start();
  // The container has ended although nobody takes its messages; then they are taken.
  await eventually(() => globSync(`/proc/${pid}/exe`).length === 0 || undefined, {
    timeoutMs: 4000,
  });
  let text = '';
  for (const socket of sockets)
    socket
      .setEncoding('utf8')
      .on('data', (some) => (text += some))
      .resume();
  assert.equal((await shim.exited).exitCode, 0);
  await eventually(() => sockets[0]?.readableEnded ?? false);
  const numbers = text
    .trim()
    .split('\n')
    .map((line) => Number(/\[\d+\]: (\d+)$/.exec(line)?.[1]));
  assert.ok(numbers.length > 100 && numbers.length < 100_000, `${numbers.length} lines`);
  assert.ok(numbers.every((each, i) => i === 0 || each > (numbers[i - 1] ?? 0)));
  server.close();
});

test('non-blocking mode loses nothing that fits', async () => {
  const log = fileLog('json-file', { nonBlocking: true, bufferBytes: 4 << 20 });
  await run('seq 1 3000', log);
  assert.deepEqual(
    logEntries(log.path).map((each) => Number(each.log)),
    Array.from({ length: 3000 }, (_, i) => i + 1),
  );
});

test('syslog messages have the form that was asked for', async () => {
  const server = createSocket('udp4').bind(0, '127.0.0.1');
  await once(server, 'listening');
  const got: string[] = [];
  server.on('message', (message) => got.push(message.toString()));
  const log = (format: string): ShimLog => ({
    ...NO_LOG,
    driver: 'syslog',
    options: [
      ...['network=udp', 'address=127.0.0.1', `port=${server.address().port}`],
      ...['facility=3', 'tag=web/1', 'hostname=board', `format=${format}`],
    ],
  });
  await run('echo out', log(''));
  await run('echo err >&2', log('rfc3164'));
  await run('echo out', log('rfc5424'));
  await run('echo out', log('rfc5424micro'));
  await eventually(() => got.length === 4);
  const stamp = '[A-Z][a-z]{2} [ 1-3]\\d \\d\\d:\\d\\d:\\d\\d';
  assert.match(got[0] ?? '', new RegExp(`^<30>${stamp} web/1\\[\\d+\\]: out\\n$`));
  assert.match(got[1] ?? '', new RegExp(`^<27>${stamp} board web/1\\[\\d+\\]: err\\n$`));
  const date = '\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d';
  assert.match(got[2] ?? '', new RegExp(`^<30>1 ${date}Z board web/1 \\d+ web/1 - out\\n$`));
  const micro = `${date}(\\.\\d{1,6})?Z`;
  assert.match(got[3] ?? '', new RegExp(`^<30>1 ${micro} board web/1 \\d+ web/1 - out\\n$`));
  server.close();
});

test('syslog over a stream gets every line, after a break of the connection too', async () => {
  let text = '';
  const server = createServer((socket) => {
    socket.setEncoding('utf8').on('data', (some) => (text += some));
    if (server.listening && text === '') socket.once('data', () => socket.destroy());
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  assert.ok(address !== null && typeof address === 'object');
  const options = ['network=tcp', 'address=127.0.0.1', `port=${address.port}`, 'tag=t'];
  const log = { ...NO_LOG, driver: 'syslog' as const, options };
  await run('for i in 1 2 3 4 5 6; do echo $i; sleep 0.3; done', log);
  assert.match(text, /: 1\n/);
  assert.match(text, /: 6\n/);
  server.close();
  await assert.rejects(
    run('true', { ...log, options: ['network=tcp', 'address=127.0.0.1', 'port=1', 'tag=t'] }),
    /failed to initialize logging driver: 127.0.0.1: Connection refused/,
  );
});

test('journald gets its fields, values with newlines too', async () => {
  const sys = openSyscalls();
  const socket = path.join(root, 'journal');
  const fd = sys.socket(AF.UNIX, SOCK.DGRAM, 0);
  const address = Buffer.alloc(110);
  address.writeUInt16LE(AF.UNIX);
  address.write(socket, 2);
  sys.bind(fd, address);
  const options = [`SOCKET=${socket}`, 'CONTAINER_NAME=web', 'NOTE=two\nlines'];
  await run('echo hello; sleep 0.05; printf rest >&2', { ...NO_LOG, driver: 'journald', options });
  const entry = (): Record<string, string> => {
    const bytes = Buffer.alloc(4096);
    return decodeJournal(bytes.subarray(0, sys.recv(fd, bytes, 0x40)));
  };
  const first = entry();
  assert.equal(first['MESSAGE'], 'hello');
  assert.equal(first['PRIORITY'], '6');
  assert.equal(first['CONTAINER_NAME'], 'web');
  assert.equal(first['NOTE'], 'two\nlines');
  assert.notEqual(parseTimeNs(first['SYSLOG_TIMESTAMP'] ?? ''), undefined);
  const second = entry();
  assert.equal(second['MESSAGE'], 'rest');
  assert.equal(second['PRIORITY'], '3');
  assert.equal(second['CONTAINER_PARTIAL_MESSAGE'], 'true');
  closeSync(fd);

  const absent = { ...NO_LOG, driver: 'journald' as const, options: ['SOCKET=/nonexistent'] };
  await assert.rejects(run('true', absent), /failed to initialize logging driver: \/nonexistent/);
});

/** An entry of journald's native protocol. */
function decodeJournal(bytes: Buffer): Record<string, string> {
  const fields: Record<string, string> = {};
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf('\n', at);
    const line = bytes.toString('utf8', at, end);
    const equals = line.indexOf('=');
    if (equals >= 0) {
      fields[line.slice(0, equals)] = line.slice(equals + 1);
      at = end + 1;
    } else {
      const size = Number(bytes.readBigUInt64LE(end + 1));
      fields[line] = bytes.toString('utf8', end + 9, end + 9 + size);
      assert.equal(bytes[end + 9 + size], 10);
      at = end + 10 + size;
    }
  }
  return fields;
}

test('a reader that fails makes the output fail, whole or not', async () => {
  const broken = path.join(root, 'broken-reader');
  writeFileSync(broken, '#!/bin/sh\necho something\nexit 3\n', { mode: 0o755 });
  for (const each of [broken, '/nonexistent/shim']) {
    const reading = openShims({ program: each, env: {} }).readLog(
      logRequest({ driver: 'json-file', path: '/x' }),
    );
    await assert.rejects(
      reading.output.toArray(),
      /the reader of the log ended with 3|cannot read/,
    );
  }
});

test('times beyond what nanoseconds reach are read, too', async () => {
  const log = fileLog('json-file');
  const line = (year: string): string =>
    `{"log":"${year}\\n","stream":"stdout","time":"${year}-01-01T00:00:00Z"}\n`;
  writeFileSync(log.path, line('0001') + line('1500') + line('2024') + line('9999'));
  assert.equal(await readText(log, { timestamps: false }), '0001\n1500\n2024\n9999\n');
  assert.match(await readText(log, { timestamps: true }), /2024-01-01T00:00:00.000000000Z 2024\n/);
});
