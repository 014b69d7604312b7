import path from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { DiffId } from '../../base/digest.ts';
import { invalidArgument } from '../../base/errors.ts';
import {
  familiarReference,
  parseReference,
  type Reference,
  repositoryOf,
  withDefaultTag,
} from '../../base/reference.ts';
import { type ImagePlatform, parsePlatform } from '../../policy/platform.ts';
import { decodeJson } from '../../spec/decode.ts';
import { platformWish } from '../../spec/docker/image.ts';
import type { ProgressMessage } from '../../spec/docker/progress.ts';
import type {
  LoadedImage,
  LoadInput,
  LoadQuestion,
  LoadResult,
} from '../../worker/archive-protocol.ts';
import type { JobName, RunningJob } from '../../worker/job.ts';
import { faultOfBody, type ProgressCall } from '../call.ts';
import { answerDelta } from '../deltas/base.ts';
import type { Engine } from '../engine.ts';
import { commitImage } from './commit-image.ts';
import { imageEvent } from './events.ts';
import { hostOf } from './pull.ts';
import { writtenLine } from './written.ts';

/** What of the engine loading and importing work with. */
export type LoadEngine = Pick<
  Engine,
  'config' | 'execRoot' | 'clock' | 'log' | 'workers' | 'layers' | 'store' | 'events' | 'database'
>;

/**
 * `POST /images/load`: makes the images of an archive (Docker's or an OCI layout, plain or
 * compressed) appear, with their tags. Each image appears as a whole; those before a failing one
 * stay.
 *
 * @throws invalidArgument for what is no archive of images, or a damaged one
 */
export async function imageLoad(
  engine: LoadEngine,
  args: {
    readonly query: { readonly quiet: boolean; readonly platform: readonly string[] };
    readonly body: Readable;
  },
  call: ProgressCall,
): Promise<void> {
  const { layers } = engine;
  const platform = wantedPlatform(args.query.platform);
  await using staging = layers.stage();
  const known = layers.knownDigests();
  using _held = layers.hold([...new Set(Object.values(known))]);
  const input: LoadInput = {
    staging: staging.directory,
    known,
    platform,
    quiet: args.query.quiet,
  };
  using held = new DisposableStack();
  const onQuestion = async (asked: unknown): Promise<unknown> => {
    const question = asked as LoadQuestion;
    if (question.ask === 'layer') return path.dirname(layers.directoryOf(question.diffId));
    return answerDelta(engine, question, (diffIds) => void held.use(layers.hold(diffIds)));
  };
  const { body } = args;
  const result = (await runWithBody(engine, 'load', input, body, call, onQuestion)) as LoadResult;
  for (const image of result.images) await take(engine, image, result, call);
  if (args.query.quiet) return;
  const diffIds = result.images.flatMap((image) => image.diffIds);
  call.progress({ stream: `${writtenLine(engine, diffIds, result.staged)}\n` });
}

function wantedPlatform(given: readonly string[]): ImagePlatform {
  const [first] = given;
  if (first === undefined || first === '') return hostOf();
  if (given.length > 1) throw invalidArgument('specify one platform at the most');
  if (!first.startsWith('{')) return parsePlatform(first, hostOf());
  return decodeJson(platformWish, first);
}

/**
 * Runs a job that reads the request's body from its stdin. What the job says about it counts more
 * than that the pipe to it broke.
 */
export async function runWithBody(
  engine: Pick<Engine, 'workers'>,
  name: JobName,
  input: unknown,
  body: Readable | undefined,
  call: ProgressCall,
  onQuestion?: (question: unknown) => Promise<unknown>,
): Promise<unknown> {
  const onReport = (message: unknown): void => call.progress(message as ProgressMessage);
  await using job = await engine.workers.start(name, input, {
    ...{ signal: call.signal, onReport },
    ...(onQuestion === undefined ? {} : { onQuestion }),
  });
  if (body === undefined) {
    job.stdin.end();
    return await job.result;
  }
  const [sent, result] = await Promise.allSettled([send(body, job, call.signal), job.result]);
  if (result.status === 'rejected') throw faultOfBody(result.reason);
  if (sent.status === 'rejected' && !body.readableEnded) throw sent.reason;
  return result.value;
}

async function send(body: Readable, job: RunningJob, signal: AbortSignal): Promise<void> {
  await pipeline(body, job.stdin, { signal });
}

async function take(
  engine: LoadEngine,
  loaded: LoadedImage,
  { staged }: LoadResult,
  call: ProgressCall,
): Promise<void> {
  const { store } = engine;
  const references = loaded.tags.map(tagReference);
  const wanted = new Set<DiffId>(loaded.diffIds);
  const config = Buffer.from(loaded.configBase64, 'base64');
  const before = references.map((reference) =>
    store.images.findTag(repositoryOf(reference), reference.tag ?? ''),
  );
  const id = await commitImage(engine, {
    staged: staged.filter(({ diffId }) => wanted.has(diffId)),
    config,
    diffIds: loaded.diffIds,
    tags: references.map((reference) => ({
      repository: repositoryOf(reference),
      tag: reference.tag ?? '',
    })),
    repoDigests: [],
    manifests: [],
    cause: 'load',
  });
  imageEvent(engine, 'load', { id, config }, id);
  if (references.length === 0) call.progress({ stream: `Loaded image ID: ${id}\n` });
  for (const [i, reference] of references.entries()) {
    const familiar = familiarReference(reference);
    const old = before[i];
    if (old !== undefined && old !== id) {
      call.progress({
        stream: `The image ${familiar} already exists, renaming the old one with ID ${old} to empty string\n`,
      });
    }
    imageEvent(engine, 'tag', { id, config }, familiar);
    call.progress({ stream: `Loaded image: ${familiar}\n` });
  }
}

function tagReference(text: string): Reference {
  const reference = withDefaultTag(parseReference(text));
  if (reference.tag === undefined) throw invalidArgument(`invalid tag ${JSON.stringify(text)}`);
  return { ...reference, digest: undefined };
}
