import assert from 'node:assert/strict';
import { request } from 'node:http';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONTRACT, type OperationName } from '../../src/api/contract/contract.ts';
import type { EndpointSpec } from '../../src/api/contract/endpoint.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { busyboxImage } from '../support/images.ts';
import { eventually } from '../support/processes.ts';
import { type Random, randomOf } from '../support/random.ts';
import { type Resources, takeStock } from '../support/resources.ts';

/**
 * Several clients that know the API and have no manners: calls that make sense and calls that do
 * not, on the same few things at once, many of them given up in the middle. The daemon has to
 * answer each without a failure of its own, and in the end hold nothing.
 */

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 10);
const seed = Number(process.env['FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

const CLIENTS = 6;
/** One in so many calls is given up after a moment. */
const GIVEN_UP = 6;
const PATIENCE_MS = 20_000;
const IMAGE = 'fuzz:image';

/** They reach for other machines, or say nothing of the engine's own. */
const LEFT_OUT: ReadonlySet<OperationName> = new Set([
  ...(['imagePull', 'imagePush', 'imageSearch', 'imageDistribution', 'systemAuth'] as const),
  ...(['imageDelta', 'systemCheck'] as const),
]);
const OFTEN: readonly OperationName[] = [
  ...(['containerCreate', 'containerStart', 'containerRemove', 'containerStop'] as const),
  ...(['containerRestart', 'containerRename', 'execCreate', 'execStart', 'execStart'] as const),
  ...(['containerAttach', 'networkCreate', 'networkConnect', 'volumeCreate'] as const),
];
/** Docker's own status for what a host cannot give. */
const NO_FAILURE = /port is already allocated|error while mounting volume/;

const NAMES = ['c1', 'c2', 'c3', 'c4'];
const PATHS = ['/', '/etc', '/nowhere', '/proc/self/exe', '/etc/passwd', '/data', '..', ''];
const ODD = ['', '-1', '0', '1', 'x'.repeat(300), 'ä\u{1f600}', '__proto__', '\n', '99999999999'];

class Client {
  readonly #daemon: TestDaemon;
  readonly #random: Random;
  readonly failures: string[] = [];
  readonly #execs: string[] = ['none'];
  sent = 0;
  /** Calls that did what they were for. */
  good = 0;

  constructor(daemon: TestDaemon, random: Random) {
    this.#daemon = daemon;
    this.#random = random;
  }

  async run(untilMs: number): Promise<void> {
    const names = (Object.keys(CONTRACT) as OperationName[]).filter((n) => !LEFT_OUT.has(n));
    while (performance.now() < untilMs) {
      await this.#call(this.#random.pick(this.#random.oneIn(2) ? OFTEN : names));
    }
  }

  async #call(name: OperationName): Promise<void> {
    const endpoint: EndpointSpec = CONTRACT[name];
    const path = endpoint.path.replace(/\{(\w+)[^}]*\}/g, () =>
      encodeURIComponent(this.#param(endpoint.path)),
    );
    const query = Object.keys(endpoint.query ?? {})
      .filter(() => this.#random.oneIn(3))
      .map((key) => `${key}=${encodeURIComponent(this.#queryOf(name, key))}`);
    if (name === 'containerCreate') query.push(`name=${this.#random.pick(NAMES)}`);
    if (name === 'imageImport') query.push('fromSrc=-');
    const body = endpoint.body === undefined ? undefined : this.#bodyOf(name);
    const raw = endpoint.body?.kind === 'raw';
    const text = raw ? 'no tar at all' : JSON.stringify(body);
    const { status, answer } = await this.#send(endpoint.method, `${path}?${query.join('&')}`, {
      text: body === undefined ? undefined : text,
      type: raw ? 'application/x-tar' : 'application/json',
    });
    this.sent += 1;
    if (status >= 200 && status < 300) this.good += 1;
    if (name === 'execCreate' && status === 201) {
      this.#execs.push((JSON.parse(answer) as { Id: string }).Id);
    }
    if (status === 500 && !NO_FAILURE.test(answer)) {
      this.failures.push(`${endpoint.method} ${path}?${query.join('&')} ${text}: ${answer}`);
    }
  }

  #param(path: string): string {
    if (this.#random.oneIn(20)) return this.#random.pick(ODD);
    if (path.startsWith('/exec')) return this.#execs.at(-1 - this.#random.below(3)) ?? 'none';
    if (path.startsWith('/images')) return this.#random.pick([IMAGE, 'other', 'other:tag']);
    if (path.startsWith('/networks')) return this.#random.pick(['n1', 'n2', 'bridge', 'none']);
    if (path.startsWith('/volumes')) return this.#random.pick(['v1', 'v2', 'v3']);
    return this.#random.pick(NAMES);
  }

  #queryOf(name: OperationName, key: string): string {
    const { pick } = this.#random;
    if (this.#random.oneIn(15)) return pick(ODD);
    if (key === 'path') return pick(PATHS);
    if (key === 'container' || key === 'name') return pick(NAMES);
    if (key === 'repo') return 'other';
    if (key === 't') return pick(['0', '1']);
    if (key === 'condition') return pick(['not-running', 'next-exit', 'removed']);
    if (key === 'filters') return pick(['{}', '{"label":["a"]}', '{"until":["1h"]}', 'junk']);
    if (key === 'ps_args') return pick(['-ef', 'aux', '-o pid,comm', 'junk']);
    return name === 'systemEvents' ? '1' : pick(['1', '0', 'true', '']);
  }

  #bodyOf(name: OperationName): unknown {
    const { pick, oneIn } = this.#random;
    if (oneIn(30)) return pick<unknown>([null, [], 'text', { Cmd: 1 }, { HostConfig: [] }]);
    const wish = { Container: pick(NAMES), Force: oneIn(2) };
    const bodies: Partial<Record<OperationName, unknown>> = {
      containerCreate: this.#container(),
      containerUpdate: { Memory: pick([0, 64 << 20, 1, -1]), CpuShares: pick([0, 10, 1 << 20]) },
      execCreate: {
        Cmd: pick([['true'], ['cat'], ['sleep', '1'], ['nowhere'], []]),
        ...{ AttachStdin: oneIn(2), AttachStdout: oneIn(2), Tty: oneIn(3) },
      },
      execStart: { Detach: oneIn(3) },
      networkCreate: { Name: pick(['n1', 'n2']), Internal: oneIn(4) },
      networkConnect: wish,
      networkDisconnect: wish,
      volumeCreate: { Name: pick(['v1', 'v2', '']) },
    };
    return bodies[name] ?? {};
  }

  #container(): unknown {
    const { pick, oneIn } = this.#random;
    const AutoRemove = oneIn(4);
    return {
      Image: oneIn(10) ? pick(ODD) : IMAGE,
      Cmd: pick([['sleep', '1'], ['sleep', '60'], ['cat'], ['true'], ['nowhere']]),
      ...{ Tty: oneIn(3), OpenStdin: oneIn(2), StopTimeout: 0 },
      ...(oneIn(3) ? { Healthcheck: { Test: ['CMD', 'true'], Interval: 1e7 } } : {}),
      HostConfig: {
        AutoRemove,
        NetworkMode: pick(['none', 'bridge', 'n1', 'container:c1', 'host', 'nowhere']),
        IpcMode: pick(['', 'shareable', 'private', 'container:c1']),
        RestartPolicy: { Name: AutoRemove ? 'no' : pick(['no', 'always', 'on-failure']) },
        Binds: oneIn(2) ? [`${pick(['v1', 'v2', 'v3'])}:${pick(['/data', '/etc', 'x'])}`] : [],
        Memory: oneIn(8) ? pick([1, -1, 8 << 20]) : 0,
      },
    };
  }

  /** Status 0 for a call that was given up, or cut off. */
  async #send(
    method: string,
    path: string,
    body: { readonly text: string | undefined; readonly type: string },
  ): Promise<{ readonly status: number; readonly answer: string }> {
    const isHijack = /attach|\/exec\/.*start/.test(path);
    const limitMs = this.#random.oneIn(GIVEN_UP) || isHijack ? this.#random.below(200) : 2_000;
    return await new Promise((resolve) => {
      let [status, answer] = [0, ''];
      const sent = request({
        ...{ socketPath: this.#daemon.socket, method, path, agent: false },
        headers: {
          ...(body.text === undefined ? {} : { 'content-type': body.type }),
          ...(isHijack ? { connection: 'Upgrade', upgrade: 'tcp' } : {}),
        },
      });
      const done = (): void => {
        clearTimeout(timer);
        sent.destroy();
        resolve({ status, answer });
      };
      const timer = setTimeout(done, limitMs);
      sent.on('error', done);
      sent.on('upgrade', (_response, socket) => {
        socket.on('error', () => undefined).resume();
        setTimeout(() => socket.destroy(), this.#random.below(200));
        done();
      });
      sent.on('response', (response) => {
        status = response.statusCode ?? 0;
        response.on('data', (chunk: Buffer) => {
          if (answer.length < 4096) answer += chunk.toString();
        });
        response.on('end', done).on('error', done);
      });
      sent.end(body.text);
    });
  }
}

/** The image, put back whenever somebody has removed it. */
async function keepImage(daemon: TestDaemon, tar: Uint8Array, untilMs: number): Promise<void> {
  while (performance.now() < untilMs) {
    const found = await daemon.api('GET', `/images/${IMAGE}/json`);
    if (found.status === 404) {
      const [repo, tag] = IMAGE.split(':');
      await daemon.api('POST', `/images/create?fromSrc=-&repo=${repo}&tag=${tag}`, tar);
    }
    await sleep(200);
  }
}

async function removeAll(daemon: TestDaemon): Promise<void> {
  const containers = await daemon.json('GET', '/containers/json?all=1');
  for (const { Id } of containers as { Id: string }[]) {
    const gone = await daemon.api('DELETE', `/containers/${Id}?force=1&v=1`);
    assert.ok([204, 404, 409].includes(gone.status), gone.text);
  }
  await daemon.json('POST', '/networks/prune');
}

function sum(clients: readonly Client[], what: 'sent' | 'good'): number {
  return clients.reduce((total, client) => total + client[what], 0);
}

function left({ mounts, netns, processes, descriptors }: Resources): object {
  return { mounts, netns, processes, descriptors: descriptors.length };
}

test(`clients without manners meet no failure, and leave nothing (FUZZ_SEED=${seed})`, async () => {
  // A network of its own: nothing of this reaches another machine.
  const script = 'ip link set lo up; exec "$0" "$@"';
  await using daemon = await startDaemon({ wrapper: ['unshare', '-n', 'sh', '-c', script] });
  const tar = (await busyboxImage()).layers[0]?.bytes ?? new Uint8Array();
  await keepImage(daemon, tar, performance.now() + 1);
  const warm = await daemon.json('POST', '/containers/create', { Image: IMAGE, Cmd: ['true'] });
  await daemon.json('POST', `/containers/${(warm as { Id: string }).Id}/start`);
  await removeAll(daemon);
  const before = takeStock(daemon);

  const untilMs = performance.now() + seconds * 1000;
  const clients = Array.from(
    { length: CLIENTS },
    (_, i) => new Client(daemon, randomOf(seed + i * 7919)),
  );
  await Promise.all([
    keepImage(daemon, tar, untilMs),
    ...clients.map((client) => client.run(untilMs)),
  ]);
  assert.ok(daemon.isRunning, 'the daemon lives');
  assert.deepEqual(
    clients.flatMap(({ failures }) => failures),
    [],
  );
  const [sent, good] = [sum(clients, 'sent'), sum(clients, 'good')];
  assert.ok(good > seconds && good > sent / 10, `${good} of ${sent} calls did something`);
  await removeAll(daemon);
  const isClean = (): boolean => {
    const now = takeStock(daemon);
    return (
      now.processes.length <= before.processes.length &&
      now.mounts.length <= before.mounts.length &&
      now.netns.length <= before.netns.length &&
      now.descriptors.length <= before.descriptors.length
    );
  };
  await eventually(isClean, { timeoutMs: PATIENCE_MS }).catch(() =>
    assert.deepEqual(left(takeStock(daemon)), left(before)),
  );
});
