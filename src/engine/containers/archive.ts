import { PassThrough, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { deferred } from '../../base/async.ts';
import { formatTimeNs } from '../../base/clock.ts';
import { invalidArgument, messageOf } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { S } from '../../kernel/constants.ts';
import { readInRoot } from '../../kernel/rootfs-file.ts';
import { lookUpUser } from '../../policy/user-spec.ts';
import { feedJob } from '../../worker/feed.ts';
import type { JobName } from '../../worker/job.ts';
import type { TreePackInput, TreeStat, TreeUnpackInput } from '../../worker/tree-protocol.ts';
import { type ByteStream, type Call, faultOfBody } from '../call.ts';
import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';
import { containerEvent } from './events.ts';
import { inDockersWords, withRoot, withView } from './filesystem.ts';

/** `docker cp` and `docker export`: a container's files as tars, in and out. */

type ByPath<Query = object> = {
  readonly params: { readonly id: string };
  readonly query: { readonly path: string } & Query;
};

const STAT_HEADER = 'X-Docker-Container-Path-Stat';
const TAR_TYPE = 'application/x-tar';

function checkPath(path: string): void {
  if (path === '') throw invalidArgument('bad parameter: path cannot be empty');
  if (path.includes('\0')) throw invalidArgument('bad parameter: path holds a NUL');
}

/** What a path is, in a header. @throws notFound */
export async function containerArchiveHead(
  engine: Engine,
  args: ByPath,
  call: Call,
): Promise<ByteStream> {
  const container = engine.containers.get(args.params.id);
  checkPath(args.query.path);
  const stat = deferred<TreeStat>();
  try {
    await withView(engine, container, async (view) => {
      const input: TreePackInput = { view, path: args.query.path, statOnly: true, naming: 'copy' };
      await using job = await engine.workers.start('tree-pack', input, {
        signal: call.signal,
        onReport: (report) => stat.resolve(report as TreeStat),
      });
      job.stdin.end();
      job.stdout.resume();
      await job.result;
    });
  } catch (error) {
    throw inDockersWords(error, args.params.id);
  }
  return {
    contentType: TAR_TYPE,
    headers: statHeader(await stat.promise),
    body: Readable.from([]),
  };
}

/** A path's tree as a tar. @throws notFound */
export async function containerArchiveGet(
  engine: Engine,
  args: ByPath,
  call: Call,
): Promise<ByteStream> {
  const container = engine.containers.get(args.params.id);
  const { path } = args.query;
  checkPath(path);
  const stat = deferred<TreeStat>();
  stat.promise.catch(() => undefined);
  const body = streamJob(engine, call, {
    name: 'tree-pack',
    inputs: (start) =>
      withView(engine, container, (view) =>
        start({ view, path, statOnly: false, naming: 'copy' } satisfies TreePackInput),
      ),
    onReport: (report) => stat.resolve(report as TreeStat),
    onFailure: stat.reject,
  });
  try {
    const headers = statHeader(await stat.promise);
    containerEvent(engine, container, 'archive-path', { path });
    return { contentType: TAR_TYPE, headers, body };
  } catch (error) {
    body.destroy();
    throw inDockersWords(error, args.params.id);
  }
}

/** The whole root as a tar, without what is mounted in it. */
export async function containerExport(
  engine: Engine,
  args: { readonly params: { readonly id: string } },
  call: Call,
): Promise<ByteStream> {
  const container = engine.containers.get(args.params.id);
  const started = deferred<void>();
  started.promise.catch(() => undefined);
  const body = streamJob(engine, call, {
    name: 'tree-pack',
    inputs: (start) =>
      withRoot(engine, container, (root, users) =>
        start({
          view: { root, binds: [], users },
          path: '/',
          statOnly: false,
          naming: 'export',
        } satisfies TreePackInput),
      ),
    onReport: () => started.resolve(),
    onFailure: started.reject,
  });
  try {
    await started.promise;
  } catch (error) {
    body.destroy();
    throw error;
  }
  containerEvent(engine, container, 'export');
  return { contentType: TAR_TYPE, body };
}

/** What a worker writes, as a stream that ends early when the worker fails; why goes to the log. */
function streamJob(
  engine: Engine,
  call: Call,
  job: {
    readonly name: JobName;
    /** Calls `start` with the job's input as long as that holds. */
    readonly inputs: (start: (input: unknown) => Promise<void>) => Promise<void>;
    readonly onReport: (report: unknown) => void;
    /** Told first when it fails. */
    readonly onFailure: (error: unknown) => void;
  },
): PassThrough {
  const body = new PassThrough();
  const stop = new AbortController();
  const signal = AbortSignal.any([call.signal, stop.signal]);
  body.once('close', () => stop.abort());
  // It may fail before anybody reads it; whoever does hears of it as well.
  body.on('error', () => undefined);
  const run = async (input: unknown): Promise<void> => {
    const options = { signal, onReport: job.onReport };
    await using running = await engine.workers.start(job.name, input, options);
    running.stdin.end();
    const [sent, result] = await Promise.allSettled([
      pipeline(running.stdout, body, { end: false, signal }),
      running.result,
    ]);
    if (result.status === 'rejected') throw result.reason;
    if (sent.status === 'rejected') throw sent.reason;
  };
  engine.tasks.spawn(job.name, async () => {
    try {
      await job.inputs(run);
      body.end();
    } catch (error) {
      job.onFailure(error);
      if (!signal.aborted) engine.log.debug(`${job.name} failed`, { error: messageOf(error) });
      body.destroy(error instanceof Error ? error : undefined);
    }
  });
  return body;
}

/** Docker's JSON of a file's stat, base64. */
function statHeader(stat: TreeStat): Record<string, string> {
  const json = JSON.stringify({
    name: stat.name,
    size: stat.size,
    mode: goFileMode(stat.mode),
    mtime: formatTimeNs(BigInt(stat.mtimeNs)),
    linkTarget: stat.linkTarget,
  });
  return { [STAT_HEADER]: Buffer.from(json).toString('base64') };
}

const GO_TYPES: ReadonlyMap<number, number> = new Map([
  [S.IFDIR, 2 ** 31],
  [S.IFLNK, 2 ** 27],
  [S.IFBLK, 2 ** 26],
  [S.IFCHR, 2 ** 26 + 2 ** 21],
  [S.IFIFO, 2 ** 25],
  [S.IFSOCK, 2 ** 24],
]);

/** st_mode as Go's `os.FileMode` numbers it. */
function goFileMode(mode: number): number {
  const setuid = (mode & 0o4000) === 0 ? 0 : 2 ** 23;
  const setgid = (mode & 0o2000) === 0 ? 0 : 2 ** 22;
  const sticky = (mode & 0o1000) === 0 ? 0 : 2 ** 20;
  return (GO_TYPES.get(mode & S.IFMT) ?? 0) + setuid + setgid + sticky + (mode & 0o777);
}

/** Extracts a tar into a folder of the container. @throws notFound, invalidArgument, forbidden */
export async function containerArchivePut(
  engine: Engine,
  args: ByPath<{ readonly noOverwriteDirNonDir: boolean; readonly copyUIDGID: boolean }> & {
    readonly body: Readable;
  },
  call: Call,
): Promise<void> {
  const container = engine.containers.get(args.params.id);
  const { path, noOverwriteDirNonDir, copyUIDGID } = args.query;
  checkPath(path);
  try {
    await withView(engine, container, async (view) => {
      const input: TreeUnpackInput = {
        view,
        path,
        readOnlyRoot: container.document.hostConfig.ReadonlyRootfs,
        noOverwriteDirNonDir,
        owner: copyUIDGID ? ownerOf(engine, container) : undefined,
      };
      await using job = await engine.workers.start('tree-unpack', input, { signal: call.signal });
      const [sent, result] = await Promise.allSettled([
        feedJob(args.body, job, call.signal),
        job.result,
      ]);
      // What the job says of the archive counts more than that the pipe to it broke.
      if (result.status === 'rejected') throw faultOfBody(result.reason);
      if (sent.status === 'rejected' && !args.body.readableEnded) throw sent.reason;
    });
  } catch (error) {
    throw inDockersWords(error, args.params.id);
  }
  containerEvent(engine, container, 'extract-to-dir', { path });
}

/** The container's user, when it names one: `copyUIDGID` gives the files to it. */
function ownerOf(engine: Engine, container: Container): TreeUnpackInput['owner'] {
  const { User } = container.document.config;
  if (User === '') return undefined;
  const rootfs = engine.layers.mountPointOf(container.id);
  const read = (file: string): string =>
    readInRoot(engine.sys, rootfs, file, LIMITS.accountFileBytesMax);
  const files = { passwd: read('/etc/passwd'), group: read('/etc/group') };
  const { uid, gid } = lookUpUser(User, [], files);
  return { uid, gid };
}
