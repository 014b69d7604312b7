import path from 'node:path';
import type { DiffId } from '../../base/digest.ts';
import { notFound } from '../../base/errors.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { BasisLayer } from '../../store/layers/layer-basis.ts';
import type { DeltaAnswer, DeltaQuestion } from '../../worker/delta-protocol.ts';
import type { Engine } from '../engine.ts';

type Context = Pick<Engine, 'layers' | 'store'>;
type Hold = (diffIds: readonly DiffId[]) => void;

/** Where the layers of an image that is here lie, bottom first. @throws notFound */
export function layerFolders(
  { layers }: Pick<Engine, 'layers'>,
  diffIds: readonly DiffId[],
): (BasisLayer & { readonly tarBytes: number; readonly diskBytes: number })[] {
  return diffIds.map((diffId) => {
    const directory = path.dirname(layers.directoryOf(diffId));
    const { tarBytes = 0, diskBytes = 0 } = layers.find(diffId) ?? {};
    return { diffId, directory, tarBytes, diskBytes };
  });
}

/**
 * What is here of a delta's target and base. `hold` is told the layers that must stay until the
 * delta is applied.
 *
 * @throws notFound with balenaEngine's text when the base is not here
 */
export function answerDelta(
  engine: Context,
  { base, target }: DeltaQuestion,
  hold: Hold,
): DeltaAnswer {
  const known = wholeImage(engine, target);
  if (known !== undefined) {
    hold(known.diffIds);
    return { isHere: true, basis: [] };
  }
  const image = wholeImage(engine, base);
  if (image === undefined) {
    throw notFound(
      `loading delta base image "${base}": failed to get digest ${base}: No such image: pull the base first`,
    );
  }
  hold(image.diffIds);
  return { isHere: false, basis: layerFolders(engine, image.diffIds) };
}

function wholeImage(engine: Context, id: DeltaQuestion['base']): ImageRecord | undefined {
  const image = engine.store.images.find(id);
  const isWhole = image?.diffIds.every((diffId) => engine.layers.find(diffId) !== undefined);
  return isWhole === true ? image : undefined;
}
