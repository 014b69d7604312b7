import path from 'node:path';
import {
  type DiffId,
  type ImageId,
  isSha256,
  parseDigest,
  parseImageId,
  shortId,
} from '../../base/digest.ts';
import { errnoOf, isEngineError, messageOf, notFound } from '../../base/errors.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { BasisLayer } from '../../store/layers/layer-basis.ts';
import { findInOtherRoot } from '../../store/other-root.ts';
import type { DeltaAnswer, DeltaQuestion } from '../../worker/delta-protocol.ts';
import type { BasesAnswer, LocalBase } from '../../worker/pull-protocol.ts';
import type { Engine } from '../engine.ts';
import { familiarName, namesOf } from '../images/names.ts';

/** What of the engine finding a base works with. */
export type DeltaBaseEngine = Pick<Engine, 'config' | 'execRoot' | 'layers' | 'store'>;
type Context = DeltaBaseEngine;
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
  if (image !== undefined) {
    hold(image.diffIds);
    return { isHere: false, basis: layerFolders(engine, image.diffIds) };
  }
  return { isHere: false, basis: basisElsewhere(engine, base) };
}

/** The base in the data root that `--delta-data-root` names. */
function basisElsewhere({ config, execRoot }: Context, base: ImageId): readonly BasisLayer[] {
  const root = config().deltaDataRoot;
  const failed = `loading delta base image "${base}": failed to get digest ${base}`;
  if (root === '') throw notFound(`${failed}: No such image: pull the base first`);
  let basis: readonly BasisLayer[] | undefined;
  try {
    basis = findInOtherRoot(root, [base], execRoot.root).get(base);
  } catch (cause) {
    throw notFound(`${failed}: No such image, and ${messageOf(cause)}`, { cause });
  }
  if (basis === undefined) throw notFound(`${failed}: No such image, neither here nor in ${root}`);
  return basis;
}

/**
 * Images that deltas may start from, here or in the data root that `--delta-data-root` names. One
 * is not there when it is in neither, or not whole. `hold` is told the layers that must stay. That
 * the other data root cannot be read is no reason to leave those that are here.
 */
export function localBases(engine: Context, ids: readonly string[], hold: Hold): BasesAnswer {
  const imageIds = ids.map((id) => (isSha256(id) ? parseImageId(id) : undefined));
  const found = new Map<ImageId, LocalBase>();
  const missing = new Set<ImageId>();
  for (const id of new Set(imageIds)) {
    const base = id && baseHere(engine, id, hold);
    if (base !== undefined) found.set(parseImageId(base.id), base);
    else if (id !== undefined) missing.add(id);
  }
  let problem = '';
  try {
    for (const base of basesElsewhere(engine, missing)) found.set(parseImageId(base.id), base);
  } catch (error) {
    if (!isEngineError(error) && errnoOf(error) === undefined) throw error;
    problem = messageOf(error);
  }
  const bases = imageIds.map((id) => (id && found.get(id)) ?? null);
  return { bases, problem };
}

function baseHere(engine: Context, imageId: ImageId, hold: Hold): LocalBase | undefined {
  const image = wholeImage(engine, imageId);
  if (image === undefined) return undefined;
  hold(image.diffIds);
  const [name] = namesOf(engine, image.id);
  const shown = name === undefined ? shortId(image.id) : familiarName(name);
  return baseOf(imageId, shown, layerFolders(engine, image.diffIds));
}

/** @throws unavailable or dataLoss when the other data root cannot be read */
function basesElsewhere({ config, execRoot }: Context, ids: ReadonlySet<ImageId>): LocalBase[] {
  const { deltaDataRoot } = config();
  if (deltaDataRoot === '' || ids.size === 0) return [];
  const found = findInOtherRoot(deltaDataRoot, ids, execRoot.root);
  return [...found].map(([id, basis]) => baseOf(id, `${shortId(id)} in ${deltaDataRoot}`, basis));
}

function baseOf(id: ImageId, name: string, layers: readonly BasisLayer[]): LocalBase {
  return {
    id: parseDigest(id),
    name,
    diffIds: layers.map(({ diffId }) => diffId),
    directories: layers.map(({ directory }) => directory),
  };
}

function wholeImage(engine: Context, id: DeltaQuestion['base']): ImageRecord | undefined {
  const image = engine.store.images.find(id);
  const isWhole = image?.diffIds.every((diffId) => engine.layers.find(diffId) !== undefined);
  return isWhole === true ? image : undefined;
}
