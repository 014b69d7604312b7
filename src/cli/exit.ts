import { isEngineError, messageOf } from '../base/errors.ts';

/** Exit codes of Docker's client. */
export const EXIT = {
  ok: 0,
  failure: 1,
  /** A flag that cannot be parsed; `run` and `create` could not make or start the container. */
  usage: 125,
  /** `run`: the command was found and could not be executed. */
  notExecutable: 126,
  /** `run`: no such command. */
  notFound: 127,
} as const;

/** Docker's code for a template that cannot be parsed. */
export const TEMPLATE_EXIT = 64;

/** Ends the program with a code, and a message on stderr unless it is ''. */
export class ExitError extends Error {
  readonly code: number;

  constructor(code: number, message = '', options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'ExitError';
    this.code = code;
  }
}

/** The sentence of a failure as Docker's client says it: the daemon's errors are called so. */
export function sentenceOf(error: unknown): string {
  if (isEngineError(error) && typeof error.detail['status'] === 'number') {
    return `Error response from daemon: ${error.message}`;
  }
  return messageOf(error);
}

/**
 * Exit code of a `run` or `start` that failed because of the command in the container, from the
 * runtime's words; undefined for other failures.
 */
export function commandExitCode(message: string): number | undefined {
  const text = message.toLowerCase();
  if (
    text.includes('executable file not found') ||
    text.includes('no such file or directory') ||
    text.includes('system cannot find the file specified')
  ) {
    return EXIT.notFound;
  }
  if (text.includes('permission denied') || text.includes('is a directory')) {
    return EXIT.notExecutable;
  }
  return undefined;
}
