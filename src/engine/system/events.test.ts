import assert from 'node:assert/strict';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../../base/clock.ts';
import { EventBus } from '../events.ts';
import { systemEvents } from './events.ts';

const T0 = 1_700_000_000;

function engineAt(): {
  engine: { clock: Clock; events: EventBus };
  setSeconds: (s: number) => void;
} {
  let seconds = T0;
  const clock: Clock = {
    nowMs: () => seconds * 1000,
    nowNs: () => BigInt(seconds) * 1_000_000_000n,
    monotonicMs: () => performance.now(),
    sleep: async (ms, options) => {
      await sleep(ms, undefined, options?.signal === undefined ? {} : { signal: options.signal });
    },
  };
  return {
    engine: { clock, events: new EventBus(clock) },
    setSeconds: (s) => {
      seconds = s;
    },
  };
}

const call = (signal = new AbortController().signal) => ({ signal, apiVersion: [1, 51] as const });

async function text(body: AsyncIterable<Buffer>): Promise<string[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return Buffer.concat(chunks)
    .toString()
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => (JSON.parse(line) as { Action: string }).Action);
}

test('kept events between since and until come, and then the end', async () => {
  const { engine, setSeconds } = engineAt();
  for (const [i, action] of ['create', 'start', 'die'].entries()) {
    setSeconds(T0 + i);
    engine.events.publish({ type: 'container', action, id: 'x' });
  }
  setSeconds(T0 + 10);
  const query = { since: `${T0 + 1}`, until: `${T0 + 2}.000000001`, filters: {} };
  const { body } = await systemEvents(engine, { query }, call());
  assert.deepEqual(await text(body), ['start', 'die']);
  assert.equal(engine.events.listenerCount, 0);
});

test('live events follow the kept ones until the time is up', async () => {
  const { engine } = engineAt();
  engine.events.publish({ type: 'container', action: 'create', id: 'x' });
  const query = { since: '0', until: `${T0}.100000000`, filters: { event: ['create', 'start'] } };
  const { body } = await systemEvents(engine, { query }, call());
  engine.events.publish({ type: 'container', action: 'start', id: 'x' });
  engine.events.publish({ type: 'container', action: 'die', id: 'x' });
  assert.deepEqual(await text(body), ['create', 'start']);
  assert.equal(engine.events.listenerCount, 0);
});

test('a client that goes, or does not read, is let go of', async () => {
  const { engine } = engineAt();
  const query = { since: '', until: '', filters: {} };
  const controller = new AbortController();
  const gone = await systemEvents(engine, { query }, call(controller.signal));
  assert.equal(engine.events.listenerCount, 1);
  controller.abort();
  assert.equal(engine.events.listenerCount, 0);
  assert.ok(gone.body.destroyed);

  const lazy = await systemEvents(engine, { query }, call());
  const failed = once(lazy.body, 'error');
  const attributes = { a: 'x'.repeat(1 << 20) };
  for (let i = 0; i < 6; i += 1) {
    engine.events.publish({ type: 'container', action: 'die', id: 'x', attributes });
  }
  assert.match(String(await failed), /does not read its events/);
  assert.equal(engine.events.listenerCount, 0);
});

test('times and filters that make no sense are refused', async () => {
  const { engine } = engineAt();
  const events = (query: object) =>
    systemEvents(engine, { query: { since: '', until: '', filters: {}, ...query } }, call());
  const kind = { kind: 'invalidArgument' };
  await assert.rejects(events({ since: 'yesterday' }), kind);
  await assert.rejects(events({ since: '20', until: '10' }), {
    ...kind,
    message: 'since time (20) cannot be after until time (10)',
  });
  await assert.rejects(events({ filters: { nothing: ['x'] } }), kind);
});
