import { invalidArgument, messageOf } from '../base/errors.ts';
import type { FlagWords } from './daemon-flags.ts';
import { DAEMON_OPTIONS } from './daemon-options.ts';
import { type Values, valueOfJson } from './daemon-values.ts';

/** The configuration file, `daemon.json`: a JSON object whose keys are dockerd's. */

/** Keys that may stand in the file and on the command line at once. */
const MAY_BE_BOTH = ['runtimes'];

/**
 * Reads the file's text. `flags` are the ones given, to find what is said twice. An empty file says
 * nothing.
 * @throws invalidArgument, with `file` in its sentence
 */
export function parseDaemonFile(text: string, file: string, flags: FlagWords): Values {
  try {
    return parse(text, flags);
  } catch (cause) {
    throw invalidArgument(
      `unable to configure the Docker daemon with file ${file}: ${messageOf(cause)}`,
      { cause },
    );
  }
}

function parse(text: string, flags: FlagWords): Values {
  // A byte order mark is no part of the JSON; text editors of Windows put one.
  const bare = text.replace(/^\uFEFF/, '').trim();
  if (bare === '') return {};
  const parsed: unknown = JSON.parse(bare);
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) {
    throw invalidArgument('the file must hold one JSON object');
  }
  const object = parsed as Readonly<Record<string, unknown>>;
  const known = new Map(DAEMON_OPTIONS.map((option) => [option.key, option]));
  const unknown = Object.keys(object).filter((key) => !known.has(key));
  if (unknown.length > 0) {
    throw invalidArgument(
      `the following directives don't match any configuration option: ${unknown.join(', ')}`,
    );
  }
  checkConflicts(object, flags);
  const values: Record<string, Values[string]> = {};
  for (const [key, value] of Object.entries(object)) {
    const option = known.get(key);
    if (option === undefined || value === null) continue;
    // What does nothing may have any shape: `features` holds booleans here and words there.
    const kept = option.ignored === undefined ? option : { ...option, kind: 'json' as const };
    values[key] = valueOfJson(kept, value);
  }
  return values;
}

function checkConflicts(object: Readonly<Record<string, unknown>>, flags: FlagWords): void {
  const conflicts = [...flags].flatMap(([option, words]) => {
    const { key } = option;
    if (key === undefined || !Object.hasOwn(object, key) || MAY_BE_BOTH.includes(key)) return [];
    const many = option.kind !== 'bool' && option.kind !== 'int' && option.kind !== 'string';
    const said = many ? `[${words.join(' ')}]` : (words.at(-1) ?? '');
    return [`${key}: (from flag: ${said}, from file: ${goFormat(object[key])})`];
  });
  if (conflicts.length > 0) {
    throw invalidArgument(
      `the following directives are specified both as a flag and in the configuration file: ${conflicts.join(', ')}`,
    );
  }
}

/** A JSON value as Go's `%v` writes it. */
function goFormat(value: unknown): string {
  if (value === null) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(goFormat).join(' ')}]`;
  if (typeof value === 'object') {
    const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
    return `map[${fields.map(([key, field]) => `${key}:${goFormat(field)}`).join(' ')}]`;
  }
  return typeof value === 'string' ? value : JSON.stringify(value);
}
