import { type EngineError, isEngineError } from '../base/errors.ts';
import { EXIT, ExitError, sentenceOf } from './exit.ts';
import type { Session } from './session.ts';

/** How many calls of one command run at once. */
const AT_ONCE = 50;

/**
 * Does one thing to each of several things, as `rm a b c`: prints what `action` gives (the name
 * itself as a rule) in the order of the names, and in the end all failures.
 * @throws ExitError when something failed
 */
export async function forEachName(
  session: Session,
  names: readonly string[],
  action: (name: string) => Promise<string>,
): Promise<undefined> {
  const failures: string[] = [];
  for (let at = 0; at < names.length; at += AT_ONCE) {
    const batch = names.slice(at, at + AT_ONCE).map((name) => action(name));
    for (const outcome of await Promise.allSettled(batch)) {
      if (outcome.status === 'fulfilled') {
        if (outcome.value !== '') await session.line(outcome.value);
      } else if (isEngineError(outcome.reason)) failures.push(sentenceOf(outcome.reason));
      else throw outcome.reason;
    }
  }
  if (failures.length > 0) throw new ExitError(EXIT.failure, failures.join('\n'));
  return undefined;
}

/**
 * Does one thing to each of several things, one after the other; gives the failures of those that
 * it could not be done to.
 */
export async function inTurn(
  names: readonly string[],
  action: (name: string) => Promise<void>,
): Promise<readonly EngineError[]> {
  const failures: EngineError[] = [];
  for (const name of names) {
    try {
      await action(name);
    } catch (error) {
      if (!isEngineError(error)) throw error;
      failures.push(error);
    }
  }
  return failures;
}
