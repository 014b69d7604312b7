import type { DiffId } from '../../base/digest.ts';
import { canceled } from '../../base/errors.ts';
import type { ProgressMessage } from '../../spec/docker/progress.ts';

/** Someone who follows a shared pull. */
type Follower = (message: ProgressMessage) => void;

type SharedPull = {
  readonly abort: AbortController;
  readonly followers: Set<Follower>;
  /** The latest line about each layer, and lines about none, in the order of their first. */
  readonly lines: Map<string, ProgressMessage>;
  readonly result: Promise<void>;
};

/**
 * The pulls that run now. Pulls of the same thing share one: who comes later sees where it stands
 * and follows it, and it is cancelled when the last of them goes away. Different pulls that need
 * the same layer fetch it once.
 */
export class Pulls {
  readonly #shared = new Map<string, SharedPull>();
  readonly #claims = new Map<DiffId, Promise<void>>();

  /**
   * Runs `body` for `key`, or follows the one that runs. `signal` is this caller's.
   * @throws what the body throws; the signal's reason when this caller goes away
   */
  async share(
    key: string,
    caller: { signal: AbortSignal; report: Follower },
    body: (report: Follower, signal: AbortSignal) => Promise<void>,
  ): Promise<void> {
    caller.signal.throwIfAborted();
    const pull = this.#shared.get(key) ?? this.#start(key, body);
    for (const line of pull.lines.values()) caller.report(line);
    pull.followers.add(caller.report);
    const left = Promise.withResolvers<never>();
    const leave = (): void => {
      pull.followers.delete(caller.report);
      if (pull.followers.size === 0) {
        // A newcomer must not join what is being cancelled.
        if (this.#shared.get(key) === pull) this.#shared.delete(key);
        pull.abort.abort(canceled('the pull was cancelled'));
      }
      left.reject(caller.signal.reason);
    };
    caller.signal.addEventListener('abort', leave, { once: true });
    try {
      await Promise.race([pull.result, left.promise]);
    } finally {
      caller.signal.removeEventListener('abort', leave);
      pull.followers.delete(caller.report);
    }
  }

  #start(key: string, body: (report: Follower, signal: AbortSignal) => Promise<void>): SharedPull {
    const abort = new AbortController();
    const followers = new Set<Follower>();
    const lines = new Map<string, ProgressMessage>();
    const report: Follower = (message) => {
      lines.set(message.id ?? message.status ?? '', message);
      for (const follower of followers) follower(message);
    };
    const run = async (): Promise<void> => {
      try {
        await body(report, abort.signal);
      } finally {
        if (this.#shared.get(key) === pull) this.#shared.delete(key);
      }
    };
    // The body starts in a later turn, when `pull` exists and has its first follower.
    const result = Promise.resolve().then(run);
    result.catch(() => undefined); // every follower gets it; there may be none any more
    const pull: SharedPull = { abort, followers, lines, result };
    this.#shared.set(key, pull);
    return pull;
  }

  /**
   * The right to fetch a layer: waits until nobody else has it. `isHere` is asked when it is free:
   * if the layer has come meanwhile, no right is needed and undefined is given.
   */
  async claim(diffId: DiffId, isHere: () => boolean): Promise<Disposable | undefined> {
    for (let holder = this.#claims.get(diffId); holder; holder = this.#claims.get(diffId)) {
      await holder;
    }
    if (isHere()) return undefined;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#claims.set(diffId, promise);
    return {
      [Symbol.dispose]: () => {
        if (this.#claims.get(diffId) === promise) this.#claims.delete(diffId);
        resolve();
      },
    };
  }
}
