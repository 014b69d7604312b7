import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import type { ContainerSummary } from '../../src/spec/docker/container-view.ts';
import { type Box, openBox } from './box.ts';
import { freePort, type Outcome, run } from './processes.ts';
import { temporaryFolder } from './temp.ts';

/** A project of three services, and docker-compose 1.29 that works on it. */
export class Project implements AsyncDisposable {
  readonly box: Box;
  /** Where the web server is published. */
  readonly port: number;
  readonly #folder = temporaryFolder('project');

  constructor(box: Box, port: number) {
    this.box = box;
    this.port = port;
  }

  /** Writes the project, with a word that its web server says. */
  write(word: string): void {
    const { image } = this.box;
    const text = `
version: "2.4"
services:
  base:
    image: ${image}
    command: ["sh", "-c", "sleep 0.5; touch /ready; exec sleep 1000"]
    healthcheck: {test: ["CMD", "test", "-e", "/ready"], interval: 0.2s, retries: 50}
    stop_grace_period: 0s
  web:
    image: ${image}
    command: ["sh", "-c", "echo $$WORD from $$0; exec httpd -f -p 80 -h /etc", "web"]
    environment: {WORD: ${word}}
    ports: ["127.0.0.1:${this.port}:80"]
    depends_on: {base: {condition: service_healthy}}
    labels: {tier: front}
    mem_limit: 64m
    ulimits: {nofile: {soft: 64, hard: 128}}
    tmpfs: ["/scratch"]
    stop_grace_period: 0s
    restart: unless-stopped
  job:
    image: ${image}
    # Compose attaches after the start.
    command: ["sh", "-c", "sleep 1; echo job; exit 3"]
    network_mode: none
`;
    writeFileSync(path.join(this.#folder.path, 'docker-compose.yml'), text);
  }

  async tryCompose(...args: string[]): Promise<Outcome> {
    const all = ['--project-name', 'life', '--no-ansi', ...args];
    // By itself, without a docker client that may not be on the PATH.
    const env = { DOCKER_HOST: this.box.daemon.host, COMPOSE_INTERACTIVE_NO_CLI: '1' };
    return await run('docker-compose', all, { cwd: this.#folder.path, env, timeoutMs: 60_000 });
  }

  /** @throws when it fails */
  async compose(...args: string[]): Promise<string> {
    const { code, stdout, stderr } = await this.tryCompose(...args);
    assert.equal(code, 0, `docker-compose ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  /** IDs of a service's containers. */
  async idsOf(service: string): Promise<string[]> {
    const label = ['com.docker.compose.project=life', `com.docker.compose.service=${service}`];
    const filters = encodeURIComponent(JSON.stringify({ label }));
    const found = await this.box.daemon.json('GET', `/containers/json?all=1&filters=${filters}`);
    return (found as ContainerSummary[]).map(({ Id }) => Id);
  }

  /** @throws unless it has one container */
  async idOf(service: string): Promise<string> {
    const [id, ...more] = await this.idsOf(service);
    assert.ok(id !== undefined && more.length === 0, service);
    return id;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.tryCompose('down', '-v', '-t', '0');
    await this.box[Symbol.asyncDispose]();
    this.#folder[Symbol.dispose]();
  }
}

/** A {@link Project}, written. */
export async function openProject(): Promise<Project> {
  const project = new Project(await openBox(), await freePort());
  project.write('first');
  return project;
}
