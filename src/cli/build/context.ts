import { randomBytes } from 'node:crypto';
import { readFile, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { Readable } from 'node:stream';
import { errnoOf, fileFault, messageOf } from '../../base/errors.ts';
import { firstBytes, prepend } from '../../base/first-bytes.ts';
import { LIMITS } from '../../base/limits.ts';
import { type ByteString, fromText, toText } from '../../formats/byte-string.ts';
import { ignorePatterns } from '../../formats/ignore-patterns.ts';
import { encodeTarHeader, TAR_END, tarPadding } from '../../formats/tar-writer.ts';
import { packTree } from '../copy/pack.ts';
import { EXIT, ExitError } from '../exit.ts';
import type { Session } from '../session.ts';

/** What is sent for a build: a tar as it is read, and where in it the Dockerfile is. */
export type SentContext = { readonly body: Readable; readonly dockerfile: string };

const DOCKERFILE = 'Dockerfile';
const IGNORE_FILE = '.dockerignore';

/**
 * The context that a command line names: a folder, or `-` for standard input, which holds a tar or
 * a Dockerfile alone. `file` is `--file`.
 * @throws ExitError when it cannot be read
 */
export async function openContext(
  session: Session,
  place: string,
  file: string,
): Promise<SentContext> {
  if (place === '-' && file === '-') {
    throw new ExitError(
      EXIT.failure,
      "invalid argument: can't use stdin for both build context and dockerfile",
    );
  }
  if (place === '-') return await fromStdin(session, file);
  const folder = await folderOf(session, place);
  if (file === '-') {
    const text = await readAll(session.context.stdin);
    return await packContext(folder, { name: `.dockerfile.${suffix()}`, text, isOutside: true });
  }
  const wanted = path.resolve(file === '' ? folder : session.context.cwd, file || DOCKERFILE);
  const found = file === '' ? await withFallback(wanted) : wanted;
  const dockerfile = await realpathOf(found, file || DOCKERFILE);
  const relative = path.relative(folder, dockerfile);
  if (relative !== '..' && !relative.startsWith('../')) {
    return await packContext(folder, { name: relative, text: Buffer.alloc(0), isOutside: false });
  }
  const text = await readFile(dockerfile);
  return await packContext(folder, { name: `.dockerfile.${suffix()}`, text, isOutside: true });
}

const suffix = (): string => randomBytes(10).toString('hex');

async function withFallback(wanted: string): Promise<string> {
  const lower = path.join(path.dirname(wanted), DOCKERFILE.toLowerCase());
  return (await isThere(wanted)) || !(await isThere(lower)) ? wanted : lower;
}

async function isThere(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

async function folderOf(session: Session, place: string): Promise<string> {
  const folder = path.resolve(session.context.cwd, place);
  let isFolder: boolean;
  try {
    isFolder = (await stat(folder)).isDirectory();
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw new ExitError(EXIT.failure, messageOf(cause), { cause });
    throw new ExitError(
      EXIT.failure,
      `unable to prepare context: path ${JSON.stringify(place)} not found`,
      { cause },
    );
  }
  if (isFolder) return await realpath(folder);
  throw new ExitError(
    EXIT.failure,
    `unable to prepare context: context must be a directory: ${folder}`,
  );
}

async function realpathOf(file: string, shown: string): Promise<string> {
  try {
    return await realpath(file);
  } catch (cause) {
    throw new ExitError(
      EXIT.failure,
      `unable to prepare context: unable to evaluate symlinks in Dockerfile path: lstat ${shown}: ${fileFault(cause)}`,
      { cause },
    );
  }
}

type SentDockerfile = {
  readonly name: string;
  readonly text: Uint8Array;
  /** It is no file of the context, and comes beside it. */
  readonly isOutside: boolean;
};

async function packContext(folder: string, dockerfile: SentDockerfile): Promise<SentContext> {
  const ignored = await readIgnoreFile(folder);
  const lines = ignored.split(/\r?\n/).filter((line) => !line.startsWith('#'));
  // The daemon needs both, and takes them away again when they are left out.
  const kept = [IGNORE_FILE, dockerfile.name].map((name) => `!${escaped(name)}`);
  const hasPatterns = lines.some((line) => line.trim() !== '');
  const patterns = ignorePatterns(hasPatterns ? [...lines, ...kept] : []);
  const leavesOut = (name: ByteString): 'no' | 'itself' | 'all below' => {
    const below = toText(name).replace(/^\.\/?/, '');
    if (below === '') return 'no';
    if (below === IGNORE_FILE && dockerfile.isOutside) return 'all below';
    if (!patterns.ignores(below)) return 'no';
    return patterns.mayPrune(below) ? 'all below' : 'itself';
  };
  const options = { leavesOut, owner: { uid: 0, gid: 0 }, isOpen: true } as const;
  const archive = async function* (): AsyncGenerator<Buffer> {
    yield* packTree(folder, '.', options);
    if (dockerfile.isOutside) {
      yield* packText(dockerfile.name, dockerfile.text);
      yield* packText(IGNORE_FILE, Buffer.from(`${ignored}\n${dockerfile.name}\n`));
    }
    yield TAR_END;
  };
  return { body: Readable.from(archive(), { objectMode: false }), dockerfile: dockerfile.name };
}

/** A name as a pattern that fits nothing else. */
function escaped(name: string): string {
  return name.replace(/[*?[\]\\]/g, '\\$&');
}

async function readIgnoreFile(folder: string): Promise<string> {
  try {
    return await readFile(path.join(folder, IGNORE_FILE), 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return '';
    throw error;
  }
}

function* packText(name: string, text: Uint8Array): Generator<Buffer> {
  const sizeBytes = text.length;
  yield encodeTarHeader({ kind: 'file', path: fromText(name), mode: 0o600, sizeBytes });
  yield Buffer.from(text);
  yield tarPadding(sizeBytes);
}

const MAGIC = ['1f8b08', '28b52ffd', '425a68', 'fd377a585a00'];
const TAR_HEAD_BYTES = 512;

async function fromStdin(session: Session, file: string): Promise<SentContext> {
  const chunks = session.context.stdin[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  const head = await firstBytes(chunks, TAR_HEAD_BYTES);
  const rest: AsyncIterable<Buffer> = { [Symbol.asyncIterator]: () => chunks };
  const whole = Readable.from(prepend(head, rest), { objectMode: false });
  if (isArchive(Buffer.concat(head))) {
    return { body: whole, dockerfile: file || DOCKERFILE };
  }
  if (file !== '') {
    throw new ExitError(
      EXIT.failure,
      'unable to prepare context: ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles',
    );
  }
  const text = await readAll(whole);
  const archive = Buffer.concat([...packText(DOCKERFILE, text), TAR_END]);
  return { body: Readable.from([archive], { objectMode: false }), dockerfile: DOCKERFILE };
}

function isArchive(head: Buffer): boolean {
  const hex = head.toString('hex', 0, 6);
  return (
    MAGIC.some((each) => hex.startsWith(each)) || head.toString('latin1', 257, 262) === 'ustar'
  );
}

async function readAll(source: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of source as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > LIMITS.dockerfileBytesMax) {
      throw new ExitError(EXIT.failure, 'unable to prepare context: the Dockerfile is too long');
    }
    chunks.push(Buffer.from(chunk));
  }
  return Buffer.concat(chunks);
}
