import { isEngineError, messageOf } from '../../base/errors.ts';
import { parseDetachKeys } from '../../policy/detach-keys.ts';
import { EXIT } from '../exit.ts';
import type { Session } from '../session.ts';
import { joinStreams, proxySignals, type StreamEnd, type StreamOptions } from '../streams.ts';
import { followSize, rawTerminal } from '../terminal.ts';

/** A container that the client is attached to, or about to be. */
export type Attachment = {
  /** Resolves when the output ended or the user detached. */
  readonly ended: Promise<StreamEnd>;
};

/** `--detach-keys`, else those of `config.json`, else '' for Docker's. @throws invalidArgument */
export async function detachKeysOf(session: Session, given: string): Promise<string> {
  const configured = (await session.config()).settings.detachKeys;
  const keys = given || configured;
  parseDetachKeys(keys);
  return keys;
}

/**
 * Attaches to a container's streams. It is there before this resolves, so that a container that
 * is started next loses no output.
 */
export async function attachContainer(
  session: Session,
  id: string,
  options: Omit<StreamOptions, 'detachKeys'> & {
    readonly detachKeys: string;
    readonly logs?: boolean;
  },
): Promise<Attachment> {
  const client = await session.client();
  const { stream } = await client.containerAttach({
    params: { id },
    query: {
      stream: true,
      stdin: options.stdin,
      stdout: options.stdout,
      stderr: options.stderr,
      detachKeys: options.detachKeys,
      logs: options.logs ?? false,
    },
  });
  if (stream === undefined) throw new Error('the daemon did not hand the connection over');
  const keys = parseDetachKeys(options.detachKeys);
  const ended = joinStreams(stream, session.context, { ...options, detachKeys: keys });
  // It is awaited once the container runs; until then a failure must not count as unhandled.
  ended.catch(() => undefined);
  return { ended };
}

/** A raw terminal for a process that has one; signals passed on to one that has not. */
export function foreground(
  session: Session,
  id: string,
  options: { readonly tty: boolean; readonly stdin: boolean; readonly proxy: boolean },
): DisposableStack {
  const stack = new DisposableStack();
  if (options.tty && options.stdin) stack.use(rawTerminal(session.context));
  if (!options.proxy || options.tty) return stack;
  const kill = async (signal: string): Promise<void> => {
    const client = await session.client();
    await client.containerKill({ params: { id }, query: { signal } });
  };
  stack.use(proxySignals(session.context, kill));
  return stack;
}

/** Gives the container's terminal the size of ours until disposed. */
export function followContainerSize(session: Session, id: string): Disposable {
  return followSize(session.context, async (query) => {
    const client = await session.client();
    await client.containerResize({ params: { id }, query });
  });
}

/**
 * Starts to wait for a container's end. It is waited for before this resolves, so that no exit is
 * missed. With `removed` the end is the removal. What goes wrong is told when `code` is called: a start
 * that fails says so itself.
 */
export async function watchExit(
  session: Session,
  id: string,
  condition: 'next-exit' | 'removed' | 'not-running',
): Promise<{ readonly code: () => Promise<number> }> {
  const client = await session.client();
  const { answer } = await client.containerWait({ params: { id }, query: { condition } });
  answer.catch(() => undefined); // nobody may ask for it
  const code = async (): Promise<number> => {
    try {
      const { StatusCode, Error: failure } = await answer;
      if (failure == null || failure.Message === '') return StatusCode;
      await session.errorLine(`Error waiting for container: ${failure.Message}`);
    } catch (error) {
      if (!isEngineError(error)) throw error;
      await session.errorLine(`error waiting for container: ${messageOf(error)}`);
    }
    return EXIT.usage;
  };
  return { code };
}

/** What stops a terminal from being given to a process when input is a pipe. @throws */
export function checkTty(session: Session, options: { tty: boolean; stdin: boolean }): string {
  const { stdin } = session.context;
  return options.tty && options.stdin && stdin.isTTY !== true
    ? 'the input device is not a TTY'
    : '';
}
