import { setTimeout as sleep } from 'node:timers/promises';
import type { Digest } from '../base/digest.ts';
import { errnoOf, isEngineError, notFound } from '../base/errors.ts';
import { readBlob } from '../registry/blobs.ts';
import { pullScope } from '../registry/manifests.ts';
import type { RegistrySession } from '../registry/session.ts';
import type { RegistryAccess } from './pull-protocol.ts';
import { RateLimit } from './rate-limit.ts';
import { openWorkerSession } from './registry-session.ts';

/** A blob that is wanted again. */
export type WantedBlob = { readonly digest: Digest; readonly sizeBytes: number };

/**
 * The repositories that layers were pulled from, to have the very bytes again: what is here is
 * unpacked, and packs differ. A push knows nobody's credentials but those for its target, and only
 * that registry sees them; others are asked as anybody may ask.
 */
export class BlobOrigins implements AsyncDisposable {
  readonly #target: RegistrySession;
  readonly #access: RegistryAccess;
  readonly #attempts: number;
  readonly #rate: RateLimit;
  readonly #sessions = new Map<string, Promise<RegistrySession>>();
  /** Registries that cannot be reached, and repositories that refuse: asked once. */
  readonly #failures = new Map<string, unknown>();

  constructor(
    target: RegistrySession,
    options: { access: RegistryAccess; attempts: number; bytesPerSecMax: number },
  ) {
    this.#target = target;
    this.#access = options.access;
    this.#attempts = options.attempts;
    this.#rate = new RateLimit({
      bytesPerSecMax: options.bytesPerSecMax,
      nowMs: () => performance.now(),
      sleep: async (ms) => {
        await sleep(ms, undefined, { signal: target.signal });
      },
    });
  }

  /**
   * The bytes of a blob of `repository` (in full), as `readBlob` gives them: the digest is the
   * consumer's to check.
   * @throws why they cannot be had there
   */
  async *read(
    repository: string,
    blob: WantedBlob,
    onRetry: (waitMs: number) => void,
  ): AsyncGenerator<Buffer> {
    const slash = repository.indexOf('/');
    const domain = repository.slice(0, slash);
    const path = repository.slice(slash + 1);
    for (const key of [domain, repository]) {
      if (this.#failures.has(key)) throw this.#failures.get(key);
    }
    try {
      const session = await this.#session(domain);
      await look(session, path, blob.digest);
      const received = (bytes: number): Promise<void> => this.#rate.passed(bytes);
      const wanted = { ...blob, path, attempts: this.#attempts, onRetry };
      yield* readBlob({ ...session, received }, wanted);
    } catch (error) {
      if (errnoOf(error) !== undefined) this.#failures.set(domain, error);
      if (isEngineError(error, 'unauthorized')) this.#failures.set(repository, error);
      throw error;
    }
  }

  async #session(domain: string): Promise<RegistrySession> {
    if (domain === this.#access.domain) return this.#target;
    const known = this.#sessions.get(domain);
    if (known !== undefined) return await known;
    const stranger = { ...this.#access, domain, credentials: null };
    const opened = openWorkerSession(stranger, this.#target.signal);
    this.#sessions.set(domain, opened);
    return await opened;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.#sessions.values()) await (await session)[Symbol.asyncDispose]();
  }
}

/** Asks before the blob is read, which tries longer. Storage behind a registry may refuse a HEAD. */
async function look(session: RegistrySession, path: string, digest: Digest): Promise<void> {
  const answer = await session.send({
    method: 'HEAD',
    target: `/v2/${path}/blobs/${digest}`,
    scopes: [pullScope(path)],
    accept: [403, 404, 405],
  });
  await answer.discard();
  if (answer.status === 404) throw notFound(`${session.domain}/${path} does not have it any more`);
}
