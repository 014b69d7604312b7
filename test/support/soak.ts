import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { StdcopyReader } from '../../src/formats/stdcopy.ts';
import type { ExecInspect } from '../../src/spec/docker/container-view.ts';
import type { Box } from './box.ts';
import type { Answer } from './daemon.ts';
import { eventually } from './processes.ts';
import { randomNumbers } from './random.ts';
import { type Resources, takeStock } from './resources.ts';

/**
 * Many clients that start, exec and attach, while the daemon is killed again and again. Whatever a
 * client was told by a daemon that is gone, the next one must tell it the exit code, and the whole
 * output, of everything that ran.
 */

export type SoakPlan = {
  /** What the clients do, and when the daemon is killed, follows from it. */
  readonly seed: number;
  /** Lives of containers, execs and attaches in all. */
  readonly operations: number;
  readonly clients: number;
  /** Time between two deaths of the daemon. Milliseconds. */
  readonly killAfterMs: readonly [least: number, most: number];
};

/** What was done. */
export type SoakResult = {
  readonly kills: number;
  readonly starts: number;
  readonly execs: number;
  readonly attaches: number;
};

/** An answer that another attempt may turn into a better one: the daemon dies and comes back. */
const PATIENCE_MS = 60_000;

/** A call that is made again while there is no daemon to answer it. */
async function call(box: Box, method: string, address: string, body?: object): Promise<Answer> {
  return await eventually(() => box.daemon.api(method, address, body).catch(() => undefined), {
    what: `an answer to ${method} ${address}`,
    timeoutMs: PATIENCE_MS,
  });
}

/** As they are by default; or in files of a few lines, which are packed while the container ends. */
const LOGS = [
  {},
  ...['json-file', 'local'].map((Type) => ({
    Type,
    Config: { 'max-size': '300', 'max-file': '100', compress: 'true' },
  })),
];

/** One client, with random numbers of its own. */
class Client {
  readonly #box: Box;
  readonly #index: number;
  readonly #random: () => number;
  #count = 0;
  /** A container that runs all the time, for execs. */
  #host = '';
  readonly done = { starts: 0, execs: 0, attaches: 0 };
  readonly ids: string[] = [];

  constructor(box: Box, index: number, random: () => number) {
    this.#box = box;
    this.#index = index;
    this.#random = random;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  async work(operations: number): Promise<void> {
    this.#host = await this.#create({ Cmd: ['sleep', '100000'] }, 'none');
    await this.#start(this.#host);
    for (let i = 0; i < operations; i += 1) {
      const kind = this.#below(3);
      if (kind === 0) await this.#life();
      else if (kind === 1) await this.#exec();
      else await this.#attach();
    }
    await this.#remove(this.#host);
  }

  /** What it is to do, in a shell's words, and what must come of it. */
  #job(): { command: string; code: number; output: string } {
    const code = this.#below(126);
    const lines = 1 + this.#below(20);
    const pause = (this.#below(30) / 100).toFixed(2);
    const word = `${this.#index}.${this.#count}`;
    const command = `i=0; while [ $i -lt ${lines} ]; do echo ${word}.$i; i=$((i+1)); done; sleep ${pause}; echo end; exit ${code}`;
    const output = Array.from({ length: lines }, (_, i) => `${word}.${i}\n`).join('');
    return { command, code, output: `${output}end\n` };
  }

  async #create(body: object, network: string): Promise<string> {
    this.#count += 1;
    const name = `soak-${this.#index}-${this.#count}`;
    const LogConfig = LOGS[this.#below(LOGS.length)];
    const HostConfig = { NetworkMode: network, LogConfig };
    const config = { Image: this.#box.image, ...body, HostConfig };
    const made = await call(this.#box, 'POST', `/containers/create?name=${name}`, config);
    // The daemon that made it may have died before it could say so.
    assert.ok([201, 409].includes(made.status), made.text);
    const found = await call(this.#box, 'GET', `/containers/${name}/json`);
    const { Id } = found.json() as { Id: string };
    this.ids.push(Id);
    return Id;
  }

  /** Starts it, once: what ran under a daemon that died is not started again. */
  async #start(id: string): Promise<void> {
    await eventually(
      async () => {
        const view = await call(this.#box, 'GET', `/containers/${id}/json`);
        const { State } = view.json() as { State: { Status: string } };
        if (State.Status !== 'created') return true;
        const path = `/containers/${id}/start`;
        const answer = await this.#box.daemon.api('POST', path).catch(() => undefined);
        assert.ok(answer === undefined || answer.status < 400, answer?.text ?? '');
        return answer !== undefined;
      },
      { what: `${id} to start`, timeoutMs: PATIENCE_MS },
    );
  }

  /** The exit code that the engine tells. */
  async #wait(id: string): Promise<number> {
    return await eventually(
      async () => {
        const path = `/containers/${id}/wait`;
        const answer = await this.#box.daemon.api('POST', path).catch(() => undefined);
        // The daemon may die after the head of the answer and before its body.
        if (answer === undefined || answer.text === '') return undefined;
        const result = answer.json() as { StatusCode: number; Error?: object };
        assert.deepEqual(Object.keys(result), ['StatusCode'], answer.text);
        return { code: result.StatusCode };
      },
      { what: `the end of ${id}`, timeoutMs: PATIENCE_MS },
    ).then(({ code }) => code);
  }

  async #logs(id: string): Promise<string> {
    return await eventually(
      async () => {
        const path = `/containers/${id}/logs?stdout=1`;
        const answer = await this.#box.daemon.api('GET', path).catch(() => undefined);
        return answer && { text: payload(answer.bytes) };
      },
      { what: `the log of ${id}`, timeoutMs: PATIENCE_MS },
    ).then(({ text }) => text);
  }

  async #remove(id: string): Promise<void> {
    await eventually(
      async () => {
        const { status, text } = await call(this.#box, 'DELETE', `/containers/${id}?force=1&v=1`);
        assert.ok([204, 404, 409].includes(status), text);
        return status !== 409; // being removed
      },
      { what: `the removal of ${id}`, timeoutMs: PATIENCE_MS },
    );
  }

  /** Create, start, wait, logs, remove. */
  async #life(): Promise<void> {
    const job = this.#job();
    const network = this.#below(4) === 0 ? 'bridge' : 'none';
    const id = await this.#create({ Cmd: ['sh', '-c', job.command] }, network);
    await this.#start(id);
    assert.equal(await this.#wait(id), job.code, `exit code of ${id}`);
    assert.equal(await this.#logs(id), job.output, `output of ${id}`);
    await this.#remove(id);
    this.done.starts += 1;
  }

  /** A client that attached first sees everything, unless the daemon that serves it dies. */
  async #attach(): Promise<void> {
    const job = this.#job();
    const id = await this.#create({ Cmd: ['sh', '-c', job.command] }, 'none');
    const attached = attach(this.#box, id);
    // Nobody waits for it when something else fails first.
    attached.output.catch(() => undefined);
    const isAttached = await attached.ready;
    await this.#start(id);
    assert.equal(await this.#wait(id), job.code, `exit code of ${id}`);
    const seen = await attached.output;
    // One who was cut off has seen the beginning.
    assert.equal(seen, job.output.slice(0, seen.length), `what was attached to ${id}`);
    assert.equal(await this.#logs(id), job.output, `output of ${id}`);
    // Asked last, of a daemon that has just answered: if it is the same, it lived all the time.
    if (isAttached && attached.isServedStill()) assert.equal(seen, job.output);
    await this.#remove(id);
    this.done.attaches += 1;
  }

  async #exec(): Promise<void> {
    const { command, code } = this.#job();
    const body = { Cmd: ['sh', '-c', command], AttachStdout: true };
    const made = await call(this.#box, 'POST', `/containers/${this.#host}/exec`, body);
    assert.equal(made.status, 201, made.text);
    const { Id } = made.json() as { Id: string };
    const Detach = this.#below(2) === 0;
    const ended = await eventually(
      async () => {
        const view = await call(this.#box, 'GET', `/exec/${Id}/json`);
        assert.equal(view.status, 200, view.text);
        const { ExitCode, Running } = view.json() as ExecInspect;
        if (ExitCode !== null) return { code: ExitCode };
        if (Running) return undefined;
        // Not started, or a start is under way, which is no error.
        const start = await this.#box.daemon
          .api('POST', `/exec/${Id}/start`, { Detach })
          .catch(() => undefined);
        assert.ok(start === undefined || [200, 409].includes(start.status), start?.text ?? '');
        return undefined;
      },
      { what: `the end of exec ${Id}`, timeoutMs: PATIENCE_MS },
    );
    assert.equal(ended.code, code, `exit code of exec ${Id}`);
    this.done.execs += 1;
  }
}

/** Attaches to a container; `output` is what came until the connection ended, however it ended. */
function attach(
  box: Box,
  id: string,
): { ready: Promise<boolean>; output: Promise<string>; isServedStill: () => boolean } {
  const socket = connect({ path: box.daemon.socket, allowHalfOpen: true });
  const head = `POST /containers/${id}/attach?stream=1&stdout=1 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n`;
  const { promise: ready, resolve } = Promise.withResolvers<boolean>();
  let bytes = Buffer.alloc(0);
  const { daemon } = box;
  const servedBy = daemon.isRunning ? daemon.pid : 0;
  const body = (): Buffer => {
    const at = bytes.indexOf('\r\n\r\n');
    return at < 0 ? Buffer.alloc(0) : bytes.subarray(at + 4);
  };
  socket.on('error', () => resolve(false));
  socket.write(head);
  socket.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk]);
    if (bytes.includes('\r\n\r\n')) resolve(bytes.toString('latin1').startsWith('HTTP/1.1 101'));
  });
  const output = new Promise<string>((done) => {
    socket.once('end', () => socket.end());
    socket.once('close', () => {
      resolve(false);
      done(payload(body()));
    });
  });
  return {
    ready,
    output,
    isServedStill: () => daemon.isRunning && daemon.pid === servedBy,
  };
}

/** What Docker's framing carries; half a frame at the end is left out. */
function payload(bytes: Buffer): string {
  return Buffer.concat(new StdcopyReader().push(bytes).map((piece) => piece.bytes)).toString();
}

/** Kills the daemon again and again until `signal`; resolves with how often. */
async function killer(box: Box, plan: SoakPlan, signal: AbortSignal): Promise<number> {
  const random = randomNumbers(plan.seed ^ 0x5eed);
  const [least, most] = plan.killAfterMs;
  let kills = 0;
  while (!signal.aborted) {
    await sleep(least + random() * (most - least), undefined, { signal }).catch(() => undefined);
    if (signal.aborted) break;
    await box.daemon.restart('SIGKILL');
    kills += 1;
  }
  return kills;
}

/** Runs the plan. @throws at the first exit code or output that is not what it must be */
export async function soak(box: Box, plan: SoakPlan): Promise<SoakResult> {
  // What the daemon takes when it first runs something is no leak.
  await box.run({ Cmd: ['true'] });
  const before = takeStock(box.daemon);
  const over = new AbortController();
  const killing = killer(box, plan, over.signal);
  const share = Math.ceil(plan.operations / plan.clients);
  const clients = Array.from(
    { length: plan.clients },
    (_, i) => new Client(box, i, randomNumbers(plan.seed + i)),
  );
  let kills: number;
  try {
    await Promise.all(clients.map((client) => client.work(share)));
  } finally {
    over.abort();
    kills = await killing;
  }
  await assertNothingLeft(
    box,
    before,
    clients.flatMap(({ ids }) => ids),
  );
  const total = (kind: keyof Client['done']): number =>
    clients.reduce((sum, { done }) => sum + done[kind], 0);
  return { kills, starts: total('starts'), execs: total('execs'), attaches: total('attaches') };
}

/** A daemon that is started anew on what all this left has what the first one had. */
async function assertNothingLeft(
  box: Box,
  before: Resources,
  ids: readonly string[],
): Promise<void> {
  await box.daemon.restart('SIGKILL');
  assert.deepEqual(await box.daemon.json('GET', '/containers/json?all=1'), []);
  let left = takeStock(box.daemon, ids);
  const isClean = (): boolean => {
    left = takeStock(box.daemon, ids);
    return (
      left.processes.length <= before.processes.length &&
      left.netns.length === 0 &&
      left.descriptors.length <= before.descriptors.length + 2
    );
  };
  await eventually(isClean, { what: 'processes to go' }).catch(() => undefined);
  assert.deepEqual(left.processes, before.processes);
  assert.deepEqual([left.mounts, left.cgroups, left.netns], [before.mounts, [], []]);
  const extra = left.descriptors.length - before.descriptors.length;
  assert.ok(extra <= 2, `${extra} descriptors more: ${left.descriptors.join(' ')}`);
}
