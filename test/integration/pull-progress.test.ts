import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProgressMessage } from '../../src/spec/docker/progress.ts';
import { startFaultyRegistry } from '../fault/registry.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { buildImage, type Compression } from '../support/images.ts';
import { eventually, freePort } from '../support/processes.ts';

/** What a pull says of its bytes, its speed and the time that is left is held against what happens. */

type Heard = ProgressMessage & { readonly atMs: number };

/** Lines of a pull with the time at which each came, by the unix socket or a TCP port. */
async function pull(
  daemon: TestDaemon,
  image: string,
  options: { readonly rate: string; readonly port?: number; readonly signal?: AbortSignal },
): Promise<Heard[]> {
  const { port, signal } = options;
  const to = port === undefined ? { socketPath: daemon.socket } : { host: '127.0.0.1', port };
  const query = new URLSearchParams({ fromImage: image, tag: 'v1', limitRate: options.rate });
  const address = `/images/create?${query.toString()}`;
  const heard: Heard[] = [];
  await new Promise<void>((resolve, reject) => {
    const outgoing = request({ ...to, method: 'POST', path: address, ...(signal && { signal }) });
    outgoing.on('error', reject).on('response', (response) => {
      let rest = '';
      response.on('error', reject).on('end', resolve);
      response.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString()).split('\r\n');
        rest = lines.pop() ?? '';
        const atMs = performance.now();
        for (const line of lines) heard.push({ ...JSON.parse(line), atMs });
      });
    });
    outgoing.end();
  });
  return heard;
}

const image = (sizes: readonly number[], compression: Compression = 'gzip') =>
  buildImage({
    compression,
    layers: sizes.map((bytes, i) =>
      Array.from({ length: 8 }, (_, n) => ({
        name: `f${i}-${n}`,
        content: randomBytes(bytes / 8),
      })),
    ),
  });

/** Lines that tell of the whole pull. */
function summed(lines: readonly Heard[]) {
  return lines.flatMap(({ atMs, progressDetail }) =>
    progressDetail?.whole === undefined ? [] : [{ atMs, ...progressDetail.whole }],
  );
}

test('bytes, speed and the time that is left are those of the link', async () => {
  await using registry = await startFaultyRegistry();
  const port = await freePort();
  await using daemon = await startDaemon({ flags: ['--host', `tcp://127.0.0.1:${port}`] });
  const built = await image([1_200_000, 800_000]);
  registry.add('app', 'v1', built);
  const total = built.layers.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const lines = await pull(daemon, `${registry.host}/app`, { rate: '400k' });
  const sums = summed(lines);
  const endMs = sums.at(-1)?.atMs ?? 0;
  assert(sums.length > 10);
  assert(sums.every((each) => each.total === total));
  assert(sums.every(({ current }, i) => current >= (sums[i - 1]?.current ?? 0)));
  assert((sums.at(-1)?.current ?? 0) > total * 0.9);
  const late = sums.filter(({ current }) => current > total * 0.3 && current < total * 0.8);
  assert(late.length > 5);
  for (const { atMs, current, bytesPerSec = 0 } of late) {
    // A busy machine may be slower than the limit, but not faster.
    const share = bytesPerSec / (400 * 1024);
    assert(share > 0.5 && share < 1.25, `${bytesPerSec} bytes in a second`);
    const saidMs = ((total - current) / bytesPerSec) * 1000;
    assert(Math.abs(endMs - atMs - saidMs) < 2500, `${saidMs} ms for ${endMs - atMs} ms`);
  }
  // Docker's client reckons by its clock, which is this one only on this machine.
  assert(lines.some(({ progressDetail }) => (progressDetail?.start ?? 0) > Date.now() / 1000 - 60));
  assert(lines.some(({ progress }) => /MB\/1\.\d+MB \d+s$/.test(progress ?? '')));
  await daemon.json('DELETE', `/images/${registry.host}/app:v1`);
  const remote = await pull(daemon, `${registry.host}/app`, { rate: '2m', port });
  assert(summed(remote).length > 3);
  assert(remote.every(({ progressDetail }) => progressDetail?.start === undefined));
});

/** Pulls at 1.6 MB a second for as long as takes a checkpoint, and goes away. */
async function pullInPart(daemon: TestDaemon, name: string): Promise<void> {
  const cut = new AbortController();
  const going = pull(daemon, name, { rate: '1600k', signal: cut.signal }).catch(() => undefined);
  await sleep(5500);
  cut.abort();
  await going;
}

/** The next pull, when the one that was cut off is over. */
async function pullAgain(daemon: TestDaemon, name: string, rate: string): Promise<Heard[]> {
  return await eventually(
    async () => {
      const lines = await pull(daemon, name, { rate });
      return lines.length > 0 ? lines : undefined;
    },
    { timeoutMs: 20_000 },
  );
}

test('a layer that is gone on with counts with what is missing; a link that stands still is told of', async () => {
  await using registry = await startFaultyRegistry();
  await using daemon = await startDaemon();
  const built = await image([12_000_000]);
  registry.add('app', 'v1', built);
  const name = `${registry.host}/app`;
  await pullInPart(daemon, name);
  // In the middle of the rest nothing comes for a while.
  const going = Promise.withResolvers<void>();
  registry.fault = async ({ path, headers }, answer) => {
    const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1]);
    const blob = registry.blobs.get(path.split('/').at(-1) ?? '');
    if (Number.isNaN(from) || blob === undefined) return false;
    const middle = (from + blob.length) >> 1;
    const range = `bytes ${from}-${blob.length - 1}/${blob.length}`;
    answer.writeHead(206, { 'content-range': range, 'content-length': blob.length - from });
    answer.write(blob.subarray(from, middle));
    await going.promise;
    answer.end(blob.subarray(middle));
    return true;
  };
  setTimeout(going.resolve, 4000);
  const lines = await pullAgain(daemon, name, '4m');
  const resumed = lines.find(({ status }) => status?.startsWith('Resuming at'));
  assert(resumed !== undefined, JSON.stringify(lines.slice(0, 5)));
  const sums = summed(lines);
  const [{ total } = { total: 0 }] = sums;
  const missing = registry.requests.findLast(({ headers }) => headers.range !== undefined);
  const from = Number(/^bytes=(\d+)-$/.exec(missing?.headers.range ?? '')?.[1]);
  assert.equal(total, (built.layers[0]?.bytes.length ?? 0) - from);
  assert((sums.at(-1)?.current ?? 0) > total * 0.9);
  const fastest = Math.max(...sums.map(({ bytesPerSec = 0 }) => bytesPerSec));
  const { bytesPerSec: atStill = 0 } = sums.findLast(({ current }) => current < total * 0.6) ?? {};
  assert(atStill < fastest * 0.6, `${atStill} of ${fastest} while nothing comes`);
  const tells = sums.filter(({ current }) => current > total * 0.4 && current < total * 0.6);
  assert(tells.length >= 3, 'each second, also while nothing comes');
});

test('a frame of zstd that was cut off comes again, and its files are not written again', async () => {
  await using registry = await startFaultyRegistry();
  await using daemon = await startDaemon();
  const built = await image([10_000_000], 'zstd');
  registry.add('app', 'v1', built);
  const name = `${registry.host}/app`;
  await pullInPart(daemon, name);
  const lines = await pullAgain(daemon, name, '0');
  const said = lines.map(({ status }) => status ?? '');
  const kept = said.find((line) => line.startsWith('Fetching it again, keeping '));
  assert(kept !== undefined, said.join('\n'));
  assert.equal(summed(lines)[0]?.total, built.layers[0]?.bytes.length);
  const [, keptMb = ''] = / ([\d.]+)MB of files$/.exec(kept) ?? [];
  const [, wroteMb = ''] = /^Wrote ([\d.]+)MB/.exec(said.at(-1) ?? '') ?? [];
  const both = Number(keptMb) + Number(wroteMb);
  assert(Number(keptMb) > 3 && both < 10.5, `${kept}; ${said.at(-1)}`);
});
