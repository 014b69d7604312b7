import type { Readable } from 'node:stream';
import { type Deferred, deferred } from '../../base/async.ts';
import { internal } from '../../base/errors.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import type {
  BuildCommand,
  BuildContextResult,
  BuildInput,
  BuildLayerResult,
  BuildQuestion,
  BuildSource,
} from '../../worker/build-protocol.ts';
import { feedJob } from '../../worker/feed.ts';
import type { RunningJob, Workers } from '../../worker/job.ts';
import { faultOfBody } from '../call.ts';

type CommandOf<K extends BuildCommand['do']> = Omit<Extract<BuildCommand, { do: K }>, 'do'>;

/** The worker of one build, which does one thing after the other for it. */
export class BuildWorker implements AsyncDisposable {
  readonly #job: RunningJob;
  readonly #asked: Asked;
  readonly #failed: Promise<never>;
  #layers = 0;

  private constructor(job: RunningJob, asked: Asked) {
    this.#job = job;
    this.#asked = asked;
    this.#failed = job.result.then(() => {
      throw internal('the build worker ended before the build did');
    });
    this.#failed.catch(() => undefined);
  }

  static async start(
    workers: Workers,
    input: BuildInput,
    signal: AbortSignal,
  ): Promise<BuildWorker> {
    const asked = new Asked();
    const job = await workers.start('build', input, {
      signal,
      onQuestion: (question) => asked.next((question as BuildQuestion).result),
    });
    job.stdout.resume();
    return new BuildWorker(job, asked);
  }

  /** Sends the context; the Dockerfile in it. What the worker says counts more than a broken pipe. */
  async takeContext(body: Readable | undefined, signal: AbortSignal): Promise<BuildContextResult> {
    if (body === undefined) this.#job.stdin.end();
    const sending = body === undefined ? Promise.resolve() : feedJob(body, this.#job, signal);
    const [sent, taken] = await Promise.allSettled([sending, this.#result()]);
    if (taken.status === 'rejected') throw faultOfBody(taken.reason);
    if (sent.status === 'rejected' && body?.readableEnded !== true) throw sent.reason;
    return taken.value as BuildContextResult;
  }

  async sources(command: CommandOf<'sources'>): Promise<readonly BuildSource[]> {
    return (await this.#do({ do: 'sources', ...command })) as BuildSource[];
  }

  async copy(command: Omit<CommandOf<'copy'>, 'name'>): Promise<StagedLayer> {
    return await this.#layer({ do: 'copy', ...command, name: this.#nextName() });
  }

  async folder(command: Omit<CommandOf<'folder'>, 'name'>): Promise<StagedLayer> {
    return await this.#layer({ do: 'folder', ...command, name: this.#nextName() });
  }

  async layer(command: Omit<CommandOf<'layer'>, 'name'>): Promise<StagedLayer> {
    return await this.#layer({ do: 'layer', ...command, name: this.#nextName() });
  }

  #nextName(): string {
    this.#layers += 1;
    return `layer-${this.#layers}`;
  }

  async #layer(command: BuildCommand): Promise<StagedLayer> {
    return ((await this.#do(command)) as BuildLayerResult).layer;
  }

  async #do(command: BuildCommand): Promise<unknown> {
    this.#asked.give(command);
    return await this.#result();
  }

  async #result(): Promise<unknown> {
    return await Promise.race([this.#asked.result, this.#failed]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#job[Symbol.asyncDispose]();
  }
}

/** The worker's question as it stands: what came of the last command, and the next one to give. */
class Asked {
  #result: Deferred<unknown> = deferred<unknown>();
  #command: Deferred<BuildCommand> = deferred<BuildCommand>();

  next(result: unknown): Promise<BuildCommand> {
    this.#command = deferred<BuildCommand>();
    this.#result.resolve(result);
    return this.#command.promise;
  }

  give(command: BuildCommand): void {
    this.#result = deferred<unknown>();
    this.#command.resolve(command);
  }

  get result(): Promise<unknown> {
    return this.#result.promise;
  }
}
