import assert from 'node:assert/strict';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { Latch } from '../../base/async.ts';
import { isEngineError } from '../../base/errors.ts';
import type { LogReading, LogRequest, Shims } from '../../kernel/shim.ts';
import type { Call } from '../call.ts';
import { type LogQuery, type LogSource, openLogs, parseLogTime, parseTail } from './logs.ts';
import { logPath, shimLog } from './shim-log.ts';

const call: Call = { signal: new AbortController().signal, apiVersion: [1, 51] };
const query: LogQuery = {
  ...{ follow: false, stdout: true, stderr: true, since: '', until: '' },
  ...{ timestamps: false, details: false, tail: 'all' },
};

/** Shims that only remember what was asked for. */
function recorder(): { shims: Shims; asked: LogRequest[]; ended: () => number } {
  const asked: LogRequest[] = [];
  let ended = 0;
  const readLog = (request: LogRequest): LogReading => {
    asked.push(request);
    const end = (): void => {
      ended += 1;
    };
    return { output: Readable.from([]), end };
  };
  const never = (): never => assert.fail('not for logs');
  return { shims: { readLog, launch: never, reconnect: never }, asked, ended: () => ended };
}

const source = (more: Partial<LogSource> = {}): LogSource => ({
  ...{ id: 'abc', folder: '/data/abc', config: { Type: 'json-file', Config: {} } },
  ...{ terminal: false, isRunning: () => true, ended: new Latch<void>() },
  ...more,
});

test('a query becomes a request, with times in nanoseconds', async () => {
  const { shims, asked } = recorder();
  const stream = await openLogs(
    shims,
    source(),
    { ...query, since: '1700000000.5', until: '0', tail: '12', follow: true, details: true },
    call,
  );
  assert.equal(stream.contentType, 'application/vnd.docker.multiplexed-stream');
  assert.deepEqual(asked, [
    {
      ...{ driver: 'json-file', path: '/data/abc/abc-json.log', filesMax: 3, containerId: 'abc' },
      ...{ stdout: true, stderr: true, tail: 12, sinceNs: 1_700_000_000_500_000_000n },
      ...{ untilNs: undefined, timestamps: false, details: true, raw: false, follow: true },
    },
  ]);
});

test('media types are those of the version; a terminal is raw', async () => {
  const { shims, asked } = recorder();
  const raw = 'application/vnd.docker.raw-stream';
  const old = await openLogs(shims, source(), query, { ...call, apiVersion: [1, 41] });
  assert.equal(old.contentType, raw);
  assert.equal((await openLogs(shims, source({ terminal: true }), query, call)).contentType, raw);
  assert.equal(asked[1]?.raw, true);
});

test('following is told of the end of the run; what does not run is not followed', async () => {
  const { shims, asked, ended } = recorder();
  const run = new Latch<void>();
  await openLogs(shims, source({ ended: run }), { ...query, follow: true }, call);
  assert.equal(ended(), 0);
  run.open();
  assert.equal(ended(), 1);
  await openLogs(shims, source({ isRunning: () => false }), { ...query, follow: true }, call);
  assert.equal(asked[1]?.follow, false);
});

test('a follower that leaves is not remembered until the run ends', async () => {
  const { shims, ended } = recorder();
  const run = new Latch<void>();
  const { body } = await openLogs(shims, source({ ended: run }), { ...query, follow: true }, call);
  assert.equal(run.waiterCount, 1);
  body.destroy();
  await once(body, 'close');
  assert.equal(run.waiterCount, 0);
  run.open();
  assert.equal(ended(), 0);
});

test('bad queries are refused in the words of Docker', async () => {
  const { shims } = recorder();
  const fails = async (more: Partial<LogQuery>, of: LogSource, message: string): Promise<void> => {
    await assert.rejects(openLogs(shims, of, { ...query, ...more }, call), { message });
  };
  await fails(
    { stdout: false, stderr: false },
    source(),
    'Bad parameters: you must choose at least one stream',
  );
  const none = source({ config: { Type: 'none', Config: {} } });
  await fails({}, none, 'configured logging driver does not support reading');
  await assert.rejects(openLogs(shims, none, query, call), (error) =>
    isEngineError(error, 'notImplemented'),
  );
  await fails(
    { since: 'yesterday' },
    source(),
    'invalid value for "since": strconv.ParseInt: parsing "yesterday": invalid syntax',
  );
});

test('times and tails as Docker reads them', () => {
  assert.equal(parseLogTime('since', ''), undefined);
  assert.equal(parseLogTime('since', '0'), 0n);
  assert.equal(parseLogTime('since', '1.000000001'), 1_000_000_001n);
  assert.equal(parseLogTime('since', '1.5'), 1_500_000_000n);
  assert.equal(parseLogTime('since', '-1'), -1_000_000_000n);
  assert.equal(parseTail('0'), 0);
  assert.equal(parseTail('10'), 10);
  for (const all of ['all', '', '-1', 'ten', '1e3']) assert.equal(parseTail(all), undefined);
});

test('a shim is told where and how to log', async () => {
  const subject = {
    ...{ id: 'abc', name: 'web', imageId: 'sha256:1', imageName: 'i', command: [] },
    ...{ labels: { role: 'x' }, env: [] },
  };
  const file = await shimLog({ Type: 'local', Config: { labels: 'role' } }, '/data/abc', subject);
  assert.deepEqual(
    [file.path, file.filesMax, file.attrs],
    ['/data/abc/local.log', 5, '{"role":"x"}'],
  );
  const syslog = await shimLog(
    { Type: 'syslog', Config: { 'syslog-address': 'udp://localhost:99', tag: '{{.Name}}' } },
    '/data/abc',
    subject,
  );
  assert.ok(syslog.options.includes('address=127.0.0.1') || syslog.options.includes('address=::1'));
  assert.ok(syslog.options.includes('tag=web'));
  assert.equal(logPath('/d', 'id', 'syslog'), '');
  await assert.rejects(
    shimLog({ Type: 'syslog', Config: { 'syslog-address': 'udp://no.invalid' } }, '/d', subject),
    /failed to initialize logging driver/,
  );
});
