import { setTimeout as sleep } from 'node:timers/promises';
import { fingerprint } from '../test/support/fingerprint.ts';
import { writtenBytes } from './accounting.ts';
import type { BenchEngine } from './engines.ts';
import type { Scenario } from './measures.ts';

/** What many containers cost while they run: memory, and what is written. */

const NONE = { NetworkMode: 'none' };

async function startMany(engine: BenchEngine, count: number, config: object): Promise<void> {
  for (let i = 0; i < count; i += 1) {
    const id = await engine.create(config);
    await engine.call('POST', `/containers/${id}/start`);
  }
}

/** 200 running containers: what each takes beside its own processes. */
export const crowd: Scenario = async (engine, report, images) => {
  const count = 200;
  const daemonBefore = engine.group.memoryOf(engine.pid, 'Pss');
  const known = new Set(engine.group.pids());
  await startMany(engine, count, {
    ...{ Image: images.busybox, Cmd: ['sleep', '3600'], HostConfig: NONE },
  });
  await sleep(2000);
  const own = engine.group
    .pids()
    .filter((pid) => !known.has(pid))
    .reduce((sum, pid) => sum + engine.group.memoryOf(pid, 'Pss'), 0);
  const daemon = engine.group.memoryOf(engine.pid, 'Pss') - daemonBefore;
  report(
    { name: 'each of 200 running containers: PSS', unit: 'kB', target: { most: 250 } },
    own / count,
  );
  report(
    { name: 'each of 200 running containers: PSS with its share of the daemon', unit: 'kB' },
    (own + daemon) / count,
  );
  await engine.clear();
};

/** 20 containers with a healthcheck every 5 s, otherwise idle: what is written to the data root. */
export const probes: Scenario = async (engine, report, images) => {
  const Healthcheck = { Test: ['CMD', 'true'], Interval: 5e9 };
  await startMany(engine, 20, {
    ...{ Image: images.busybox, Cmd: ['sleep', '3600'], Healthcheck, HostConfig: NONE },
  });
  await sleep(7000);
  const before = fingerprint(engine.dataRoot);
  const cpu = engine.group.cpuMs();
  const written = writtenBytes(engine.pid);
  await sleep(images.probeSec * 1000);
  const after = fingerprint(engine.dataRoot);
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  const changed = [...names].filter((name) => before[name] !== after[name]).length;
  const what = `20 healthchecks for ${images.probeSec} s`;
  report(
    { name: `${what}: files of the data root that changed`, unit: '', target: { most: 0 } },
    changed,
  );
  report(
    { name: `${what}: bytes the daemon wrote`, unit: '', target: { most: 0 } },
    writtenBytes(engine.pid) - written,
  );
  report(
    { name: `${what}: CPU of one probe`, unit: 'ms' },
    (engine.group.cpuMs() - cpu) / (images.probeSec * 4),
  );
  await engine.clear();
};
