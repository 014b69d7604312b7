import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { tableName } from '../src/engine/networks/engine-networks.ts';
import { USER_CHAIN } from '../src/policy/nft-ruleset.ts';
import { lowerQuartile, median } from './accounting.ts';
import type { BenchEngine } from './engines.ts';
import type { Report, Scenario } from './measures.ts';

/** What networks cost: starts, joining and leaving, published ports, names. */

const LOAD = path.join(import.meta.dirname, 'network-load.ts');
const PORTS = 1000;
const FIRST_PORT = 20_000;
const LOAD_SECONDS = 0.5;
const LOAD_ROUNDS = 15;

type Inspect = {
  readonly State: { readonly Pid: number };
  readonly NetworkSettings: { readonly Networks: Record<string, { readonly IPAddress: string }> };
};

/** Words of a command that loads a network, in the namespace of a path (the host's without one). */
function loadCommand(args: readonly string[], namespace?: string): [string, string[]] {
  const inside = namespace === undefined ? [] : ['nsenter', `--net=${namespace}`];
  const [command = '', ...rest] = [...inside, process.execPath, LOAD, ...args];
  return [command, rest];
}

function load(args: readonly string[], namespace?: string): number {
  return Number(execFileSync(...loadCommand(args, namespace), { encoding: 'utf8' }));
}

function sh(command: string): void {
  execFileSync('sh', ['-ec', command], { stdio: 'ignore' });
}

function publishing(...ports: readonly [host: number, container: number][]): object {
  const entries = ports.map(([host, container]) => [
    `${container}/tcp`,
    [{ HostIp: '', HostPort: String(host) }],
  ]);
  return {
    ExposedPorts: Object.fromEntries(ports.map(([, container]) => [`${container}/tcp`, {}])),
    HostConfig: { PortBindings: Object.fromEntries(entries) },
  };
}

/** Starts a container that sleeps; its namespace and its address. */
async function up(
  engine: BenchEngine,
  config: object,
): Promise<{ id: string; namespace: string; ip: string }> {
  const id = await engine.create({ Cmd: ['sleep', '600'], ...config });
  await engine.call('POST', `/containers/${id}/start`);
  const seen = JSON.parse(await engine.call('GET', `/containers/${id}/json`)) as Inspect;
  const [first] = Object.values(seen.NetworkSettings.Networks);
  return { id, namespace: `/proc/${seen.State.Pid}/ns/net`, ip: first?.IPAddress ?? '' };
}

/** A program that takes what is sent to a port, in a namespace; disposing ends it. */
async function sink(port: number, namespace: string): Promise<Disposable> {
  const child = spawn(...loadCommand(['serve', String(port)], namespace), {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return { [Symbol.dispose]: () => void child.kill('SIGKILL') };
}

/** Engine CPU of each body, ms; they take turns, so that what else the machine does hits all. */
async function costs(
  engine: BenchEngine,
  rounds: number,
  bodies: readonly (() => Promise<unknown>)[],
): Promise<number[]> {
  const all = bodies.map((): number[] => []);
  for (let round = -2; round < rounds; round++) {
    for (const [i, body] of bodies.entries()) {
      const before = engine.group.cpuMs();
      await body();
      await sleep(250); // what is done after the answer counts too
      if (round >= 0) all[i]?.push(engine.group.cpuMs() - before);
    }
  }
  return all.map(lowerQuartile);
}

/** Starts with a network, and what a published port adds. */
export const bridge: Scenario = async (engine, report, images) => {
  const config = { Image: images.busybox, Cmd: ['true'] };
  const [plain = 0, published = 0] = await costs(engine, 15, [
    () => engine.run(config),
    () => engine.run({ ...config, ...publishing([FIRST_PORT, 80]) }),
  ]);
  report({ name: 'start on the bridge: CPU', unit: 'ms', target: { most: 75 } }, plain);
  report(
    { name: 'a published port: CPU above that', unit: 'ms', target: { most: 3 } },
    published - plain,
  );

  const { Id } = JSON.parse(
    await engine.call('POST', '/networks/create', { Name: 'bench-joined' }),
  ) as { Id: string };
  const { id } = await up(engine, { Image: images.busybox });
  const times = { connect: [] as number[], disconnect: [] as number[] };
  for (let i = -2; i < 20; i++) {
    for (const what of ['connect', 'disconnect'] as const) {
      const began = performance.now();
      await engine.call('POST', `/networks/${Id}/${what}`, { Container: id });
      if (i >= 0) times[what].push(performance.now() - began);
      await sleep(60); // the kernel takes links away behind the answer
    }
  }
  for (const what of ['connect', 'disconnect'] as const) {
    const measure = { name: `network ${what}: wall`, unit: 'ms', target: { most: 10 } };
    report(measure, lowerQuartile(times[what]));
  }
  await engine.clear();
  await engine.call('DELETE', `/networks/${Id}`);
};

/** What a published port carries beside the direct path. */
const throughput: Scenario = async (engine, report, images) => {
  const host = publishing([FIRST_PORT, 80]);
  const { namespace, ip } = await up(engine, { Image: images.busybox, ...host });
  using _sink = await sink(80, namespace);
  sh(`ip netns add bench-lan
    ip link add bench-lan type veth peer name eth0 netns bench-lan
    ip addr add 10.215.0.1/24 dev bench-lan; ip link set bench-lan up
    ip -n bench-lan addr add 10.215.0.2/24 dev eth0; ip -n bench-lan link set eth0 up
    ip -n bench-lan route add default via 10.215.0.1`);
  try {
    if (engine.name === 'coracle') {
      // Lets the neighbour past the published ports, to have something to compare with.
      const table = tableName(engine.execRoot);
      sh(`nft add rule inet ${table} ${USER_CHAIN} ip daddr ${ip} accept`);
    }
    const paths = [
      { from: '127.0.0.1', netns: undefined, published: '127.0.0.1' },
      { from: 'another host', netns: '/run/netns/bench-lan', published: '10.215.0.1' },
    ];
    for (const { from, netns, published } of paths) {
      const rates = { direct: [] as number[], published: [] as number[] };
      const cpu: number[] = [];
      for (let round = 0; round < LOAD_ROUNDS; round++) {
        rates.direct.push(load(['send', ip, '80', String(LOAD_SECONDS)], netns));
        const before = engine.group.cpuMs();
        const args = ['send', published, String(FIRST_PORT), String(LOAD_SECONDS)];
        rates.published.push(load(args, netns));
        cpu.push(engine.group.cpuMs() - before);
      }
      report(
        { name: `published port from ${from}, beside direct`, unit: '%', target: { least: 90 } },
        (Math.max(...rates.published) / Math.max(...rates.direct)) * 100,
      );
      report(
        {
          name: `published port from ${from}: engine CPU for 1 s`,
          unit: 'ms',
          target: { most: 1 },
        },
        median(cpu) / LOAD_SECONDS,
      );
    }
  } finally {
    sh('ip link del bench-lan; ip netns del bench-lan');
    await engine.clear();
  }
};

/** The thousandth published port beside the first: to make it, and to connect through it. */
const thousand: Scenario = async (engine, report, images) => {
  const config = { Image: images.busybox, Cmd: ['true'], ...publishing([FIRST_PORT - 1, 80]) };
  const cost = async (): Promise<number> =>
    lowerQuartile(await costs(engine, 12, [() => engine.run(config)]));
  const before = await cost();
  const all = Array.from({ length: PORTS }, (_, i): [number, number] => [FIRST_PORT + i, 1000 + i]);
  const { id, namespace } = await up(engine, { Image: images.busybox, ...publishing(...all) });
  const beside = await cost();
  await compareConnections(report, namespace);
  await engine.call('DELETE', `/containers/${id}?force=1`);
  // Before and after, as the machine is not equally fast at all times.
  const without = (before + (await cost())) / 2;
  report(
    { name: 'published port beside 1,000: CPU above the first', unit: 'ms', target: { most: 1 } },
    beside - without,
  );
};

async function compareConnections(report: Report, namespace: string): Promise<void> {
  using _first = await sink(1000, namespace);
  using _last = await sink(1000 + PORTS - 1, namespace);
  const times = { first: [] as number[], last: [] as number[] };
  for (let round = 0; round < 7; round++) {
    const by = (port: number) => load(['connect', '127.0.0.1', String(port), '200']);
    times.first.push(by(FIRST_PORT));
    times.last.push(by(FIRST_PORT + PORTS - 1));
  }
  report(
    { name: 'connection by the 1,000th port, beside the first', unit: '%', target: { most: 110 } },
    (lowerQuartile(times.last) / lowerQuartile(times.first)) * 100,
  );
}

/** Published ports: what they carry, and what many of them cost. */
export const ports: Scenario = async (engine, report, images) => {
  await throughput(engine, report, images);
  // Docker starts one or two processes for each port: for a thousand there is no room here.
  if (engine.name === 'coracle') await thousand(engine, report, images);
};

/** Names of containers, answered by the engine. */
export const names: Scenario = async (engine, report, images) => {
  await engine.call('POST', '/networks/create', { Name: 'bench-names' });
  const config = { Image: images.busybox, HostConfig: { NetworkMode: 'bench-names' } };
  const alias = { EndpointsConfig: { 'bench-names': { Aliases: ['db'] } } };
  await up(engine, { ...config, NetworkingConfig: alias });
  const { namespace } = await up(engine, config);
  const ask = (): number =>
    load(['resolve', '127.0.0.11', 'db', String(LOAD_SECONDS), '16'], namespace);
  ask();
  const before = engine.group.cpuMs();
  const perSecond = ask();
  const cpuMs = engine.group.cpuMs() - before;
  report(
    { name: 'DNS: answers for a second of CPU', unit: '', target: { least: 5000 } },
    ((perSecond * LOAD_SECONDS) / cpuMs) * 1000,
  );
  report({ name: 'DNS: answers in a second', unit: '' }, perSecond);
  await engine.clear();
  await engine.call('DELETE', '/networks/bench-names');
};
