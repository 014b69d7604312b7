import { invalidArgument } from '../../base/errors.ts';
import type { AuthConfig } from '../../spec/docker/auth.ts';
import type { ProgressMessage } from '../../spec/docker/progress.ts';
import { isImageManifest } from '../../spec/oci/image.ts';
import type { DeltaPublishInput, StoredImage } from '../../worker/deltas/publish-protocol.ts';
import type { ProgressCall } from '../call.ts';
import type { Engine } from '../engine.ts';
import { registryAccess } from '../images/registry-access.ts';
import { getImage, type ResolvedImage } from '../images/resolve.ts';
import { layerFolders } from './base.ts';

/** Arguments of `POST /deltas/publish`. */
export type DeltaPublishArgs = {
  readonly query: {
    /** The image that deltas lead to, with its repository. */
    readonly target: string;
    /** The images that they start from. */
    readonly base: readonly string[];
  };
  readonly headers: { readonly registryAuth: AuthConfig | undefined };
};

/** What of the engine publishing works with. */
export type PublishEngine = Pick<Engine, 'config' | 'workers' | 'layers' | 'store'>;

/**
 * Makes deltas from images that are here to one that is here too, and sends them to the registry
 * that has it, where a pull of it finds them.
 *
 * @throws notFound for an image that is not here, or a target that the registry does not have;
 * invalidArgument for a target without a repository; the registry's error
 */
export async function deltaPublish(
  engine: PublishEngine,
  { query, headers }: DeltaPublishArgs,
  call: ProgressCall,
): Promise<void> {
  const { layers, store, workers } = engine;
  if (query.base.length === 0) throw invalidArgument('a delta needs a base');
  const target = getImage(engine, query.target);
  const reference = target.reference;
  if (reference === undefined) {
    throw invalidArgument(
      `cannot push a delta to ${query.target}: name the image by its repository and tag`,
    );
  }
  const bases = query.base.map((name) => getImage(engine, name));
  for (const { image } of bases) {
    if (image.id === target.image.id) {
      throw invalidArgument(`${query.target} is base and target at once: there is no delta`);
    }
  }
  using _held = layers.hold([target, ...bases].flatMap(({ image }) => image.diffIds));
  await using staging = layers.stage();
  const input: DeltaPublishInput = {
    access: registryAccess(engine, reference.domain, headers.registryAuth),
    path: reference.path,
    attempts: engine.config().maxDownloadAttempts,
    staging: staging.directory,
    target: storedImage(engine, target, query.target),
    manifests: store.images
      .manifestsOf(target.image.id)
      .filter(({ mediaType }) => isImageManifest(mediaType))
      .map(({ digest }) => digest),
    bases: bases.map((base, i) => storedImage(engine, base, query.base[i] ?? '')),
  };
  await using job = await workers.start('delta-publish', input, {
    signal: call.signal,
    onReport: (message) => call.progress(message as ProgressMessage),
  });
  await job.result;
}

function storedImage(engine: PublishEngine, { image }: ResolvedImage, name: string): StoredImage {
  return {
    id: image.id,
    name,
    configBase64: Buffer.from(image.config).toString('base64'),
    layers: layerFolders(engine, image.diffIds).map(({ diffId, directory }) => ({
      diffId,
      directory,
    })),
  };
}
