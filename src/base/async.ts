import { assert } from './errors.ts';

/** A promise with its resolve and reject outside. */
export type Deferred<T> = {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (reason: unknown) => void;
};

/** A pending promise and its ends. An unawaited rejection is still reported as unhandled. */
export function deferred<T = void>(): Deferred<T> {
  return Promise.withResolvers<T>();
}

/**
 * Something that happens once, for many to wait for. Unlike with a promise's reactions, who stops
 * waiting leaves nothing behind: what is waited for may be months away.
 */
export class Latch<T> {
  readonly #waiting = new Set<(value: T) => void>();
  #opened: { readonly value: T } | undefined;

  /** It has happened. Only the first call counts. */
  open(value: T): void {
    if (this.#opened !== undefined) return;
    this.#opened = { value };
    for (const listener of this.#waiting) listener(value);
    this.#waiting.clear();
  }

  /** Calls `listener` when it happens, at once if it has, unless the result is disposed before. */
  subscribe(listener: (value: T) => void): Disposable {
    if (this.#opened !== undefined) listener(this.#opened.value);
    else this.#waiting.add(listener);
    return { [Symbol.dispose]: () => void this.#waiting.delete(listener) };
  }

  /** Resolves when it happens. @throws the signal's reason when that is aborted first */
  async wait(signal: AbortSignal): Promise<T> {
    signal.throwIfAborted();
    const { promise, resolve, reject } = deferred<T>();
    using _subscription = this.subscribe(resolve);
    const onAbort = (): void => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    try {
      return await promise;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  /** Who waits now. */
  get waiterCount(): number {
    return this.#waiting.size;
  }
}

/**
 * What a promise resolves with, or undefined when `signal` is aborted before. Leaves no listener on
 * the signal, which may live as long as the process.
 */
export async function unlessAborted<T>(
  promise: Promise<T>,
  signal: AbortSignal,
): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  const { promise: aborted, resolve } = deferred<undefined>();
  const onAbort = (): void => resolve(undefined);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/**
 * Serialises work by key: bodies with the same key run one after the other, in call order;
 * others run at once. Idle keys take no memory.
 */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<void>>();

  /** Waits for the key, holds it until the returned disposable is disposed. */
  async acquire(key: string): Promise<Disposable> {
    const before = this.#tails.get(key);
    const { promise, resolve } = deferred();
    this.#tails.set(key, promise);
    if (before !== undefined) await before;
    return {
      [Symbol.dispose]: () => {
        if (this.#tails.get(key) === promise) this.#tails.delete(key);
        resolve();
      },
    };
  }

  /** Runs `body` while holding `key`. */
  async run<T>(key: string, body: () => Promise<T> | T): Promise<T> {
    using _held = await this.acquire(key);
    return await body();
  }

  /** True while some body holds or waits for the key. */
  isHeld(key: string): boolean {
    return this.#tails.has(key);
  }
}

/** Lets at most `limit` bodies run at once, first come first served. */
export class Semaphore {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    assert(limit > 0, 'a semaphore needs a positive limit');
    this.#free = limit;
  }

  async run<T>(body: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await body();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

/**
 * A named group that owns background work, so that no promise floats: failures go to `onError`,
 * and shutdown awaits {@link TaskGroup.close}.
 */
export class TaskGroup {
  readonly #tasks = new Set<Promise<void>>();
  readonly #abort = new AbortController();
  readonly #onError: (name: string, error: unknown) => void;

  constructor(onError: (name: string, error: unknown) => void) {
    this.#onError = onError;
  }

  /** Aborted when the group closes. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Starts `body` now; its failure is reported, never thrown (an abort by close is no failure). */
  spawn(name: string, body: (signal: AbortSignal) => Promise<void>): void {
    const task = (async () => {
      try {
        await body(this.#abort.signal);
      } catch (error) {
        if (!this.#abort.signal.aborted) this.#onError(name, error);
      }
    })();
    this.#tasks.add(task);
    void task.then(() => this.#tasks.delete(task));
  }

  /** Aborts the signal and waits for every task. */
  async close(): Promise<void> {
    this.#abort.abort();
    while (this.#tasks.size > 0) await Promise.all(this.#tasks);
  }
}
