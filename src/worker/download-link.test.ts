import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { DownloadLink } from './download-link.ts';

const MB = 1 << 20;

/** A link, a clock that is set by hand, and layers whose end is. */
function openLink(layersMax: number, bytesPerSecMax = 0) {
  let clockMs = 1_000_000;
  const link = new DownloadLink({
    ...{ layersMax, bytesPerSecMax },
    nowMs: () => clockMs,
    sleep: async (ms) => {
      clockMs += ms;
    },
  });
  const begun: string[] = [];
  const ends = new Map<string, () => void>();
  return {
    link,
    begun,
    now: () => clockMs,
    layer: async (name: string, sizeBytes: number): Promise<void> => {
      const body = async (): Promise<void> => {
        begun.push(name);
        await new Promise<void>((end) => ends.set(name, end));
      };
      void link.run(sizeBytes, body);
      await setImmediate();
    },
    end: async (name: string): Promise<void> => {
      ends.get(name)?.();
      await setImmediate();
    },
    /** So many bytes come in so many milliseconds. */
    come: async (bytes: number, ms: number): Promise<void> => {
      clockMs += ms;
      await link.received(bytes);
      await setImmediate();
    },
  };
}

test('on a link that has not shown that it is fast, large layers come one after another', async () => {
  const { begun, layer, end, come } = openLink(3);
  for (const name of ['a', 'b', 'c', 'd']) await layer(name, 10 * MB);
  assert.deepEqual(begun, ['a']);
  await come(MB, 20_000);
  assert.deepEqual(begun, ['a']);
  await end('a');
  assert.deepEqual(begun, ['a', 'b']);
  await come(MB, 50);
  assert.deepEqual(begun, ['a', 'b', 'c', 'd'], 'it has become fast');
});

test('a fast link takes as many as are allowed, one that becomes slow no further ones', async () => {
  const { begun, layer, end, come } = openLink(3);
  for (const name of ['a', 'b', 'c', 'd', 'e']) await layer(name, 10 * MB);
  await come(MB, 10);
  assert.deepEqual(begun, ['a', 'b', 'c']);
  await come(MB, 20_000);
  await end('a');
  await end('b');
  assert.deepEqual(begun, ['a', 'b', 'c']);
  await end('c');
  assert.deepEqual(begun, ['a', 'b', 'c', 'd']);
});

test('small layers do not wait for each other, and none overtakes', async () => {
  const { begun, layer } = openLink(3);
  await layer('a', 1000);
  await layer('b', 1000);
  await layer('large', 10 * MB);
  await layer('c', 1000);
  assert.deepEqual(begun, ['a', 'b']);
});

test('a failure gives its place to the next', async () => {
  const { link } = openLink(1);
  const failed = link.run(1, async () => {
    throw new Error('cut');
  });
  await assert.rejects(failed, /cut/);
  assert.equal(await link.run(1, async () => 'next'), 'next');
});

test('a limit holds over all layers together, whatever the size of the pieces', async () => {
  const { link, now } = openLink(3, 100_000);
  const startMs = now();
  for (let came = 0; came < 1_000_000; came += 10_000) await link.received(10_000);
  const tookMs = now() - startMs;
  assert(Math.abs(tookMs - 10_000) <= 20, `1 MB at 100 kB/s took ${tookMs} ms`);
});
