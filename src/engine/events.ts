import type { Clock } from '../base/clock.ts';
import { LIMITS } from '../base/limits.ts';
import type { EventMessage, EventType } from '../spec/docker/event.ts';

/** What happened, before it gets its time. */
export type EventInput = {
  readonly type: EventType;
  readonly action: string;
  readonly id: string;
  readonly attributes?: Readonly<Record<string, string>>;
};

type Listener = (event: EventMessage) => void;

/** Events of the engine: a bounded ring in memory and listeners. Nothing is written to disk. */
export class EventBus {
  readonly #clock: Clock;
  readonly #ring: EventMessage[] = [];
  readonly #listeners = new Set<Listener>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  publish({ type, action, id, attributes }: EventInput): void {
    const ns = this.#clock.nowNs();
    const twins =
      type === 'container' || type === 'image'
        ? {
            status: action,
            id,
            ...(attributes?.['image'] === undefined ? {} : { from: attributes['image'] }),
          }
        : {};
    const event: EventMessage = {
      ...twins,
      Type: type,
      Action: action,
      Actor: { ID: id, Attributes: attributes ?? {} },
      scope: 'local',
      time: Number(ns / 1_000_000_000n),
      timeNano: Number(ns),
    };
    this.#ring.push(event);
    if (this.#ring.length > LIMITS.eventsKeptMax) this.#ring.shift();
    for (const listener of this.#listeners) listener(event);
  }

  /** Events still in the ring, oldest first. */
  kept(): readonly EventMessage[] {
    return this.#ring;
  }

  /** Calls `listener` for each event from now on, until the result is disposed. */
  subscribe(listener: Listener): Disposable {
    this.#listeners.add(listener);
    return { [Symbol.dispose]: () => void this.#listeners.delete(listener) };
  }

  /** Who listens now. */
  get listenerCount(): number {
    return this.#listeners.size;
  }
}
