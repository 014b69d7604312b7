import path from 'node:path';
import { EXIT, ExitError } from '../exit.ts';

/**
 * Where `cp` puts things: what the two ends are decides, as with cp(1). A path that ends with a
 * slash means a directory, one that ends with `/.` a directory's contents.
 */

/** One operand: a local path or `-` when `container` is ''. */
export type Operand = { readonly container: string; readonly path: string };

/** Takes `CONTAINER:PATH` apart. What starts with `/` or `.` is local, whatever colons it has. */
export function parseOperand(text: string): Operand {
  const colon = text.indexOf(':');
  if (text.startsWith('/') || text.startsWith('.') || colon <= 0) {
    return { container: '', path: text };
  }
  return { container: text.slice(0, colon), path: text.slice(colon + 1) };
}

/** What is known of a path at one end. */
export type Place = {
  /** As the user wrote it, made absolute; a `/` or `/.` at its end is kept. */
  readonly path: string;
  readonly exists: boolean;
  readonly isDirectory: boolean;
};

/** Makes a path absolute and clean, but keeps what its end says. */
export function absolutePath(cwd: string, text: string): string {
  const clean = path.posix.resolve(cwd, text);
  if (meansContents(text)) return clean === '/' ? '/.' : `${clean}/.`;
  return text.endsWith('/') && clean !== '/' ? `${clean}/` : clean;
}

export function meansContents(text: string): boolean {
  return /(?:^|\/)\.$/.test(text);
}

export function meansDirectory(text: string): boolean {
  return text.endsWith('/') || meansContents(text);
}

/** The path without what its end says. */
export function cleanPath(text: string): string {
  return path.posix.normalize(text).replace(/(.)\/\.?$/, '$1');
}

/** Where the top of the copied tree goes: a folder that exists, and its name there. */
export type Landing = {
  readonly directory: string;
  /** '' makes the folder's contents the tree's. */
  readonly name: string;
};

/**
 * Decides where a tree goes. `name` is what the source is called.
 * @throws ExitError in Docker's words
 */
export function landingOf(source: Place & { readonly name: string }, target: Place): Landing {
  const clean = cleanPath(target.path);
  if (target.exists && target.isDirectory) {
    return { directory: clean, name: meansContents(source.path) ? '' : source.name };
  }
  if (target.exists && source.isDirectory)
    throw new ExitError(EXIT.failure, 'cannot copy directory');
  if (!target.exists && !source.isDirectory && meansDirectory(target.path)) {
    throw new ExitError(EXIT.failure, 'no such directory');
  }
  if (target.exists && meansDirectory(target.path)) {
    throw new ExitError(EXIT.failure, 'not a directory');
  }
  return { directory: path.posix.dirname(clean), name: path.posix.basename(clean) };
}
