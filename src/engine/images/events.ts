import { familiarReference, familiarRepository, type Reference } from '../../base/reference.ts';
import { decodeJson, map, string, struct, withDefault } from '../../spec/decode.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { Engine } from '../engine.ts';

const brief = struct('Image', {
  created: string,
  config: withDefault(struct('ImageConfig', { Labels: map(string) }), () => ({ Labels: {} })),
});

/** What lists and events need of an image's config: much cheaper than all of it. */
export function imageBrief(image: Pick<ImageRecord, 'config'>): {
  /** RFC 3339; '' when the image does not say. */
  readonly created: string;
  readonly labels: Readonly<Record<string, string>>;
} {
  const { created, config } = decodeJson(brief, Buffer.from(image.config).toString());
  return { created, labels: config.Labels };
}

/** Tells of something that happened to an image, with its labels and the name it goes by. */
export function imageEvent(
  engine: Pick<Engine, 'events'>,
  action: string,
  image: Pick<ImageRecord, 'id' | 'config'>,
  name: string,
): void {
  engine.events.publish({
    type: 'image',
    action,
    id: image.id,
    attributes: { ...imageBrief(image).labels, ...(name === '' ? {} : { name }) },
  });
}

/** Tells that an image came from, or went to, a registry: these events go by its name there. */
export function transferEvent(
  engine: Pick<Engine, 'events'>,
  action: 'pull' | 'push',
  image: Pick<ImageRecord, 'config'>,
  reference: Reference,
): void {
  engine.events.publish({
    type: 'image',
    action,
    id: familiarReference(reference),
    attributes: { ...imageBrief(image).labels, name: familiarRepository(reference) },
  });
}
