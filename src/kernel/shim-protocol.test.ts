import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from '../base/errors.ts';
import { logArguments } from './log-reader.ts';
import { attachLine, decodeExit, decodeShimEvent, lastRuntimeError } from './shim-protocol.ts';

test('events are read as the shim writes them', () => {
  assert.deepEqual(
    decodeShimEvent(
      '{"type":"hello","shim":7,"state":"running","pid":9,"startedAt":"1700000000123456789","ran":"8"}',
    ),
    {
      ...{ type: 'hello', shim: 7, state: 'running', pid: 9 },
      ...{ startedAtNs: 1_700_000_000_123_456_789n, ranNs: 8n },
    },
  );
  const exit = '{"type":"exited","exitCode":137,"oomKilled":true,"exitedAt":"5","ran":"3"}';
  const status = { exitCode: 137, oomKilled: true, exitedAtNs: 5n, ranNs: 3n };
  assert.deepEqual(decodeShimEvent(exit), { type: 'exited', status });
  const before = decodeExit('{"type":"exited","exitCode":0,"oomKilled":false,"exitedAt":"5"}');
  assert.equal(before.ranNs, 0n, 'a shim of an earlier version does not say how long');
  assert.deepEqual(decodeExit(`${exit}\n`), status);
  assert.deepEqual(decodeShimEvent('{"type":"failed","status":1,"reason":"a\\"b"}'), {
    type: 'failed',
    status: 1,
    reason: 'a"b',
  });
});

test('what no shim says is refused', () => {
  for (const line of ['', '{}', '{"type":"x"}', '{"type":"hello","state":"odd"}', '[1]', '{"typ']) {
    assert.throws(() => decodeShimEvent(line), EngineError, line);
  }
  assert.throws(() => decodeExit('{"exitedAt":"soon"}'), EngineError);
  fc.assert(
    fc.property(fc.oneof(fc.json(), fc.string()), (line) => {
      try {
        decodeShimEvent(line);
      } catch (error) {
        assert.ok(error instanceof EngineError, String(error));
      }
    }),
    { numRuns: 2000 },
  );
});

test('the last error of a runtime is found among its other words', () => {
  const log = [
    '{"level":"warning","msg":"w","time":"t"}',
    '{"msg":"first","level":"error","time":"t"}',
    'not JSON',
    '{"level":"error","msg":"last \\"words\\"","time":"t"}',
    '{"level":"debug","msg":"d","time":"t"}',
    '{"level":"err',
  ];
  assert.equal(lastRuntimeError(log.join('\n')), 'last "words"');
  assert.equal(lastRuntimeError(''), undefined);
});

test('orders and arguments', () => {
  assert.equal(attachLine({ stdin: true, stdout: false, stderr: true }), 'attach ie\n');
  assert.equal(attachLine({ stdin: false, stdout: false, stderr: false }), 'attach \n');
  const request = {
    ...{ driver: 'json-file' as const, containerId: '', path: '/x', filesMax: 3 },
    ...{ stdout: true, stderr: false },
    ...{ tail: undefined, sinceNs: 5n, untilNs: undefined },
    ...{ timestamps: true, details: false, raw: false, follow: true },
  };
  assert.deepEqual(logArguments(request), [
    ...['driver=json-file', 'path=/x', 'files=3', 'streams=o', 'tail=-1', 'since=5'],
    ...['timestamps=1', 'follow=1'],
  ]);
});
