import { decodeJson } from '../../spec/decode.ts';
import type {
  ImageDescriptor,
  ImageManifestSummary,
  ImagePlatform,
} from '../../spec/docker/image.ts';
import { imageConfig, type Manifest, MEDIA_TYPE, manifest } from '../../spec/oci/image.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { Engine } from '../engine.ts';

/** The manifests that an image was pulled by, as newer clients look at them. */

type Context = Pick<Engine, 'store' | 'containers'>;

const SINGLE = new Set<string>([MEDIA_TYPE.dockerManifest, MEDIA_TYPE.ociManifest]);

/** The image's own manifest, if some registry gave it one. */
export function imageDescriptor(
  engine: Pick<Engine, 'store'>,
  image: ImageRecord,
): ImageDescriptor | undefined {
  return find(engine, image)?.descriptor;
}

/** The one platform that is here, from v1.47; empty for an image that never had a manifest. */
export function manifestSummaries(engine: Context, image: ImageRecord): ImageManifestSummary[] {
  const found = find(engine, image);
  if (found === undefined) return [];
  const { descriptor, manifest: content } = found;
  const contentBytes =
    descriptor.size +
    content.config.size +
    content.layers.reduce((sum, each) => sum + each.size, 0);
  return [
    {
      ID: descriptor.digest,
      Descriptor: descriptor,
      Available: true,
      Size: { Content: contentBytes, Total: contentBytes + image.sizeBytes },
      Kind: 'image',
      ImageData: {
        Platform: platformOf(image),
        Containers: engine.containers.usersOfImage(image.id).map((each) => each.id),
        Size: { Unpacked: image.sizeBytes },
      },
    },
  ];
}

function find(
  engine: Pick<Engine, 'store'>,
  image: ImageRecord,
): { descriptor: ImageDescriptor; manifest: Manifest } | undefined {
  const { images } = engine.store;
  for (const record of images.manifestsOf(image.id)) {
    if (!SINGLE.has(record.mediaType)) continue;
    const parsed = decodeJson(manifest, Buffer.from(record.content).toString());
    if (parsed.config.digest !== image.id) continue;
    const { digest, mediaType } = record;
    const descriptor = { mediaType, digest, size: record.content.length };
    return { descriptor: { ...descriptor, platform: platformOf(image) }, manifest: parsed };
  }
  return undefined;
}

/** What the image's config says it runs on. */
export function platformOf(image: Pick<ImageRecord, 'config'>): ImagePlatform {
  const config = decodeJson(imageConfig, Buffer.from(image.config).toString());
  return {
    architecture: config.architecture,
    os: config.os === '' ? 'linux' : config.os,
    ...(config['os.version'] === '' ? {} : { 'os.version': config['os.version'] }),
    ...(config.variant === '' ? {} : { variant: config.variant }),
  };
}
