import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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

/** Sizes and times of everything below a folder. */
function fingerprint(folder: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    const { size, mtimeMs, ctimeMs } = statSync(path.join(folder, name), {
      throwIfNoEntry: false,
    }) ?? { size: -1, mtimeMs: 0, ctimeMs: 0 };
    found.set(name, `${size} ${mtimeMs} ${ctimeMs}`);
  }
  return found;
}

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
  const changed = [...after].filter(([name, each]) => before.get(name) !== each).length;
  const gone = [...before.keys()].filter((name) => !after.has(name)).length;
  const what = `20 healthchecks for ${images.probeSec} s`;
  report(
    { name: `${what}: files of the data root that changed`, unit: '', target: { most: 0 } },
    changed + gone,
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
