import assert from 'node:assert/strict';
import { randomBytes, randomInt } from 'node:crypto';
import { existsSync, globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gunzipSync, gzipSync, constants as zlib } from 'node:zlib';
import { parseTimeNs } from '../../src/base/clock.ts';
import { NO_LOG } from '../../src/engine/logs/shim-log.ts';
import type { LogRequest, ShimLog } from '../../src/kernel/shim.ts';
import { eventually } from '../support/processes.ts';
import { hasEnded, logEntries, logRequest, sanitizedShims } from '../support/shim.ts';

/* `compress=true`: what becomes of rotated files, and what is read of them, under sanitizers. */

const { root, shims, running } = sanitizedShims('shim-packing');

let count = 0;
const DRIVERS = ['json-file', 'local'] as const;

function packedLog(driver: 'json-file' | 'local', more: Partial<ShimLog> = {}): ShimLog {
  const own = path.join(root, `log${++count}`);
  return { ...NO_LOG, driver, path: own, filesMax: 100, compress: true, ...more };
}

async function launch(command: string, log: ShimLog) {
  const shim = await shims.launch(running(command, { log }));
  return { shim, pid: (await shim.start()).pid };
}

async function run(command: string, log: ShimLog): Promise<void> {
  const { shim } = await launch(command, log);
  assert.equal((await shim.exited).exitCode, 0);
}

function requestOf(log: ShimLog, more: Partial<LogRequest> = {}): LogRequest {
  assert.ok(log.driver === 'json-file' || log.driver === 'local');
  return logRequest(
    { driver: log.driver, path: log.path },
    { filesMax: log.filesMax, raw: true, ...more },
  );
}

async function read(log: ShimLog, more: Partial<LogRequest> = {}): Promise<string> {
  const pieces = (await shims.readLog(requestOf(log, more)).output.toArray()) as Buffer[];
  return Buffer.concat(pieces).toString();
}

const numbers = (from: number, to: number): string[] =>
  Array.from({ length: to - from + 1 }, (_, i) => `${from + i}\n`);

test('rotated files are gzip, with the names that Docker gives them', async () => {
  const log = packedLog('json-file', { maxSizeBytes: 100_000 });
  // Repetitive, random and long lines, in crowds that make several blocks a file.
  const data = path.join(root, 'data');
  const lines = Array.from({ length: 4000 }, (_, i) =>
    i % 3 === 0
      ? randomBytes(randomInt(1, 200)).toString('base64')
      : `${i} ${'the same words '.repeat(i % 40)}`,
  );
  writeFileSync(data, `${lines.join('\n')}\n`);
  await run(`cat ${data}; sleep 0.5; echo end`, log);
  const names = globSync(`${log.path}*`).map((each) => each.slice(log.path.length));
  // The last one may not have been packed when the container ended.
  const packed = names.filter((each) => /^\.\d+\.gz$/.test(each));
  assert.ok(packed.length >= 5, names.join(' '));
  assert.ok(
    names.every((each) => ['', '.1'].includes(each) || packed.includes(each)),
    names.join(' '),
  );
  const text = packed
    .sort((a, b) => Number.parseInt(b.slice(1), 10) - Number.parseInt(a.slice(1), 10))
    .map((each) => gunzipSync(readFileSync(log.path + each)).toString());
  for (const each of text) assert.ok(each.length >= 100_000 && each.endsWith('}\n'));
  const rest = [`${log.path}.1`, log.path].filter(existsSync).map((each) => readFileSync(each));
  writeFileSync(`${log.path}-all`, text.join('') + rest.join(''));
  const said = logEntries(`${log.path}-all`).map((each) => each.log);
  assert.deepEqual(
    said,
    [...lines, 'end'].map((each) => `${each}\n`),
  );
  assert.equal(await read(log), said.join(''));
});

test('what is packed is read back: all of it, its end, since, until, details', async () => {
  for (const driver of DRIVERS) {
    const log = packedLog(driver, { maxSizeBytes: 3000, attrs: '{"a":"b"}' });
    await run('seq 1 600; sleep 0.3; seq 601 1000; printf last', log);
    assert.ok(globSync(`${log.path}.*.gz`).length >= 4);
    const all = [...numbers(1, 1000), 'last'];
    assert.equal(await read(log), all.join(''));
    for (const tail of [0, 1, 2, 59, 60, 61, 500, 999, 1000, 1001, 5000]) {
      const expected = tail === 0 ? '' : all.slice(-tail).join('');
      assert.equal(await read(log, { tail }), expected, `${driver} ${tail}`);
    }
    const stamped = (await read(log, { timestamps: true })).split('\n');
    const times = stamped.map((line) => parseTimeNs(line.split(' ')[0] ?? '') ?? 0n);
    for (const border of [times[0], times[500], times[1000]]) {
      assert.ok(border !== undefined && border > 0n);
      const those = (wanted: (timeNs: bigint) => boolean): string =>
        all.filter((_, i) => wanted(times[i] ?? 0n)).join('');
      assert.equal(
        await read(log, { sinceNs: border }),
        those((timeNs) => timeNs >= border),
      );
      assert.equal(
        await read(log, { untilNs: border }),
        those((timeNs) => timeNs <= border),
      );
    }
    assert.equal(
      await read(log, { tail: 700, details: true }).then((text) => text.slice(0, 8)),
      'a=b 302\n',
    );
  }
});

test('who follows a busy log gets each line once, while files are packed under it', async () => {
  for (const driver of DRIVERS) {
    for (const nonBlocking of [false, true]) {
      const log = packedLog(driver, {
        ...{ maxSizeBytes: 20_000, filesMax: 1000, nonBlocking, bufferBytes: 32 << 20 },
      });
      const followers = [undefined, 5].map((tail) =>
        shims.readLog(requestOf(log, { follow: true, tail })),
      );
      const outputs = followers.map((each) => each.output.toArray() as Promise<Buffer[]>);
      await run('seq 1 15000', log);
      for (const each of followers) each.end();
      const expected = numbers(1, 15_000).join('');
      const [all = '', end = ''] = (await Promise.all(outputs)).map((each) =>
        String(Buffer.concat(each)),
      );
      assert.ok(all === expected, `${driver}: ${all.length} of ${expected.length} bytes`);
      // It began somewhere, but went on without a gap.
      assert.ok(end.length > 1000 && expected.endsWith(end), `${driver}: ${end.slice(0, 40)}`);
      assert.ok((await read(log)) === expected, 'read afterwards');
      assert.ok(globSync(`${log.path}.*.gz`).length > 5);
    }
  }
});

test('a shim that is killed at any moment leaves each line once, and the next one goes on', async () => {
  const log = packedLog('json-file', { maxSizeBytes: 200_000, filesMax: 1000 });
  let next = 1;
  const packed = (): string[] => globSync(`${log.path}.*.gz`);
  // On a busy machine it takes longer until some are packed.
  for (let round = 0; round < 25 || (packed().length < 4 && round < 80); round += 1) {
    const { shim, pid } = await launch(`seq ${next} 10000000`, log);
    await sleep(randomInt(1, 60 + 4 * round));
    process.kill(shim.pid, 'SIGKILL');
    await assert.rejects(shim.exited);
    process.kill(pid, 'SIGKILL');
    await eventually(() => hasEnded(shim.pid) && hasEnded(pid));
    const got = (await read(log)).split('\n');
    // Half a line that was being written is no message.
    next = got.length;
    assert.deepEqual(got, [...numbers(1, next - 1).map((each) => each.trimEnd()), ''], `${round}`);
  }
  assert.ok(packed().length >= 4, globSync(`${log.path}*`).join(' '));
  // The last shim left a file unpacked, or half a packed one.
  if (!existsSync(`${log.path}.1`)) {
    writeFileSync(`${log.path}.1`, gunzipSync(readFileSync(`${log.path}.1.gz`)));
    rmSync(`${log.path}.1.gz`);
  }
  writeFileSync(`${log.path}.1.gz.new`, 'half');
  await run(`echo ${next}; sleep 1; echo ${next + 1}`, log);
  assert.ok(existsSync(`${log.path}.1.gz`) && !existsSync(`${log.path}.1`));
  assert.ok(!existsSync(`${log.path}.1.gz.new`));
  assert.equal(await read(log), numbers(1, next + 1).join(''));
});

test('files that are packed and files that are not stand side by side, whatever came first', async () => {
  const log = packedLog('local', { maxSizeBytes: 4000, filesMax: 5 });
  const plain = { ...log, compress: false };
  await run('seq 1 300', plain);
  await run('seq 301 500; sleep 0.2; seq 501 600; sleep 0.2', log);
  await run('seq 601 900', plain);
  const names = globSync(`${log.path}.*`);
  assert.ok(names.some((each) => each.endsWith('.gz')) && names.some((each) => /\d$/.test(each)));
  const files = names.map((each) => Number(/\.(\d+)(?:\.gz)?$/.exec(each)?.[1]));
  assert.deepEqual(
    files.toSorted((a, b) => a - b),
    [1, 2, 3, 4],
    names.join(' '),
  );
  const got = await read(log);
  assert.equal(got, numbers(901 - got.trimEnd().split('\n').length, 900).join(''));
});

test('what gzip and Docker packed is read too, and around damage', async () => {
  const line = (i: number): string =>
    `{"log":"${i}\\n","stream":"stdout","time":"2024-01-01T00:00:00.${String(i).padStart(9, '0')}Z"}\n`;
  const text = (from: number, to: number): string =>
    Array.from({ length: to - from + 1 }, (_, i) => line(from + i)).join('');
  const log = packedLog('json-file', { filesMax: 6 });
  const { Z_FIXED, Z_HUFFMAN_ONLY } = zlib;
  writeFileSync(`${log.path}.5.gz`, gzipSync(text(1, 900), { level: 9 }));
  writeFileSync(`${log.path}.4.gz`, gzipSync(text(901, 1800), { level: 0 }));
  writeFileSync(`${log.path}.3.gz`, gzipSync(text(1801, 2700), { strategy: Z_FIXED }));
  writeFileSync(`${log.path}.2.gz`, gzipSync(text(2701, 3600), { strategy: Z_HUFFMAN_ONLY }));
  writeFileSync(`${log.path}.1.gz`, gzipSync(text(3601, 3700)));
  writeFileSync(log.path, text(3701, 3710));
  assert.equal(await read(log), numbers(1, 3710).join(''));
  assert.equal(await read(log, { tail: 1500 }), numbers(2211, 3710).join(''));
  const half = gzipSync(text(2701, 3600));
  writeFileSync(`${log.path}.2.gz`, half.subarray(0, half.length / 2));
  const got = (await read(log)).trimEnd().split('\n').map(Number);
  const first = got.findIndex((each, i) => each !== i + 1);
  assert.ok(first > 2700 && first < 3600, `${first}`);
  assert.deepEqual(got.slice(first), numbers(3601, 3710).map(Number));
});
