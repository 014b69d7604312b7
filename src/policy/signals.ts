import { invalidArgument } from '../base/errors.ts';

/** Linux signal numbers by name, for every architecture of this project. Source: signal(7). */
export const SIGNALS: Readonly<Record<string, number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  ILL: 4,
  TRAP: 5,
  ABRT: 6,
  IOT: 6,
  BUS: 7,
  FPE: 8,
  KILL: 9,
  USR1: 10,
  SEGV: 11,
  USR2: 12,
  PIPE: 13,
  ALRM: 14,
  TERM: 15,
  STKFLT: 16,
  CHLD: 17,
  CLD: 17,
  CONT: 18,
  STOP: 19,
  TSTP: 20,
  TTIN: 21,
  TTOU: 22,
  URG: 23,
  XCPU: 24,
  XFSZ: 25,
  VTALRM: 26,
  PROF: 27,
  WINCH: 28,
  IO: 29,
  POLL: 29,
  PWR: 30,
  SYS: 31,
};

export const SIGTERM = 15;
export const SIGKILL = 9;

const SIGRTMIN = 34;
const SIGRTMAX = 64;

/**
 * The number of `9`, `KILL`, `sigkill`, `SIGRTMIN+3`.
 * @throws invalidArgument with Docker's text
 */
export function parseSignal(text: string): number {
  const invalid = (): Error => invalidArgument(`invalid signal: ${text}`);
  if (/^\d+$/.test(text)) {
    const number = Number(text);
    if (number < 1 || number > SIGRTMAX) throw invalid();
    return number;
  }
  const name = text.toUpperCase().replace(/^SIG/, '');
  const number = SIGNALS[name];
  if (number !== undefined) return number;
  const realtime = /^RT(MIN|MAX)(?:([+-])(\d{1,2}))?$/.exec(name);
  if (realtime === null) throw invalid();
  const base = realtime[1] === 'MIN' ? SIGRTMIN : SIGRTMAX;
  const offset = Number(realtime[3] ?? 0) * (realtime[2] === '-' ? -1 : 1);
  const found = base + offset;
  if (found < SIGRTMIN || found > SIGRTMAX) throw invalid();
  return found;
}
