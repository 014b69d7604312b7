import { internal, invalidArgument } from '../base/errors.ts';

/** The table that ps prints, kept to some processes. Source: moby `daemon/top_unix.go`. */
export type PsTable = {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
};

/**
 * Words of `ps` for the user's arguments; '' is `-ef`.
 * @throws invalidArgument for a PID column under another name, by which it could not be found
 */
export function psArguments(text: string): string[] {
  const words = (text === '' ? '-ef' : text).split(/\s+/).filter((word) => word !== '');
  for (const word of words) {
    for (const part of word.split(',')) {
      const m = /^(?:-o)?pid=(.*)$/i.exec(part);
      if (m !== null && m[1] !== 'PID') {
        throw invalidArgument(`specifying "${part.replace(/^-o/, '')}" is not allowed`);
      }
    }
  }
  return words;
}

/** Keeps the rows of `pids` of what ps printed; the last column takes the rest of its line. */
export function filterPs(output: string, pids: ReadonlySet<number>): PsTable {
  const [head = '', ...lines] = output.split('\n');
  const titles = head.trim().split(/\s+/);
  const column = titles.indexOf('PID');
  if (column < 0) throw internal("Couldn't find PID field in ps output");
  const rows: string[][] = [];
  let isWanted = false;
  for (const line of lines) {
    if (line.trim() === '') continue;
    const fields = line.trim().split(/\s+/);
    // A line with - for its PID is a thread of the process above it (ps -m).
    if (fields[column] !== '-') {
      const pid = Number(fields[column]);
      if (!Number.isInteger(pid)) throw internal(`Unexpected pid '${fields[column]}'`);
      isWanted = pids.has(pid);
    }
    if (!isWanted) continue;
    const last = titles.length - 1;
    rows.push([...fields.slice(0, last), fields.slice(last).join(' ')]);
  }
  return { Titles: titles, Processes: rows };
}
