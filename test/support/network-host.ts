import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import type { TestContext } from 'node:test';
import { KeyedLock, TaskGroup } from '../../src/base/async.ts';
import { formatTimeMs } from '../../src/base/clock.ts';
import { createLogger } from '../../src/base/log.ts';
import { EventBus } from '../../src/engine/events.ts';
import { EngineNetworks } from '../../src/engine/networks/engine-networks.ts';
import type { NetworkClient } from '../../src/engine/networks/networks.ts';
import { setLink } from '../../src/formats/netlink-route.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { CLONE } from '../../src/kernel/constants.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { LOOPBACK_INDEX, RouteSocket } from '../../src/kernel/route-socket.ts';
import { resolveDaemonConfig } from '../../src/policy/daemon-config.ts';
import { parseDaemonFile } from '../../src/policy/daemon-file.ts';
import { parseDaemonFlags } from '../../src/policy/daemon-flags.ts';
import type { EngineConfig } from '../../src/spec/engine-config.ts';
import { openDatabase } from '../../src/store/db.ts';
import { containerStore, networkStore, volumeStore } from '../../src/store/documents.ts';
import { imageStore } from '../../src/store/images.ts';
import { dataRootAt, execRootAt } from '../../src/store/paths.ts';
import type { PeerRequest } from './network-peer.ts';
import { temporaryFolder } from './temp.ts';

/**
 * Networks of an engine on a host of their own: the test's thread moves into a fresh network
 * namespace, which plays the host, and no test touches the machine's network.
 */

const sys = openSyscalls();
const NODE = process.execPath;
const PEER = path.join(import.meta.dirname, 'network-peer.ts');

/** Moves this thread into a new network namespace, once for each test file. */
export function becomeHost(): void {
  sys.unshare(CLONE.NEWNET);
  using route = new RouteSocket(sys);
  route.run(setLink(LOOPBACK_INDEX, { up: true }));
}

/** Runs a command on the host, or in the namespace of a path; its output. */
export function run(command: string, netns?: string): string {
  const args = ['-c', command];
  return netns === undefined
    ? execFileSync('sh', args, { encoding: 'utf8' })
    : execFileSync('nsenter', [`--net=${netns}`, 'sh', ...args], { encoding: 'utf8' });
}

/** The daemon's configuration that these flags give. */
export function configOf(flags: readonly string[], root: string): EngineConfig {
  const parsed = parseDaemonFlags([
    ...flags,
    `--data-root=${root}/data`,
    `--exec-root=${root}/run`,
  ]);
  const host = { runtimes: {}, certificates: '', env: {} };
  return resolveDaemonConfig(parsed, parseDaemonFile('{}', '/etc/daemon.json', parsed), host)
    .engine;
}

/** Folders of an engine; `start` makes a daemon's networks on them, again for a restart. */
export function makeHost(t: TestContext, ...flags: string[]) {
  const folder = temporaryFolder('networks');
  const root = folder.path;
  const config = configOf(flags, root);
  const dataRoot = dataRootAt(config.dataRoot);
  const execRoot = execRootAt(config.execRoot);
  mkdirSync(dataRoot.root, { recursive: true });
  mkdirSync(execRoot.root, { recursive: true });
  const started: (() => Promise<void>)[] = [];

  const start = async (running: readonly NetworkClient[] = []) => {
    const database = openDatabase(dataRoot.database);
    const lines: string[] = [];
    const log = createLogger({
      level: () => 'info',
      time: () => formatTimeMs(Date.now()),
      write: (line) => lines.push(line),
    });
    const tasks = new TaskGroup((name, error) => {
      throw new Error(`${name}: ${String(error)}`);
    });
    const store = {
      images: imageStore(database),
      containers: containerStore(database),
      networks: networkStore(database),
      volumes: volumeStore(database),
    };
    const events = new EventBus(systemClock);
    const random = { bytes: (n: number) => randomBytes(n) };
    const locks = new KeyedLock();
    const networks = new EngineNetworks({
      ...{ sys, config: () => config, store, clock: systemClock, random, log, tasks },
      ...{ dataRoot, execRoot, locks, events },
    });
    let stopped = false;
    const stop = async (): Promise<void> => {
      if (stopped) return;
      stopped = true;
      await networks.stop();
      await tasks.close();
      database.close();
    };
    started.push(stop);
    await networks.restore(running);
    return { networks, stop, log: lines, store, events, locks };
  };

  t.after(async () => {
    for (const stop of started) await stop();
    const last = await start();
    for (const network of last.networks.list()) {
      if (!network.isPredefined) await last.networks.remove(network);
    }
    await last.stop();
    run(`ip link del ${config.bridge} 2>/dev/null || true; nft flush ruleset`);
    folder[Symbol.dispose]();
  });
  return { start, config, root, execRoot };
}

/** A container as the networks see it. */
export function client(name: string, more: Partial<NetworkClient> = {}): NetworkClient {
  return {
    id: randomBytes(32).toString('hex'),
    name,
    hostname: name,
    domainname: '',
    mode: 'bridge',
    endpoints: {},
    disconnected: [],
    links: [],
    macAddress: '',
    portBindings: {},
    dns: [],
    dnsOptions: [],
    dnsSearch: [],
    extraHosts: [],
    sysctls: {},
    ...more,
  };
}

/** A program in a namespace (the host's without a path); ended with the test. */
export class Peer {
  readonly #child: ChildProcess;
  readonly #waiting = new Map<number, (answer: { value?: unknown; error?: string }) => void>();
  #next = 0;

  constructor(t: TestContext, netns?: string) {
    const [command, args] =
      netns === undefined ? [NODE, [PEER]] : ['nsenter', [`--net=${netns}`, NODE, PEER]];
    this.#child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] });
    this.#child.on('message', (message: { id: number; value?: unknown; error?: string }) => {
      this.#waiting.get(message.id)?.(message);
      this.#waiting.delete(message.id);
    });
    t.after(() => this.#child.kill('SIGKILL'));
  }

  async do<T = string>(request: PeerRequest): Promise<T> {
    this.#next += 1;
    const id = this.#next;
    const answer = await new Promise<{ value?: unknown; error?: string }>((resolve) => {
      this.#waiting.set(id, resolve);
      this.#child.send({ id, request });
    });
    if (answer.error !== undefined) throw new Error(answer.error);
    return answer.value as T;
  }

  /** What a server there says: `word address-of-the-client`. */
  ask(
    ip: string,
    port: number,
    protocol: 'tcp' | 'udp' = 'tcp',
    timeoutMs = 5000,
  ): Promise<string> {
    return this.do({ op: 'ask', protocol, ip, port, timeoutMs });
  }

  serve(port: number, word: string, protocol: 'tcp' | 'udp' = 'tcp', ip = '::'): Promise<string> {
    return this.do({ op: 'serve', protocol, ip, port, word });
  }
}
