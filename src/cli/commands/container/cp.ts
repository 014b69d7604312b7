import path from 'node:path';
import { Readable } from 'node:stream';
import { defineCommand, exactly } from '../../command.ts';
import { writeAll } from '../../context.ts';
import {
  followed,
  isDirectory,
  isSymlink,
  statInContainer,
  statOf,
  targetInContainer,
} from '../../copy/container-end.ts';
import { localSource, localTarget } from '../../copy/local-end.ts';
import { CopyMeter } from '../../copy/meter.ts';
import { packTree } from '../../copy/pack.ts';
import {
  absolutePath,
  cleanPath,
  landingOf,
  meansContents,
  type Operand,
  parseOperand,
} from '../../copy/places.ts';
import { unpackTree } from '../../copy/unpack.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool } from '../../flags.ts';
import type { Session } from '../../session.ts';

const flags = {
  archive: bool('a', "Give the files to the container's user and group"),
  'follow-link': bool('L', 'Copy what a symlink at the source leads to'),
  quiet: bool('q', 'Say nothing of the progress. Default where stderr is no terminal'),
};

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH',
  args: exactly(2),
  flags,
  about:
    'A path that ends with /. means what is in the folder. `-` reads a tar from standard input, or writes one to standard output.',
  run: async (session, { flags, given, args: [from = '', to = ''] }) => {
    if (from === '') throw new ExitError(EXIT.failure, 'source can not be empty');
    if (to === '') throw new ExitError(EXIT.failure, 'destination can not be empty');
    const [source, target] = [parseOperand(from), parseOperand(to)];
    const isQuiet = given('quiet') ? flags.quiet : session.context.stderr.isTTY !== true;
    const options = { follow: flags['follow-link'], archive: flags.archive, isQuiet };
    if (source.container !== '' && target.container !== '') {
      throw new ExitError(EXIT.failure, 'copying between containers is not supported');
    }
    if (source.container !== '') await copyOut(session, source, target.path, options);
    else if (target.container !== '') await copyIn(session, source.path, target, options);
    else throw new ExitError(EXIT.failure, 'must specify at least one container source');
    return undefined;
  },
});

type Options = {
  readonly follow: boolean;
  readonly archive: boolean;
  readonly isQuiet: boolean;
};

async function copyOut(
  session: Session,
  from: Operand,
  to: string,
  options: Options,
): Promise<void> {
  const { stdout, stderr, cwd } = session.context;
  const target = to === '-' ? undefined : await localTarget(cwd, to);
  if (target === undefined && stdout.isTTY === true) {
    throw new ExitError(EXIT.failure, 'cowardly refusing to copy to a terminal: redirect it');
  }
  const client = await session.client();
  const id = from.container;
  let place = absolutePath('/', from.path);
  const name = path.posix.basename(cleanPath(place));
  if (options.follow) {
    // What is wrong with the path is said by the call below, in the daemon's words.
    const link = await statInContainer(client, id, place).catch(() => undefined);
    if (link !== undefined && isSymlink(link)) place = followed(place, link);
  }
  const { headers, body } = await client.containerArchiveGet({
    params: { id },
    query: { path: place },
  });
  using _unread = { [Symbol.dispose]: () => body.destroy() };
  const source = { path: place, exists: true, isDirectory: isDirectory(statOf(headers)), name };
  const landing = target && landingOf(source, target);
  const meter = new CopyMeter(options.isQuiet ? undefined : stderr, 'Copying from container');
  const archive = meter.through(body as AsyncIterable<Buffer>);
  if (landing === undefined) {
    for await (const chunk of archive) await writeAll(stdout, chunk);
    return;
  }
  await unpackTree(archive, landing);
  await meter.done(cleanPath(absolutePath(cwd, to)));
}

async function copyIn(
  session: Session,
  from: string,
  target: Operand,
  options: Options,
): Promise<void> {
  const { stdin, stderr, cwd } = session.context;
  const source = from === '-' ? undefined : await localSource(cwd, from, options.follow);
  const client = await session.client();
  const id = target.container;
  const place = await targetInContainer(client, id, absolutePath('/', target.path));
  if (source === undefined && !place.isDirectory) {
    throw new ExitError(EXIT.failure, `destination "${id}:${target.path}" must be a directory`);
  }
  const meter = new CopyMeter(options.isQuiet ? undefined : stderr, 'Copying to container');
  let directory = cleanPath(place.path);
  let chunks: AsyncIterable<Uint8Array> = stdin;
  if (source !== undefined) {
    const landing = landingOf(source, place);
    directory = landing.directory;
    const isContents = landing.name === '' || (meansContents(source.path) && place.isDirectory);
    chunks = packTree(source.real, isContents ? '.' : landing.name);
  }
  await client.containerArchivePut({
    params: { id },
    query: { path: directory, noOverwriteDirNonDir: true, copyUIDGID: options.archive },
    body: Readable.from(meter.through(chunks), { objectMode: false }),
  });
  await meter.done(`${id}:${target.path}`);
}
