import { writeAll } from './context.ts';
import { EXIT, ExitError } from './exit.ts';
import type { Session } from './session.ts';

/** Asks before something is removed. @throws ExitError unless the answer is yes */
export async function confirm(session: Session, question: string): Promise<void> {
  const { stdin, stdout } = session.context;
  await writeAll(stdout, `${question}\nAre you sure you want to continue? [y/N] `);
  let answer = '';
  for await (const chunk of stdin as AsyncIterable<Buffer | string>) {
    answer += chunk.toString();
    if (answer.includes('\n')) break;
  }
  if (/^y(?:es)?$/i.test((answer.split('\n')[0] ?? '').trim())) return;
  throw new ExitError(EXIT.ok);
}
