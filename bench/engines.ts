import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { Readable } from 'node:stream';
import { daemonCommand } from '../test/support/daemon.ts';
import { unmountAllBelow } from '../test/support/mounts.ts';
import { eventually } from '../test/support/processes.ts';
import { tool } from '../test/support/tools.ts';
import { EngineGroup } from './accounting.ts';

export type EngineName = 'docker' | 'coracle';

/** An engine under measurement, with roots of its own, spoken to by its API alone. */
export class BenchEngine implements AsyncDisposable {
  readonly name: EngineName;
  readonly socket: string;
  readonly dataRoot: string;
  readonly group: EngineGroup;
  readonly #folder: string;
  readonly execRoot: string;
  #child: ChildProcess | undefined;

  constructor(name: EngineName, folder: string) {
    this.name = name;
    this.#folder = path.join(folder, name);
    this.dataRoot = path.join(this.#folder, 'data');
    // A tmpfs, as /run is on a device; where tests run it may not be.
    this.execRoot = `/dev/shm/coracle-bench-${process.pid}-${name}`;
    this.socket = path.join(this.#folder, 'api.sock');
    this.group = new EngineGroup(`coracle-bench-${name}`);
    mkdirSync(this.#folder, { recursive: true });
  }

  get pid(): number {
    // The daemon keeps the pid of the shell that put it into its group.
    return this.#child?.pid ?? 0;
  }

  #command(): readonly string[] {
    const common = ['--data-root', this.dataRoot, '--exec-root', this.execRoot];
    const listen = ['-H', `unix://${this.socket}`, '--pidfile', path.join(this.#folder, 'pid')];
    if (this.name === 'coracle') {
      return [
        ...daemonCommand(),
        ...common,
        ...listen,
        '--bridge',
        'bench-c',
        '--bip',
        '10.213.0.1/16',
      ];
    }
    return [tool('dockerd'), ...common, ...listen, '--bip', '10.214.0.1/16'];
  }

  /** Starts it; resolves with the milliseconds to its first answer. */
  async start(): Promise<number> {
    const log = openSync(path.join(this.#folder, 'log'), 'a');
    const [command = '', ...args] = this.group.wrap(this.#command());
    const began = performance.now();
    const child = spawn(command, args, { stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    await eventually(
      async () => {
        if (child.exitCode !== null) {
          throw new Error(readFileSync(path.join(this.#folder, 'log'), 'utf8').slice(-2000));
        }
        return await this.call('GET', '/_ping').catch(() => undefined);
      },
      { what: this.name, timeoutMs: 30_000 },
    );
    return performance.now() - began;
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
  }

  /** One call of the API with JSON or a stream, read to its end; `sink` gets the bytes instead of the result. */
  async call(
    method: string,
    address: string,
    body?: unknown,
    sink?: (chunk: Buffer) => void,
  ): Promise<string> {
    return await new Promise((resolve, reject) => {
      const type = body instanceof Readable ? 'application/x-tar' : 'application/json';
      // Docker pushes only for who says who he is, be it nobody: `{}` in base64.
      const auth = { 'x-registry-auth': 'e30=' };
      const headers = body === undefined ? auth : { ...auth, 'content-type': type };
      const outgoing = request({ socketPath: this.socket, path: address, method, headers });
      outgoing.on('error', reject);
      outgoing.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', sink ?? ((chunk: Buffer) => void chunks.push(chunk)));
        response.on('error', reject);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          if ((response.statusCode ?? 500) >= 400) {
            reject(new Error(`${this.name}: ${method} ${address}: ${response.statusCode} ${text}`));
          } else resolve(text);
        });
      });
      if (body instanceof Readable) body.pipe(outgoing);
      else outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  /** Makes a container; returns its ID. */
  async create(config: object): Promise<string> {
    const answer = await this.call('POST', '/containers/create', config);
    return (JSON.parse(answer) as { Id: string }).Id;
  }

  /** Create, start, wait, remove: a whole life. */
  async run(config: object): Promise<void> {
    const id = await this.create(config);
    await this.call('POST', `/containers/${id}/start`);
    await this.call('POST', `/containers/${id}/wait`);
    await this.call('DELETE', `/containers/${id}`);
  }

  /** Removes every container. */
  async clear(): Promise<void> {
    const list = JSON.parse(await this.call('GET', '/containers/json?all=1')) as { Id: string }[];
    for (const { Id } of list) await this.call('DELETE', `/containers/${Id}?force=1`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child?.exitCode === null) await this.clear().catch(() => undefined);
    await this.stop();
    this.group[Symbol.dispose]();
    unmountAllBelow(this.#folder, this.execRoot);
    rmSync(this.execRoot, { recursive: true, force: true });
  }
}
