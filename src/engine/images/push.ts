import path from 'node:path';
import type { ImageId } from '../../base/digest.ts';
import { invalidArgument, notFound } from '../../base/errors.ts';
import {
  familiarReference,
  isTag,
  parseReference,
  type Reference,
  repositoryOf,
} from '../../base/reference.ts';
import type { AuthConfig } from '../../spec/docker/auth.ts';
import type { PlatformWish } from '../../spec/docker/image.ts';
import type { ProgressMessage } from '../../spec/docker/progress.ts';
import { isImageManifest } from '../../spec/oci/image.ts';
import type { PulledManifest, PushInput, PushResult } from '../../worker/pull-protocol.ts';
import type { ProgressCall } from '../call.ts';
import { transferEvent } from './events.ts';
import type { PullEngine } from './pull.ts';
import { registryAccess } from './registry-access.ts';

/** Arguments of `POST /images/{name}/push`. */
export type ImagePushArgs = {
  readonly params: { readonly name: string };
  readonly query: { readonly tag: string; readonly platform: PlatformWish | null };
  readonly headers: { readonly registryAuth: AuthConfig | undefined };
};

/**
 * Pushes a tag, or all tags of a repository when none is given. `platform` changes nothing: an
 * image here is of one platform.
 *
 * @throws invalidArgument for a bad name; notFound when there is no such image; the registry's error
 */
export async function imagePush(
  engine: PullEngine,
  args: ImagePushArgs,
  call: ProgressCall,
): Promise<void> {
  const reference = referenceOf(args.params.name, args.query.tag);
  const repository = repositoryOf(reference);
  call.progress({ status: `The push refers to repository [${repository}]` });
  const { images } = engine.store;
  const tags = images
    .tagsIn(repository)
    .filter(({ tag }) => reference.tag === undefined || tag === reference.tag);
  if (tags.length === 0) {
    throw notFound(`An image does not exist locally with the tag: ${familiarReference(reference)}`);
  }
  const byImage = new Map<ImageId, string[]>();
  for (const { imageId, tag } of tags) {
    byImage.set(imageId, [...(byImage.get(imageId) ?? []), tag]);
  }
  for (const [imageId, ofImage] of byImage) {
    await pushImage(engine, { reference, imageId, tags: ofImage, args }, call);
  }
}

function referenceOf(name: string, tag: string): Reference {
  const reference = parseReference(name);
  if (reference.digest !== undefined) throw invalidArgument('cannot push a digest reference');
  if (tag === '') return reference;
  if (!isTag(tag)) throw invalidArgument('invalid tag format');
  return { ...reference, tag };
}

async function pushImage(
  engine: PullEngine,
  what: { reference: Reference; imageId: ImageId; tags: readonly string[]; args: ImagePushArgs },
  call: ProgressCall,
): Promise<void> {
  const { reference, imageId, tags, args } = what;
  const { layers, store } = engine;
  const image = store.images.get(imageId);
  using _held = layers.hold(image.diffIds);
  const { maxConcurrentUploads, maxDownloadAttempts, maxDownloadRate } = engine.config();
  const input: PushInput = {
    access: registryAccess(engine, reference.domain, args.headers.registryAuth),
    path: reference.path,
    tags,
    attempts: maxDownloadAttempts,
    concurrency: maxConcurrentUploads,
    bytesPerSecMax: maxDownloadRate,
    imageId: image.id as unknown as PushInput['imageId'],
    configBase64: Buffer.from(image.config).toString('base64'),
    layers: image.diffIds.map((diffId) => ({
      diffId,
      directory: path.dirname(layers.directoryOf(diffId)),
      tarBytes: layers.find(diffId)?.tarBytes ?? 0,
      blobs: layers.blobsOf(diffId),
    })),
    origins: originsOf(engine, imageId, repositoryOf(reference)),
    manifests: manifestsOf(engine, imageId),
  };
  await using job = await engine.workers.start('push', input, {
    signal: call.signal,
    onReport: (message) => call.progress(message as ProgressMessage),
  });
  const result = (await job.result) as PushResult;
  await remember(engine, reference, imageId, result);
  for (const tag of tags) {
    transferEvent(engine, 'push', image, { ...reference, tag });
  }
}

/** Repositories that have the image, but for the target. */
function originsOf({ store }: PullEngine, imageId: ImageId, target: string): string[] {
  const all = store.images.repoDigestsOf(imageId).map(({ repository }) => repository);
  return [...new Set(all)].filter((each) => each !== target);
}

/** The manifests of single images that an image came with. */
function manifestsOf({ store }: PullEngine, imageId: ImageId): PulledManifest[] {
  return store.images
    .manifestsOf(imageId)
    .filter(({ mediaType }) => isImageManifest(mediaType))
    .map(({ digest, mediaType, content }) => ({
      digest,
      mediaType,
      base64: Buffer.from(content).toString('base64'),
    }));
}

/** Keeps what the registry has now: the next push looks for it there, and the image has its digest. */
async function remember(
  { layers, store }: PullEngine,
  reference: Reference,
  imageId: ImageId,
  { manifest, blobs }: PushResult,
): Promise<void> {
  const repository = repositoryOf(reference);
  const isKnown = store.images.findRepoDigest(repository, manifest.digest) === imageId;
  const fresh = blobs.filter(
    (blob) =>
      !layers
        .blobsOf(blob.diffId)
        .some((each) => each.digest === blob.digest && each.repository === repository),
  );
  if (isKnown && fresh.length === 0) return;
  const known = fresh.map(({ diffId, ...blob }) => ({
    directory: '',
    diffId,
    tarBytes: 0,
    diskBytes: 0,
    writtenBytes: 0,
    sharedBytes: 0,
    name: undefined,
    blob,
  }));
  await layers.commit(known, () => {
    store.images.setRepoDigestInTransaction({ repository, digest: manifest.digest, imageId });
    store.images.addMadeManifestInTransaction({
      digest: manifest.digest,
      mediaType: manifest.mediaType,
      content: Buffer.from(manifest.base64, 'base64'),
      imageId,
    });
  });
}
