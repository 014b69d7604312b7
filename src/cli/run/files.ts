import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, invalidArgument, messageOf } from '../../base/errors.ts';
import { splitPair } from '../flags.ts';
import type { ContainerFlags } from './flags.ts';

/** Contents of the files that flags name, by the name as it was given. */
export type RunFiles = ReadonlyMap<string, string>;

/** The file of `--security-opt seccomp=FILE`; undefined for other options. */
export function seccompFile(option: string): string | undefined {
  const m = /^seccomp[=:](.*)$/s.exec(option);
  const value = m?.[1];
  return value === undefined || value === 'unconfined' || value === 'builtin' ? undefined : value;
}

const REASON: Readonly<Record<string, string>> = {
  ENOENT: 'no such file or directory',
  EACCES: 'permission denied',
  EISDIR: 'is a directory',
};

/** Reads what `--env-file`, `--label-file` and `--security-opt` name. @throws invalidArgument */
export async function readRunFiles(
  flags: Pick<ContainerFlags, 'env-file' | 'label-file' | 'security-opt'>,
  cwd: string,
): Promise<RunFiles> {
  const files = new Map<string, string>();
  const read = async (name: string, prefix: string): Promise<void> => {
    try {
      files.set(name, await readFile(path.resolve(cwd, name), 'utf8'));
    } catch (cause) {
      const errno = errnoOf(cause) ?? '';
      const verb = errno === 'EISDIR' ? 'read' : 'open';
      const lead = errno === 'EISDIR' && prefix === '' ? `invalid env file (${name}): ` : prefix;
      const reason = REASON[errno] ?? messageOf(cause);
      throw invalidArgument(`${lead}${verb} ${name}: ${reason}`, { cause });
    }
  };
  for (const name of [...flags['env-file'], ...flags['label-file']]) await read(name, '');
  for (const option of flags['security-opt']) {
    const name = seccompFile(option);
    if (name !== undefined) await read(name, `opening seccomp profile (${name}) failed: `);
  }
  return files;
}

/**
 * Lines `KEY=value` or `KEY` of a file. Blank lines and comments are left out.
 * @throws invalidArgument for a key with white space or without a name
 */
function linesOf(name: string, content: string): string[] {
  const lines: string[] = [];
  for (const raw of content.replace(/^\ufeff/, '').split('\n')) {
    const line = raw.replace(/\r$/, '').trimStart();
    if (line === '' || line.startsWith('#')) continue;
    const key = line.split('=', 1)[0] ?? '';
    if (/\s/.test(key)) {
      throw invalidArgument(`invalid env file (${name}): variable '${key}' contains whitespaces`);
    }
    if (key === '')
      throw invalidArgument(`invalid env file (${name}): no variable name on line '${line}'`);
    lines.push(line);
  }
  return lines;
}

function contentOf(files: RunFiles, name: string): string {
  const content = files.get(name);
  if (content === undefined) throw new Error(`${name} was not read`);
  return content;
}

/** Entries of files; a name alone takes the client's own value, or is left out without one. */
function entriesOf(names: readonly string[], files: RunFiles, own: Own): string[] {
  return names
    .flatMap((name) => linesOf(name, contentOf(files, name)))
    .flatMap((line) => {
      if (line.includes('=')) return [line];
      return own[line] === undefined ? [] : [`${line}=${own[line]}`];
    });
}

type Own = Readonly<Record<string, string | undefined>>;

/** Environment of files, then flags. A name alone in a flag and not in our environment unsets it. */
export function envOf(
  names: readonly string[],
  flags: readonly string[],
  files: RunFiles,
  own: Own,
): string[] {
  return [
    ...entriesOf(names, files, own),
    ...flags.map((each) =>
      each.includes('=') || own[each] === undefined ? each : `${each}=${own[each]}`,
    ),
  ];
}

/** Labels of files, then flags. */
export function labelsOf(
  names: readonly string[],
  flags: readonly string[],
  files: RunFiles,
  own: Own,
): Record<string, string> {
  return Object.fromEntries([...entriesOf(names, files, own), ...flags].map(splitPair));
}
