import type { CliContext } from './context.ts';

/** Signals that end the client while its terminal is raw. */
const ENDING: readonly NodeJS.Signals[] = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM'];

/**
 * Takes the terminal's own handling of keys away until disposed. A signal that ends the client
 * restores it first; for crashes Node does so itself.
 */
export function rawTerminal({ stdin, signals }: CliContext): Disposable {
  if (stdin.isTTY !== true || stdin.setRawMode === undefined) {
    return { [Symbol.dispose]: () => undefined };
  }
  stdin.setRawMode(true);
  const restore = (): void => {
    stop();
    stdin.setRawMode?.(false);
  };
  const stop = signals.listen(ENDING, (name) => {
    restore();
    signals.raise(name);
  });
  return { [Symbol.dispose]: restore };
}

/** Rows and columns of the terminal that output goes to; undefined elsewhere. */
export function terminalSize({ stdout }: CliContext): { h: number; w: number } | undefined {
  const { columns = 0, rows = 0 } = stdout;
  return stdout.isTTY === true && columns > 0 && rows > 0 ? { h: rows, w: columns } : undefined;
}

const RESIZE_TRIES = 10;
const RESIZE_DELAY_MS = 10;

/**
 * Gives a process's terminal the size of ours, now and whenever it changes, until disposed. A
 * process that is only just starting may refuse the first time: it is tried again.
 */
export function followSize(
  context: CliContext,
  resize: (size: { h: number; w: number }) => Promise<void>,
): Disposable {
  let over = false;
  const attempt = async (tries: number): Promise<void> => {
    const size = terminalSize(context);
    if (over || size === undefined) return;
    try {
      await resize(size);
    } catch {
      // The process is not there yet, or not any more; its end is told elsewhere.
      if (tries <= 1) return;
      await new Promise((resolve) => setTimeout(resolve, RESIZE_DELAY_MS).unref());
      await attempt(tries - 1);
    }
  };
  const changed = (): void => void attempt(1);
  void attempt(RESIZE_TRIES);
  context.stdout.on('resize', changed);
  return {
    [Symbol.dispose]: () => {
      over = true;
      context.stdout.off('resize', changed);
    },
  };
}
