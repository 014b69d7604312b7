import { createWriteStream } from 'node:fs';
import { rename, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { errnoOf, messageOf } from '../base/errors.ts';
import { writeAll } from './context.ts';
import { EXIT, ExitError } from './exit.ts';
import type { Session } from './session.ts';

/** Refuses, before anything is fetched, to pour an archive on a terminal or into a folder that is not there. @throws ExitError */
export async function checkArchiveOutput(session: Session, output: string): Promise<void> {
  const { stdout, cwd } = session.context;
  if (output === '') {
    if (stdout.isTTY !== true) return;
    throw new ExitError(
      EXIT.failure,
      'cowardly refusing to save to a terminal. Use the -o flag or redirect',
    );
  }
  const file = path.resolve(cwd, output);
  const folder = path.dirname(file);
  const isFolder = await stat(folder).then(
    (found) => found.isDirectory(),
    () => false,
  );
  if (!isFolder) {
    throw new ExitError(
      EXIT.failure,
      `invalid output path: directory ${JSON.stringify(folder)} does not exist`,
    );
  }
  const existing = await stat(file).catch(() => undefined);
  if (existing?.isDirectory() === true) {
    throw new ExitError(
      EXIT.failure,
      `invalid output path: ${JSON.stringify(output)} must be a file`,
    );
  }
}

/**
 * Writes an archive to `--output`, or to stdout when that is ''. A file appears whole or not at
 * all.
 */
export async function writeArchive(
  session: Session,
  body: Readable,
  output: string,
): Promise<void> {
  const { stdout, cwd } = session.context;
  if (output === '') {
    for await (const chunk of body as AsyncIterable<Buffer>) await writeAll(stdout, chunk);
    return;
  }
  const file = path.resolve(cwd, output);
  const existing = await stat(file).catch(() => undefined);
  // A device or pipe cannot be replaced by a rename.
  if (existing !== undefined && !existing.isFile()) {
    await pipeline(body, createWriteStream(file));
    return;
  }
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    // On the disk before it has its name, also when the power goes.
    const how = { flags: 'wx', mode: 0o600, flush: true };
    await pipeline(body, createWriteStream(temporary, how));
    await rename(temporary, file);
  } catch (cause) {
    await rm(temporary, { force: true });
    if (errnoOf(cause) === undefined) throw cause;
    throw new ExitError(EXIT.failure, `cannot write ${output}: ${messageOf(cause)}`, { cause });
  }
}
