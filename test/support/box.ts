import assert from 'node:assert/strict';
import { StdcopyReader } from '../../src/formats/stdcopy.ts';
import type { ContainerInspect } from '../../src/spec/docker/container-view.ts';
import { type Answer, startDaemon, type TestDaemon } from './daemon.ts';
import { busyboxImage, pushImage } from './images.ts';
import { eventually } from './processes.ts';
import { type Registry, startRegistry } from './registry.ts';

/** What `POST /containers/create` is sent, as far as tests need it. */
export type CreateBody = Readonly<Record<string, unknown>> & {
  readonly Cmd?: readonly string[];
  readonly HostConfig?: Readonly<Record<string, unknown>>;
};

/** What a finished container said. */
export type Ran = { readonly code: number; readonly stdout: string; readonly stderr: string };

/** What Docker's framing carries, whatever the stream. */
function payload(bytes: Buffer): string {
  return Buffer.concat(new StdcopyReader().push(bytes).map((piece) => piece.bytes)).toString();
}

/** A daemon with a small image, and short words for what tests do with containers. */
export class Box implements AsyncDisposable {
  readonly daemon: TestDaemon;
  readonly image: string;
  readonly #registry: Registry;

  constructor(daemon: TestDaemon, registry: Registry, image: string) {
    this.daemon = daemon;
    this.#registry = registry;
    this.image = image;
  }

  /** Without a network, which most tests do not need. @throws when it is refused */
  async create(body: CreateBody, name = ''): Promise<string> {
    const answer = await this.tryCreate(body, name);
    assert.equal(answer.status, 201, answer.text);
    return (answer.json() as { Id: string }).Id;
  }

  async tryCreate(body: CreateBody, name = ''): Promise<Answer> {
    const { HostConfig, ...rest } = body;
    return await this.daemon.api('POST', `/containers/create?name=${name}`, {
      Image: this.image,
      ...rest,
      HostConfig: { NetworkMode: 'none', ...HostConfig },
    });
  }

  async start(id: string): Promise<void> {
    await this.daemon.json('POST', `/containers/${id}/start`);
  }

  /** Creates and starts. */
  async up(body: CreateBody, name = ''): Promise<string> {
    const id = await this.create(body, name);
    await this.start(id);
    return id;
  }

  async inspect(id: string): Promise<ContainerInspect> {
    return (await this.daemon.json('GET', `/containers/${id}/json`)) as ContainerInspect;
  }

  async wait(id: string, condition = 'not-running'): Promise<number> {
    const answer = await this.daemon.json('POST', `/containers/${id}/wait?condition=${condition}`);
    return (answer as { StatusCode: number }).StatusCode;
  }

  /** What it wrote, by stream. */
  async logs(id: string, stream: 'stdout' | 'stderr' = 'stdout'): Promise<string> {
    const answer = await this.daemon.api('GET', `/containers/${id}/logs?${stream}=1`);
    assert.equal(answer.status, 200, answer.text);
    return payload(answer.bytes);
  }

  /** Runs to its end and removes it. */
  async run(body: CreateBody): Promise<Ran> {
    const id = await this.up(body);
    const code = await this.wait(id);
    const ran = { code, stdout: await this.logs(id), stderr: await this.logs(id, 'stderr') };
    await this.remove(id);
    return ran;
  }

  /** Runs a shell command; gives what it wrote. @throws when it fails */
  async sh(command: string, body: CreateBody = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run({ ...body, Cmd: ['sh', '-c', command] });
    assert.equal(code, 0, `${command}: ${stdout}${stderr}`);
    return stdout;
  }

  async remove(id: string): Promise<void> {
    await this.daemon.json('DELETE', `/containers/${id}?force=true&v=true`);
  }

  /** Runs a command in a running container; gives its exit code and output. */
  async exec(id: string, ...Cmd: string[]): Promise<{ code: number; output: string }> {
    const body = { Cmd, AttachStdout: true, AttachStderr: true };
    const made = (await this.daemon.json('POST', `/containers/${id}/exec`, body)) as { Id: string };
    const answer = await this.daemon.api('POST', `/exec/${made.Id}/start`, { Detach: false });
    assert.equal(answer.status, 200, answer.text);
    const code = await eventually(
      async () => {
        const exec = (await this.daemon.json('GET', `/exec/${made.Id}/json`)) as {
          ExitCode: number | null;
        };
        return exec.ExitCode === null ? undefined : { value: exec.ExitCode };
      },
      { what: `the exit code of ${Cmd.join(' ')}` },
    );
    return { code: code.value, output: payload(answer.bytes) };
  }

  /** Waits until the container's state is this. */
  async until(id: string, status: string): Promise<ContainerInspect> {
    return await eventually(
      async () => {
        const view = await this.inspect(id);
        return view.State.Status === status ? view : undefined;
      },
      { what: `${id.slice(0, 12)} to be ${status}`, timeoutMs: 30_000 },
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
    await this.#registry.stop();
  }
}

/** A {@link Box}, ready. */
export async function openBox(options: Parameters<typeof startDaemon>[0] = {}): Promise<Box> {
  const registry = await startRegistry();
  try {
    await pushImage(registry, 'test/box', 'v1', await busyboxImage());
    const box = new Box(await startDaemon(options), registry, `${registry.host}/test/box:v1`);
    const from = encodeURIComponent(`${registry.host}/test/box`);
    const answer = await box.daemon.api('POST', `/images/create?fromImage=${from}&tag=v1`);
    if (answer.status === 200 && !answer.text.includes('"error"')) return box;
    await box.daemon[Symbol.asyncDispose]();
    throw new Error(`cannot pull: ${answer.text}`);
  } catch (error) {
    await registry.stop();
    throw error;
  }
}
