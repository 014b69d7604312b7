import { type ChildProcess, spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import path from 'node:path';
import { tableName } from '../../src/engine/networks/engine-networks.ts';
import { unmountAllBelow } from './mounts.ts';
import { eventually, run } from './processes.ts';
import { temporaryFolder } from './temp.ts';
import { CHECKOUT, tool } from './tools.ts';

/**
 * The daemon under test: the checkout's bundle, or with `CORACLE=dist/coracle` the executable.
 * Words of a command line, to be followed by the daemon's flags.
 */
export function daemonCommand(): readonly [command: string, ...args: string[]] {
  const executable = process.env['CORACLE'];
  return executable === undefined || executable === ''
    ? [path.join(CHECKOUT, 'bin/coracled')]
    : [path.resolve(CHECKOUT, executable), 'daemon'];
}

/** The client under test; see {@link daemonCommand}. */
export function clientCommand(): string {
  const executable = process.env['CORACLE'];
  return executable === undefined || executable === ''
    ? path.join(CHECKOUT, 'bin/coracle')
    : path.resolve(CHECKOUT, executable);
}

/** An answer of the API, read to its end. */
export type Answer = {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly bytes: Buffer;
  readonly text: string;
  /** The body as JSON. @throws when it is not */
  readonly json: () => unknown;
};

/** A running daemon with roots, socket and bridge of its own. Disposing it leaves nothing behind. */
export class TestDaemon implements AsyncDisposable {
  readonly dataRoot: string;
  readonly execRoot: string;
  readonly socket: string;
  /** `unix://…` for `-H` and DOCKER_HOST. */
  readonly host: string;
  readonly logFile: string;
  readonly bridge: string;
  readonly #folder = temporaryFolder('daemon');
  readonly #flags: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #wrapper: readonly string[];
  #child: ChildProcess | undefined;

  constructor(
    options: {
      flags?: readonly string[];
      env?: Readonly<Record<string, string>>;
      /** Content of daemon.json. */
      config?: Readonly<Record<string, unknown>>;
      /** Instead of one in its own folder; it is the caller's to remove. */
      dataRoot?: string;
      /** A command that executes the daemon, whose command line follows. */
      wrapper?: readonly string[];
    } = {},
  ) {
    const root = this.#folder.path;
    const net = randomInt(0, 12_800);
    this.dataRoot = options.dataRoot ?? path.join(root, 'data');
    this.execRoot = path.join('/run', path.basename(root));
    this.socket = path.join(root, 'api.sock');
    this.host = `unix://${this.socket}`;
    this.logFile = path.join(root, 'log');
    this.bridge = `cor${net.toString(36)}${process.pid.toString(36)}`;
    this.#wrapper = options.wrapper ?? [];
    this.#flags = [
      ...['--data-root', this.dataRoot, '--exec-root', this.execRoot, '--host', this.host],
      ...['--bridge', this.bridge, '--bip', `10.${200 + (net >> 8)}.${net & 255}.1/24`],
      ...['--pidfile', path.join(root, 'pid'), '--config-file', path.join(root, 'daemon.json')],
      ...['--debug'],
      ...(options.flags ?? []),
    ];
    this.#env = options.env ?? {};
    this.configure(options.config ?? {});
  }

  /** The folder that holds everything of this daemon; `daemon.json` in it is its configuration. */
  get folder(): string {
    return this.#folder.path;
  }

  /** Writes daemon.json; it takes effect with the next start or SIGHUP. */
  configure(config: Readonly<Record<string, unknown>>): void {
    writeFileSync(path.join(this.#folder.path, 'daemon.json'), JSON.stringify(config));
  }

  /** For a look at what it left while it does not run. */
  get roots(): { readonly dataRoot: string; readonly execRoot: string; readonly pid: number } {
    return { dataRoot: this.dataRoot, execRoot: this.execRoot, pid: 0 };
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** @throws when it is not running */
  get pid(): number {
    const pid = this.#child?.pid;
    if (pid === undefined) throw new Error('the daemon is not running');
    return pid;
  }

  /** What it wrote to stderr so far. */
  log(): string {
    return readFileSync(this.logFile, 'utf8');
  }

  /** Starts it and waits until it answers. @throws with its log when it ends instead */
  async start(): Promise<void> {
    const child = this.spawn();
    await eventually(
      async () => {
        if (child.exitCode !== null || child.signalCode !== null) {
          throw new Error(`the daemon ended: ${child.exitCode ?? child.signalCode}\n${this.log()}`);
        }
        return existsSync(this.socket) && (await this.api('GET', '/_ping').catch(() => undefined));
      },
      {
        what: `the daemon; its log:\n${existsSync(this.logFile) ? this.log() : ''}`,
        timeoutMs: 60_000,
      },
    );
  }

  /** Starts it without waiting. */
  spawn(): ChildProcess {
    if (this.#child !== undefined) throw new Error('the daemon is running');
    const [command = '', ...args] = [...this.#wrapper, ...daemonCommand()];
    const log = openSync(this.logFile, 'a');
    const child = spawn(command, [...args, ...this.#flags], {
      stdio: ['ignore', log, log],
      env: { ...process.env, ...this.#env },
    });
    closeSync(log);
    this.#child = child;
    child.once('exit', () => {
      if (this.#child === child) this.#child = undefined;
    });
    return child;
  }

  /** Sends a signal to the daemon itself. */
  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** Ends it with a signal; resolves with its exit code (128 + signal when one ended it). */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<number> {
    const child = this.#child;
    if (child === undefined) return 0;
    const exited = once(child, 'exit');
    child.kill(signal);
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    const [code] = (await exited) as [number | null];
    clearTimeout(timer);
    return code ?? 128 + (signal === 'SIGKILL' ? 9 : 15);
  }

  async restart(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.stop(signal);
    await this.start();
  }

  /** One call of the API. A `body` that is not a string or bytes is sent as JSON. */
  async api(
    method: string,
    address: string,
    body?: unknown,
    headers: Record<string, string> = {},
  ): Promise<Answer> {
    const raw = typeof body === 'string' || body instanceof Uint8Array;
    const bytes = body === undefined ? undefined : raw ? body : JSON.stringify(body);
    const type: Record<string, string> =
      body === undefined ? {} : { 'content-type': raw ? 'application/x-tar' : 'application/json' };
    return await new Promise((resolve, reject) => {
      const request = httpRequest(
        {
          socketPath: this.socket,
          path: address,
          method,
          agent: false,
          headers: { ...type, ...headers },
        },
        (response) => {
          const chunks: Buffer[] = [];
          response.on('data', (chunk: Buffer) => chunks.push(chunk));
          response.on('error', reject);
          response.on('end', () => {
            const bytes = Buffer.concat(chunks);
            const text = bytes.toString();
            const status = response.statusCode ?? 0;
            const { headers } = response;
            resolve({ status, headers, bytes, text, json: () => JSON.parse(text) });
          });
        },
      );
      request.on('error', reject);
      request.end(bytes);
    });
  }

  /** The answer's JSON. @throws with the answer when its status is not 2xx */
  async json(method: string, address: string, body?: unknown): Promise<unknown> {
    const answer = await this.api(method, address, body);
    if (answer.status >= 300) {
      throw new Error(`${method} ${address}: ${answer.status} ${answer.text}`);
    }
    return answer.text === '' ? undefined : answer.json();
  }

  /** Removes every container and network, stops the daemon, and drops its folders, mounts and bridge. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      if (this.#child !== undefined) await this.#removeAll();
    } finally {
      await this.stop();
      unmountAllBelow(this.dataRoot, this.execRoot);
      await run('ip', ['link', 'delete', this.bridge]);
      await run(tool('nft'), ['delete', 'table', 'inet', tableName(this.execRoot)]);
      rmSync(this.execRoot, { recursive: true, force: true });
      this.#folder[Symbol.dispose]();
    }
  }

  async #removeAll(): Promise<void> {
    const answer = await this.api('GET', '/containers/json?all=true');
    if (answer.status !== 200) return; // the test has made it so
    for (const { Id } of answer.json() as { Id: string }[]) {
      await this.api('DELETE', `/containers/${Id}?force=true&v=true`);
    }
    // Their bridges would outlive the daemon, and keep its address pools from the next.
    await this.api('POST', '/networks/prune');
  }
}

/** A started {@link TestDaemon}: `await using daemon = await startDaemon()`. */
export async function startDaemon(
  options: ConstructorParameters<typeof TestDaemon>[0] = {},
): Promise<TestDaemon> {
  const daemon = new TestDaemon(options);
  try {
    await daemon.start();
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
  return daemon;
}
