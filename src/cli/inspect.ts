import { invalidArgument, isEngineError, messageOf } from '../base/errors.ts';
import { type CompiledTemplate, compileTemplate } from '../formats/gotemplate.ts';
import { EXIT, ExitError, sentenceOf, TEMPLATE_EXIT } from './exit.ts';
import { templateView } from './inspect-shape.ts';
import type { Session } from './session.ts';

/** `inspect` of any kind of thing: indented JSON, compact JSON, or a template for each. */

function compile(format: string): CompiledTemplate {
  try {
    return compileTemplate(format.replaceAll('\\t', '\t').replaceAll('\\n', '\n'), {
      missingKey: 'error',
    });
  } catch (cause) {
    throw new ExitError(TEMPLATE_EXIT, `template parsing error: ${messageOf(cause)}`, { cause });
  }
}

/**
 * Fetches each and prints what was found, then tells what was not.
 * @throws ExitError when something was not found or the template does not fit
 */
export async function inspectAll(
  session: Session,
  names: readonly string[],
  format: string,
  fetch: (name: string) => Promise<object>,
): Promise<undefined> {
  const template = format === '' || format === 'json' ? undefined : compile(format);
  const found: object[] = [];
  const failures: string[] = [];
  for (const name of names) {
    try {
      found.push(await fetch(name));
    } catch (error) {
      if (!(error instanceof ExitError) && !isEngineError(error)) throw error;
      failures.push(sentenceOf(error));
      // A daemon that cannot be reached will not be reached for the next one.
      if (isEngineError(error, 'unavailable')) break;
    }
  }
  if (template !== undefined) await printTemplate(session, template, found);
  else if (format === 'json') await session.line(JSON.stringify(found));
  else await session.line(found.length === 0 ? '[]' : JSON.stringify(found, null, 4));
  if (failures.length > 0) throw new ExitError(EXIT.failure, failures.join('\n'));
  return undefined;
}

async function printTemplate(
  session: Session,
  template: CompiledTemplate,
  found: readonly object[],
): Promise<void> {
  for (const each of found) {
    let line: string;
    try {
      line = template.execute(templateView(each));
    } catch (cause) {
      await session.line('');
      throw invalidArgument(`template parsing error: ${messageOf(cause)}`, { cause });
    }
    await session.line(line);
  }
  if (found.length === 0) await session.line('');
}

/** Words for `--format` in the help of inspecting commands. */
export const INSPECT_FORMAT_USAGE = `How to print:
'json', or a Go template for each`;
