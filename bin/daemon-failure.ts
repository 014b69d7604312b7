import { EngineError, messageOf } from '../src/base/errors.ts';

/** What ends the daemon's start: one clear sentence, or a stack where it is our own mistake. */
export function failStart(error: unknown): void {
  const isDefect = error instanceof Error && !(error instanceof EngineError);
  process.stderr.write(`${isDefect ? (error.stack ?? error.message) : messageOf(error)}\n`);
  process.exit(1);
}
