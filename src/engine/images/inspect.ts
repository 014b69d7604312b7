import { formatTimeMs, ZERO_TIME } from '../../base/clock.ts';
import { decodeJson } from '../../spec/decode.ts';
import { containerConfigView, imageConfigView } from '../../spec/docker/config-view.ts';
import { type ContainerConfig, containerConfig } from '../../spec/docker/container.ts';
import type { GraphDriver, ImageInspect, PlatformWish } from '../../spec/docker/image.ts';
import { type ImageConfig, imageConfig } from '../../spec/oci/image.ts';
import type { ImageRecord } from '../../store/images.ts';
import { atLeast, type Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { imageDescriptor, manifestSummaries } from './manifests.ts';
import { familiarName, isTagName, namesOf } from './names.ts';
import { checkPlatform } from './platform.ts';
import { getImage } from './resolve.ts';

type Context = Pick<Engine, 'store' | 'layers' | 'containers'>;

export type ImageInspectArgs = {
  readonly params: { readonly name: string };
  readonly query: { readonly manifests: boolean; readonly platform: PlatformWish | null };
  readonly headers: { readonly userAgent: string };
};

/** @throws notFound; invalidArgument for a name that is none */
export async function imageInspect(
  engine: Context,
  args: ImageInspectArgs,
  call: Call,
): Promise<ImageInspect> {
  const { image } = getImage(engine, args.params.name);
  checkPlatform(image, args.params.name, args.query.platform);
  const config = decodeJson(imageConfig, Buffer.from(image.config).toString());
  const names = namesOf(engine, image.id);
  return {
    Id: image.id,
    RepoTags: names.filter(isTagName).map(familiarName),
    RepoDigests: names.filter((name) => !isTagName(name)).map(familiarName),
    Parent: engine.store.images.findParent(image.id) ?? '',
    Comment: config.comment,
    ...(config.created === '' ? {} : { Created: config.created }),
    ...legacyFields(config, args.headers.userAgent, call),
    DockerVersion: config.docker_version,
    Author: config.author,
    Config: (atLeast(call, 1, 50) ? imageConfigView : containerConfigView)(config.config),
    Architecture: config.architecture,
    ...(config.variant === '' ? {} : { Variant: config.variant }),
    Os: config.os === '' ? 'linux' : config.os,
    ...(config['os.version'] === '' ? {} : { OsVersion: config['os.version'] }),
    Size: image.sizeBytes,
    ...(atLeast(call, 1, 44) ? {} : { VirtualSize: image.sizeBytes }),
    GraphDriver: graphDriverOf(engine, image),
    RootFS: {
      Type: 'layers',
      ...(image.diffIds.length === 0 ? {} : { Layers: image.diffIds }),
    },
    Metadata: {
      LastTagTime: image.lastTaggedMs === 0 ? ZERO_TIME : formatTimeMs(image.lastTaggedMs),
    },
    ...manifestFields(engine, image, args, call),
  };
}

/** docker-compose 1 speaks the newest version, and cannot do without what v1.45 took away. */
const NEEDS_LEGACY = /\bdocker-compose\/1\./;

function legacyFields(config: ImageConfig, userAgent: string, call: Call): Partial<ImageInspect> {
  if (atLeast(call, 1, 45) && !NEEDS_LEGACY.test(userAgent)) return {};
  const made = config.container_config ?? containerConfig.zero();
  return {
    Container: config.container,
    ContainerConfig: containerConfigView(made) as ContainerConfig,
  };
}

function manifestFields(
  engine: Context,
  image: ImageRecord,
  args: ImageInspectArgs,
  call: Call,
): Partial<ImageInspect> {
  if (!atLeast(call, 1, 48)) return {};
  const Descriptor = imageDescriptor(engine, image);
  return {
    ...(Descriptor === undefined ? {} : { Descriptor }),
    ...(args.query.manifests ? { Manifests: manifestSummaries(engine, image) } : {}),
  };
}

/** Where the layers lie; the folders that a mount would need are there only for containers. */
function graphDriverOf(engine: Context, image: ImageRecord): GraphDriver {
  const { layers } = engine;
  const [top, ...lower] = image.diffIds.map((diffId) => layers.directoryOf(diffId)).reverse();
  const data: Record<string, string> = {};
  if (lower.length > 0) data['LowerDir'] = lower.join(':');
  if (top !== undefined) data['UpperDir'] = top;
  return { Data: Object.keys(data).length === 0 ? null : data, Name: layers.driver };
}
