import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { invalidArgument, isEngineError } from '../base/errors.ts';
import { silentLogger } from '../base/log.ts';
import { createWorkers } from './workers.ts';

const FIXTURE = fileURLToPath(new URL('workers.fixture.ts', import.meta.url));
const signal = new AbortController().signal;

const workers = () =>
  createWorkers(
    {
      command: process.execPath,
      args: [FIXTURE],
      env: { ...process.env, NODE_OPTIONS: '--max-semi-space-size=1' },
    },
    silentLogger,
  );

const gone = (pid: number): boolean => !existsSync(`/proc/${pid}`);

test('a job reports in order, asks, and gives its result, without the flags of the daemon', async () => {
  const reports: unknown[] = [];
  await using job = await workers().start('pull', 21, {
    signal,
    onReport: (message) => reports.push(message),
    onQuestion: async (question) => (question as { double: number }).double * 2,
  });
  assert.deepEqual(await job.result, { answer: 42, execArgv: [], options: '' });
  assert.deepEqual(reports, [{ at: 'start' }, { at: 'end' }]);
});

test('an error of the daemon reaches the job that asked', async () => {
  await using job = await workers().start('pull', 1, {
    signal,
    onQuestion: async () => {
      throw invalidArgument('no');
    },
  });
  await assert.rejects(
    job.result,
    (error) => isEngineError(error, 'invalidArgument') && error.message === 'no',
  );
});

test('an EngineError keeps its kind, message and detail', async () => {
  await using job = await workers().start('push', null, { signal });
  await assert.rejects(job.result, (error) => {
    assert(isEngineError(error, 'conflict'));
    assert.equal(error.message, 'taken');
    assert.deepEqual(error.detail, { errno: 'EEXIST', count: 2 });
    return true;
  });
});

test('bytes go in by stdin', async () => {
  await using job = await workers().start('load', null, { signal });
  job.stdin.write(Buffer.alloc(1 << 20));
  job.stdin.end(Buffer.alloc(1 << 20));
  assert.deepEqual(await job.result, { bytes: 2 << 20 });
});

test('all bytes written to stdout arrive, the last ones too', async () => {
  await using job = await workers().start('save', { bytes: 8 << 20 }, { signal });
  let bytes = 0;
  for await (const chunk of job.stdout) bytes += (chunk as Buffer).length;
  assert.equal(bytes, 8 << 20);
  assert.equal(await job.result, 'saved');
});

test('a worker that crashes is an internal error with its signal or code', async () => {
  await using crashed = await workers().start('import', null, { signal });
  await assert.rejects(
    crashed.result,
    (error) => isEngineError(error, 'internal') && error.detail['signal'] === 'SIGSEGV',
  );
  await using exited = await workers().start('tree-diff', null, { signal });
  await assert.rejects(
    exited.result,
    (error) => isEngineError(error, 'internal') && error.detail['exitCode'] === 7,
  );
});

test('an abort kills the worker, and disposing waits until it is gone', async () => {
  const abort = new AbortController();
  let pid = 0;
  {
    await using job = await workers().start('registry', null, {
      signal: abort.signal,
      onReport: () => abort.abort(invalidArgument('stop')),
    });
    pid = job.pid;
    await assert.rejects(job.result, { message: 'stop' });
  }
  assert(gone(pid));
});

test('close ends what runs and refuses what comes', async () => {
  const all = workers();
  const started = Promise.withResolvers<void>();
  await using job = await all.start('registry', null, {
    signal,
    onReport: () => started.resolve(),
  });
  await started.promise;
  await all.close();
  assert(gone(job.pid));
  await assert.rejects(all.start('pull', 1, { signal }), { kind: 'canceled' });
});

test('a command that is not there is one error', async () => {
  const none = createWorkers({ command: '/nonexistent', args: [], env: {} }, silentLogger);
  await assert.rejects(none.start('pull', 1, { signal }), { kind: 'internal' });
});

test('a worker whose daemon is killed ends itself', async () => {
  const daemon = spawn(
    process.execPath,
    [
      '--input-type=module-typescript',
      '-e',
      `import { createWorkers } from ${JSON.stringify(new URL('workers.ts', import.meta.url).href)};
       import { silentLogger } from ${JSON.stringify(new URL('../base/log.ts', import.meta.url).href)};
       const workers = createWorkers({ command: process.execPath, args: [${JSON.stringify(FIXTURE)}], env: process.env }, silentLogger);
       const job = await workers.start('registry', null, { signal: new AbortController().signal,
         onReport: (m) => process.stdout.write(m.pid + '\\n') });
       await job.result;`,
    ],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [line] = (await once(daemon.stdout, 'data')) as [Buffer];
  const pid = Number(line.toString());
  assert(!gone(pid));
  daemon.kill('SIGKILL');
  const until = Date.now() + 30_000;
  while (!gone(pid) && Date.now() < until) await sleep(20);
  assert(gone(pid));
});
