import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { fileFault } from '../base/errors.ts';
import { EXIT, ExitError } from './exit.ts';
import type { Session } from './session.ts';

/** Opens a file to be sent to the daemon. @throws ExitError when that cannot be done */
export async function openArchive(session: Session, file: string): Promise<Readable> {
  try {
    const handle = await open(path.resolve(session.context.cwd, file));
    return createReadStream('', { fd: handle });
  } catch (cause) {
    const why = fileFault(cause);
    throw new ExitError(EXIT.failure, `open ${file}: ${why}`, { cause });
  }
}
