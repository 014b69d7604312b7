import { hash } from 'node:crypto';
import path from 'node:path';
import { type DiffId, type ImageId, parseImageId, shortId } from '../base/digest.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { type BalenaDelta, balenaDeltaOf, checkCommonLayers } from '../policy/balena-delta.ts';
import { decodeJson } from '../spec/decode.ts';
import { imageConfig } from '../spec/oci/image.ts';
import type { StagedLayer } from '../store/layer-store.ts';
import { type BasisLayer, LayerBasis } from '../store/layers/layer-basis.ts';
import type { LoadedImage, LoadInput, LoadQuestion } from './archive-protocol.ts';
import { applyDeltaLayer, copyBaseLayer } from './delta-apply.ts';
import type { DeltaAnswer } from './delta-protocol.ts';
import type { JobContext } from './job.ts';
import { LayerProgress } from './layer-progress.ts';

/** Where deltas of an archive are turned into their targets. */
export type DeltaLoader = {
  readonly sys: Syscalls;
  readonly input: LoadInput;
  readonly context: JobContext;
  /** Layers of this archive that were not here, by diffID; gets the layers that are made. */
  readonly staged: Map<DiffId, StagedLayer>;
  /** Images of this archive so far: a delta may come with its base. */
  readonly images: readonly LoadedImage[];
};

/**
 * The image that an image of an archive stands for: its target when it is a delta, else itself.
 * @throws notFound when the base is not here; dataLoss, invalidArgument for a bad delta
 */
export async function targetOf(loader: DeltaLoader, image: LoadedImage): Promise<LoadedImage> {
  const config = Buffer.from(image.configBase64, 'base64').toString();
  const delta = balenaDeltaOf(decodeJson(imageConfig, config));
  if (delta === undefined) return image;
  const target: LoadedImage = {
    configBase64: delta.targetConfig.toString('base64'),
    diffIds: delta.diffIds,
    tags: image.tags,
  };
  const answer = await findBase(loader, delta);
  if (answer.isHere) {
    loader.context.report({
      stream: 'Target image already exists locally, no need to load it.\n',
    });
    return target;
  }
  await makeTarget(loader, delta, image, answer.basis);
  return target;
}

async function findBase(loader: DeltaLoader, delta: BalenaDelta): Promise<DeltaAnswer> {
  const archived = (id: ImageId): LoadedImage | undefined =>
    loader.images.find((each) => idOf(each) === id);
  if (archived(delta.target) !== undefined) return { isHere: true, basis: [] };
  const base = archived(delta.base);
  if (base === undefined) {
    const { base: id, target } = delta;
    return (await ask(loader, { ask: 'delta', base: id, target })) as DeltaAnswer;
  }
  const basis = await Promise.all(base.diffIds.map((diffId) => folderOf(loader, diffId)));
  return { isHere: false, basis };
}

function idOf({ configBase64 }: LoadedImage): ImageId {
  return parseImageId(`sha256:${hash('sha256', Buffer.from(configBase64, 'base64'))}`);
}

async function folderOf(loader: DeltaLoader, diffId: DiffId): Promise<BasisLayer> {
  const staged = loader.staged.get(diffId);
  if (staged !== undefined) return { diffId, directory: staged.directory };
  return { diffId, directory: (await ask(loader, { ask: 'layer', diffId })) as string };
}

function ask({ context }: DeltaLoader, question: LoadQuestion): Promise<unknown> {
  return context.ask(question);
}

/** Makes those layers of a target that are not here. */
async function makeTarget(
  loader: DeltaLoader,
  delta: BalenaDelta,
  image: LoadedImage,
  base: readonly BasisLayer[],
): Promise<void> {
  const { sys, context, input, staged } = loader;
  checkCommonLayers(
    delta,
    base.map(({ diffId }) => diffId),
  );
  using basis = new LayerBasis(sys, base);
  for (const [position, diffId] of delta.diffIds.entries()) {
    if (input.known[diffId] !== undefined || staged.has(diffId)) continue;
    const directory = path.join(input.staging, `made-${shortId(delta.target)}-${position}`);
    const options = { sys, directory, basis, diffId, position, signal: context.signal };
    if (delta.isCommon[position] === true) {
      staged.set(diffId, await copyBaseLayer(options));
      continue;
    }
    const line = new LayerProgress(shortId(diffId), context.report);
    const layer = await folderOf(loader, image.diffIds[position] ?? diffId);
    if (!input.quiet) line.say('Applying delta');
    // Its tar, through one buffer: it was verified when it came.
    using tar = new LayerBasis(sys, [layer]);
    const source = tar.read(0, tar.bytes);
    staged.set(diffId, await applyDeltaLayer({ ...options, source, expected: {} }));
    if (!input.quiet) line.say('Delta applied');
  }
}
