import { createInterface } from 'node:readline/promises';
import { Writable } from 'node:stream';
import { type CliContext, writeAll } from './context.ts';

/** Asks for one line; a hidden answer is not shown as it is typed. '' at the end of input. */
export async function ask(
  { stdin, stdout }: CliContext,
  question: string,
  options: { readonly hidden: boolean },
): Promise<string> {
  await writeAll(stdout, question);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const reader = createInterface({
    input: stdin,
    output: options.hidden ? silent : stdout,
    terminal: stdin.isTTY === true,
  });
  try {
    return await new Promise<string>((resolve) => {
      reader.once('line', resolve);
      reader.once('close', () => resolve(''));
      reader.once('SIGINT', () => resolve(''));
    });
  } finally {
    reader.close();
    if (options.hidden) await writeAll(stdout, '\n');
  }
}
