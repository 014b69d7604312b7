import path from 'node:path';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { messageOf } from '../../base/errors.ts';
import {
  familiarRepository,
  parseReference,
  type Reference,
  repositoryOf,
} from '../../base/reference.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { SaveInput } from '../../worker/archive-protocol.ts';
import type { ByteStream, Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { imageEvent } from './events.ts';
import { getImage } from './resolve.ts';

/** What of the engine saving works with. */
export type SaveEngine = Pick<Engine, 'workers' | 'layers' | 'store' | 'log' | 'tasks' | 'events'>;

type Saved = {
  readonly image: ImageRecord;
  /** Names that go into the archive, in the order in which they were asked for. */
  readonly tags: Map<string, { full: string; familiar: string; tag: string }>;
};

/**
 * `GET /images/get?names=…`: images as one archive that Docker and OCI tools read. A name with a
 * tag brings this tag, a name without one all tags of the repository, an ID none.
 *
 * @throws notFound for the first name that is none, before anything is sent
 */
export async function imageSave(
  engine: SaveEngine,
  args: { readonly query: { readonly names: readonly string[] } },
  call: Call,
): Promise<ByteStream> {
  const saved = new Map<string, Saved>();
  for (const name of args.query.names) add(engine, saved, name);
  return await archive(engine, [...saved.values()], call);
}

/** `GET /images/NAME/get` */
export async function imageSaveOne(
  engine: SaveEngine,
  args: { readonly params: { readonly name: string } },
  call: Call,
): Promise<ByteStream> {
  return await imageSave(engine, { query: { names: [args.params.name] } }, call);
}

function add(engine: SaveEngine, saved: Map<string, Saved>, name: string): void {
  const { images } = engine.store;
  const whole = allTags(engine, name);
  if (whole !== undefined) {
    for (const { repository, tag, imageId } of whole) {
      remember(saved, images.get(imageId), parseReference(`${repository}:${tag}`));
    }
    return;
  }
  const { image, reference } = getImage(engine, name);
  remember(saved, image, reference);
}

/** All tags of a repository, when that is what a name means. */
function allTags(engine: SaveEngine, name: string) {
  if (/^(?:sha256:)?[0-9a-f]{64}$/.test(name)) return undefined;
  const reference = parseReference(name);
  if (reference.tag !== undefined || reference.digest !== undefined) return undefined;
  const tags = engine.store.images.tagsIn(repositoryOf(reference));
  return tags.length === 0 ? undefined : tags;
}

function remember(saved: Map<string, Saved>, image: ImageRecord, reference?: Reference): void {
  const entry = saved.get(image.id) ?? { image, tags: new Map() };
  saved.set(image.id, entry);
  if (reference?.tag === undefined) return;
  const full = `${repositoryOf(reference)}:${reference.tag}`;
  entry.tags.set(full, { full, familiar: familiarRepository(reference), tag: reference.tag });
}

async function archive(
  engine: SaveEngine,
  saved: readonly Saved[],
  call: Call,
): Promise<ByteStream> {
  const { layers } = engine;
  const held = layers.hold(saved.flatMap(({ image }) => image.diffIds));
  const input: SaveInput = {
    images: saved.map(({ image, tags }) => ({
      configBase64: Buffer.from(image.config).toString('base64'),
      layers: image.diffIds.map((diffId) => ({
        diffId,
        directory: path.dirname(layers.directoryOf(diffId)),
        tarBytes: layers.find(diffId)?.tarBytes ?? 0,
      })),
      tags: [...tags.values()],
    })),
  };
  const body = new PassThrough();
  const stop = new AbortController();
  const signal = AbortSignal.any([call.signal, stop.signal]);
  body.once('close', () => stop.abort());
  engine.tasks.spawn('save', async () => {
    using _held = held;
    try {
      await using job = await engine.workers.start('save', input, { signal });
      job.stdin.end();
      const [sent, result] = await Promise.allSettled([
        pipeline(job.stdout, body, { end: false, signal }),
        job.result,
      ]);
      if (result.status === 'rejected') throw result.reason;
      if (sent.status === 'rejected') throw sent.reason;
      for (const { image } of saved) imageEvent(engine, 'save', image, image.id);
      body.end();
    } catch (error) {
      // The client sees the archive end in the middle; why is for the log.
      if (!signal.aborted) engine.log.error('cannot save images', { error: messageOf(error) });
      body.destroy(error instanceof Error ? error : undefined);
    }
  });
  return { contentType: 'application/x-tar', body };
}
