import assert from 'node:assert/strict';
import type { ProgressMessage } from '../../src/spec/docker/progress.ts';
import { startDaemon, type TestDaemon } from './daemon.ts';
import { type BuiltImage, pushImage } from './images.ts';
import { type Registry, startRegistry } from './registry.ts';

/** What a progress stream says, and what tests of deltas look at. */
export type ProgressLine = Pick<ProgressMessage, 'status' | 'id' | 'error' | 'progressDetail'>;

/** The lines of a progress stream as words: `ID: status`, or the error. */
export function saidIn(lines: readonly ProgressLine[]): string[] {
  return lines.map(
    ({ status, id, error }) => `${id === undefined ? '' : `${id}: `}${status ?? error}`,
  );
}

/** A registry and a builder beside it: where deltas come from. One for each file of tests. */
export class DeltaSite implements AsyncDisposable {
  readonly registry: Registry;
  readonly builder: TestDaemon;

  private constructor(registry: Registry, builder: TestDaemon) {
    this.registry = registry;
    this.builder = builder;
  }

  static async start(): Promise<DeltaSite> {
    const registry = await startRegistry();
    try {
      return new DeltaSite(registry, await startDaemon());
    } catch (error) {
      await registry.stop();
      throw error;
    }
  }

  /** One call whose answer is a progress stream. */
  async lines(daemon: TestDaemon, address: string): Promise<ProgressLine[]> {
    const answer = await daemon.api('POST', address);
    assert.ok(answer.status < 300, answer.text);
    return answer.text
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as ProgressLine);
  }

  /** Pulls `name:tag`; `query` is added to the request. Gives what is said. */
  async pull(daemon: TestDaemon, name: string, tag: string, query = ''): Promise<string[]> {
    const from = `fromImage=${this.registry.host}/${name}&tag=${tag}${query}`;
    return saidIn(await this.lines(daemon, `/images/create?${from}`));
  }

  /** ID of `name:tag` at a daemon; undefined when it is not there. */
  async idOf(daemon: TestDaemon, reference: string): Promise<string | undefined> {
    const answer = await daemon.api('GET', `/images/${this.registry.host}/${reference}/json`);
    return answer.status === 404 ? undefined : (JSON.parse(answer.text) as { Id: string }).Id;
  }

  /** Puts images into the registry, as v1, v2 and so on, and has the builder pull them. */
  async provide(name: string, images: readonly BuiltImage[]): Promise<void> {
    for (const [i, image] of images.entries()) {
      await pushImage(this.registry, name, `v${i + 1}`, image);
      await this.pull(this.builder, name, `v${i + 1}`, '&delta=never');
    }
  }

  /** Makes deltas from bases to a target, and pushes them; gives what is said. */
  async publish(name: string, target: string, ...bases: string[]): Promise<string[]> {
    const of = (tag: string): string => encodeURIComponent(`${this.registry.host}/${name}:${tag}`);
    const query = [`target=${of(target)}`, ...bases.map((base) => `base=${of(base)}`)].join('&');
    return saidIn(await this.lines(this.builder, `/deltas/publish?${query}`));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.builder[Symbol.asyncDispose]();
    await this.registry[Symbol.asyncDispose]();
  }
}
