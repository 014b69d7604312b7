import { Readable } from 'node:stream';
import { invalidArgument } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { parseUnixNs } from '../../base/timestamp.ts';
import { EVENT_FILTER_KEYS, eventFilter } from '../../policy/event-filter.ts';
import type { EventMessage } from '../../spec/docker/event.ts';
import { checkFilterKeys, type Filters } from '../../spec/filters.ts';
import type { ByteStream, Call } from '../call.ts';
import type { Engine } from '../engine.ts';

export type SystemEventsArgs = {
  readonly query: { readonly since: string; readonly until: string; readonly filters: Filters };
};

/**
 * Events as JSON lines: those since `since` that are still kept, then new ones until `until`, the
 * client or the daemon goes. Without `since` only new ones. Both are `seconds[.nanoseconds]`.
 * @throws invalidArgument
 */
export async function systemEvents(
  engine: Pick<Engine, 'events' | 'clock'>,
  args: SystemEventsArgs,
  call: Call,
): Promise<ByteStream> {
  const { filters } = args.query;
  checkFilterKeys(filters, EVENT_FILTER_KEYS);
  const sinceNs = timeOf(args.query.since);
  const untilNs = timeOf(args.query.until);
  if (sinceNs !== undefined && untilNs !== undefined && sinceNs > untilNs) {
    throw invalidArgument(
      `since time (${args.query.since}) cannot be after until time (${args.query.until})`,
    );
  }
  const isWanted = eventFilter(filters);
  const past =
    sinceNs === undefined
      ? []
      : engine.events.kept().filter((e) => isWanted(e) && timeIn(e, sinceNs, untilNs));
  const leftMs =
    untilNs === undefined ? undefined : Number((untilNs - engine.clock.nowNs()) / 1_000_000n);
  const body =
    leftMs !== undefined && leftMs <= 0
      ? Readable.from(past.map(encode), { objectMode: false })
      : liveEvents(engine, past, { isWanted, leftMs, signal: call.signal });
  return { contentType: 'application/json', body };
}

function timeOf(text: string): bigint | undefined {
  if (text === '') return undefined;
  const ns = parseUnixNs(text);
  if (ns === undefined) {
    throw invalidArgument(`invalid time ${JSON.stringify(text)}: want seconds since the epoch`);
  }
  return ns;
}

/** `timeNano` has lost its last digits, so what lies within them counts as in. */
function timeIn(event: EventMessage, sinceNs: bigint, untilNs: bigint | undefined): boolean {
  const ns = BigInt(event.timeNano);
  return ns + 256n >= sinceNs && (untilNs === undefined || ns - 256n <= untilNs);
}

function encode(event: EventMessage): Buffer {
  return Buffer.from(`${JSON.stringify(event)}\n`);
}

/** Past events, then live ones. A client that lags too far behind is cut off. */
function liveEvents(
  engine: Pick<Engine, 'events' | 'clock'>,
  past: readonly EventMessage[],
  options: {
    isWanted: (event: EventMessage) => boolean;
    leftMs: number | undefined;
    signal: AbortSignal;
  },
): Readable {
  const stop = new AbortController();
  const body = new Readable({
    read: () => undefined,
    destroy: (error, done) => {
      subscription[Symbol.dispose]();
      stop.abort();
      done(error);
    },
  });
  const subscription = engine.events.subscribe((event) => {
    if (!options.isWanted(event)) return;
    if (body.readableLength > LIMITS.streamBacklogBytesMax) {
      body.destroy(new Error('the client does not read its events'));
    } else body.push(encode(event));
  });
  for (const event of past) body.push(encode(event));
  options.signal.addEventListener('abort', () => body.destroy(), { once: true });
  if (options.leftMs !== undefined) {
    engine.clock.sleep(options.leftMs, { signal: stop.signal, unref: true }).then(
      () => {
        subscription[Symbol.dispose]();
        body.push(null);
      },
      () => undefined, // the client went first
    );
  }
  return body;
}
