import { parseTimeNs } from '../../base/clock.ts';
import type { ImageId } from '../../base/digest.ts';
import { decodeJson } from '../../spec/decode.ts';
import type { ImageHistoryItem, PlatformWish } from '../../spec/docker/image.ts';
import { imageConfig } from '../../spec/oci/image.ts';
import type { Engine } from '../engine.ts';
import { familiarName, isTagName, namesOf } from './names.ts';
import { checkPlatform } from './platform.ts';
import { getImage } from './resolve.ts';

/**
 * The steps that made an image, newest first. The newest has an ID and tags, and so have those
 * before it whose images are here because they were built here.
 * @throws notFound
 */
export async function imageHistory(
  engine: Pick<Engine, 'store' | 'layers'>,
  args: {
    readonly params: { readonly name: string };
    readonly query: { readonly platform: PlatformWish | null };
  },
): Promise<ImageHistoryItem[]> {
  const { image } = getImage(engine, args.params.name);
  checkPlatform(image, args.params.name, args.query.platform);
  const { history } = decodeJson(imageConfig, Buffer.from(image.config).toString());
  const layers = [...image.diffIds];
  const steps = history.map((step): ImageHistoryItem => {
    const layer = step.empty_layer === true ? undefined : layers.shift();
    return {
      Comment: step.comment,
      Created: Number((parseTimeNs(step.created) ?? 0n) / 1_000_000_000n),
      CreatedBy: step.created_by,
      Id: '<missing>',
      Size: layer === undefined ? 0 : (engine.layers.find(layer)?.diskBytes ?? 0),
      Tags: null,
    };
  });
  let id: ImageId | undefined = image.id;
  return steps.reverse().map((step) => {
    if (id === undefined) return step;
    const tags = namesOf(engine, id).filter(isTagName).map(familiarName);
    const named = { ...step, Id: id, Tags: tags.length === 0 ? null : tags };
    id = engine.store.images.findParent(id);
    return named;
  });
}
