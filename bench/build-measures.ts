import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { layerTar } from '../test/support/images.ts';
import { median } from './accounting.ts';
import type { BenchEngine } from './engines.ts';
import type { Scenario } from './measures.ts';

const ROUNDS = 3;
const RUNS = 10;

/** A classic build of 10 RUN and 2 COPY: every step carried out, and every step from the cache. */
export const build: Scenario = async (engine, report, images) => {
  const runs = Array.from({ length: RUNS }, (_, i) => `RUN echo ${i} > /made-${i}`);
  const dockerfile = [`FROM ${images.busybox}`, 'COPY app /app', ...runs, 'COPY settings /etc/'];
  const app = Array.from({ length: 100 }, (_, i) => ({
    name: `app/${i}`,
    content: Buffer.alloc(20_000, `file ${i}\n`),
  }));
  const context = await layerTar([
    { name: 'Dockerfile', content: dockerfile.join('\n') },
    { name: 'settings', content: 'a=b' },
    ...app,
  ]);
  const steps = await costOf(engine, context, 'nocache=1');
  const name = `build of ${RUNS} RUN, 2 COPY`;
  report({ name: `${name}: CPU`, unit: 's', target: { most: 1.5 } }, steps.cpuMs / 1e3);
  report({ name: `${name}: wall`, unit: 's' }, steps.wallMs / 1e3);
  const cached = await costOf(engine, context, 't=bench');
  report({ name: `${name}, cached: CPU`, unit: 's' }, cached.cpuMs / 1e3);
};

async function costOf(
  engine: BenchEngine,
  context: Uint8Array,
  query: string,
): Promise<{ readonly cpuMs: number; readonly wallMs: number }> {
  const cpu: number[] = [];
  const wall: number[] = [];
  // The first fills the cache and does not count.
  for (let round = -1; round < ROUNDS; round++) {
    const before = engine.group.cpuMs();
    const began = performance.now();
    const body = Readable.from([context], { objectMode: false });
    const answer = await engine.call('POST', `/build?networkmode=none&${query}`, body);
    const wallMs = performance.now() - began;
    if (!answer.includes('Successfully built')) throw new Error(answer.slice(-1000));
    await sleep(250); // what is done after the answer counts too
    if (round < 0) continue;
    cpu.push(engine.group.cpuMs() - before);
    wall.push(wallMs);
  }
  return { cpuMs: median(cpu), wallMs: median(wall) };
}
