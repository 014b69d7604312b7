import { shortId } from '../../../base/digest.ts';
import { isEngineError, messageOf } from '../../../base/errors.ts';
import type { Client } from '../../../client/client.ts';
import type { ContainerStats } from '../../../spec/docker/stats.ts';
import { atLeast, defineCommand } from '../../command.ts';
import { EXIT, ExitError, sentenceOf } from '../../exit.ts';
import { bool, text } from '../../flags.ts';
import { FORMAT_USAGE, formatRows } from '../../format.ts';
import { drawScreen } from '../../screen.ts';
import type { Session } from '../../session.ts';
import { STATS_TABLE, type StatsRow, statsRow, statsShape } from '../../shapes/stats.ts';

const flags = {
  all: bool('a', 'Show all containers, not just running ones'),
  format: text('', FORMAT_USAGE),
  'no-stream': bool('', 'Show the first values and end'),
  'no-trunc': bool('', 'Show IDs in full'),
};

const INTERVAL_MS = 500;

export const command = defineCommand({
  use: '[OPTIONS] [CONTAINER...]',
  args: atLeast(0),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    const configured = (await session.config()).settings.statsFormat;
    const format = flags.format || configured;
    const print = (rows: readonly StatsRow[]): string =>
      formatRows(rows, format, statsShape(!flags['no-trunc']), { table: STATS_TABLE });
    checkFormat(print);
    const abort = new AbortController();
    const watcher = new Watcher(client, { stream: !flags['no-stream'], signal: abort.signal });
    if (args.length > 0) for (const name of args) watcher.add(name, name);
    else {
      const found = await client.containerList({ query: { all: flags.all } });
      for (const { Id, Names } of found) watcher.add(Id, (Names[0] ?? '').replace(/^\//, ''));
    }
    try {
      await watcher.ready();
      const named = args.length > 0;
      watcher.failure(named);
      if (flags['no-stream']) {
        await session.out(print(watcher.rows()));
        return undefined;
      }
      if (args.length === 0) void watcher.follow(flags.all);
      return await live(session, watcher, print, named);
    } finally {
      abort.abort();
    }
  },
});

/** @throws ExitError for a template that does not fit, before anything is asked for */
function checkFormat(print: (rows: readonly StatsRow[]) => string): void {
  try {
    print([{ container: '', id: '', name: '', sample: undefined }]);
  } catch (cause) {
    const words = messageOf(cause).replace('failed to execute template', 'template parsing error');
    throw new ExitError(EXIT.failure, words, { cause });
  }
}

/** Draws until it is stopped. A container that was asked for by name and is gone shows dashes. */
async function live(
  session: Session,
  watcher: Watcher,
  print: (rows: readonly StatsRow[]) => string,
  named: boolean,
): Promise<number | undefined> {
  for (;;) {
    const rows = watcher.rows();
    await drawScreen(session.context.stdout, print(rows));
    if (named && watcher.haveFailed()) return watcher.failure(true);
    await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
  }
}

type Watched = {
  readonly id: string;
  row: StatsRow;
  error: string;
  readonly first: PromiseWithResolvers<void>;
};

/** What a container was asked for by: its name, or its ID where it was found in the list. */
function shownId(id: string, name: string): string {
  return id === name ? name : shortId(id);
}

/** Follows the statistics of containers, each over a stream of its own. */
class Watcher {
  readonly #client: Client;
  readonly #signal: AbortSignal;
  readonly #stream: boolean;
  readonly #watched = new Map<string, Watched>();

  /** Without `stream` each container tells what it uses once. */
  constructor(client: Client, options: { readonly stream: boolean; readonly signal: AbortSignal }) {
    this.#client = client;
    this.#stream = options.stream;
    this.#signal = options.signal;
  }

  add(id: string, name: string): void {
    if (this.#watched.has(id)) return;
    const first = Promise.withResolvers<void>();
    const watched: Watched = {
      id,
      row: { container: shownId(id, name), id, name, sample: undefined },
      error: '',
      first,
    };
    this.#watched.set(id, watched);
    void this.#watch(watched);
  }

  async #watch(watched: Watched): Promise<void> {
    try {
      const samples = await this.#client.containerStats({
        params: { id: watched.id },
        query: { stream: this.#stream },
        signal: this.#signal,
      });
      let previous: ContainerStats | undefined;
      for await (const sample of samples) {
        watched.row = statsRow(watched.row, sample);
        // The first sample has nothing to compare with: its CPU share comes with the second.
        if (previous !== undefined || sample.precpu_stats?.system_cpu_usage !== undefined) {
          watched.first.resolve();
        }
        previous = sample;
      }
      if (!this.#stream) {
        watched.first.resolve();
        return;
      }
    } catch (error) {
      if (!this.#signal.aborted) {
        watched.error = isEngineError(error) ? sentenceOf(error) : String(error);
      }
    }
    watched.row = { ...watched.row, sample: undefined };
    watched.first.resolve();
  }

  /** Resolves when every container has told something, or is gone. */
  async ready(): Promise<void> {
    await Promise.all([...this.#watched.values()].map((watched) => watched.first.promise));
  }

  rows(): StatsRow[] {
    return [...this.#watched.values()].filter(({ error }) => error === '').map(({ row }) => row);
  }

  /** True when there is nothing left to be shown. */
  haveFailed(): boolean {
    return [...this.#watched.values()].every(({ error }) => error !== '');
  }

  /** @throws ExitError with what went wrong for containers asked for by name */
  failure(named: boolean): undefined {
    const errors = [...this.#watched.values()]
      .map(({ error }) => error)
      .filter((text) => text !== '');
    if (errors.length > 0 && (named || this.rows().length === 0))
      throw new ExitError(EXIT.failure, errors.join('\n'));
    return undefined;
  }

  /** Adds what starts and drops what stops, as events tell. */
  async follow(all: boolean): Promise<void> {
    const events = await this.#client
      .systemEvents({
        query: { filters: { type: ['container'], event: ['start', 'create', 'die', 'destroy'] } },
        signal: this.#signal,
      })
      .catch(() => []);
    try {
      for await (const { Action, Actor } of events) {
        if (Action === 'start' || (Action === 'create' && all)) {
          this.#watched.delete(Actor.ID);
          this.add(Actor.ID, Actor.Attributes['name'] ?? '');
        } else if (Action === 'destroy' || (Action === 'die' && !all)) {
          this.#watched.delete(Actor.ID);
        }
      }
    } catch (error) {
      if (!this.#signal.aborted && !isEngineError(error)) throw error;
    }
  }
}
