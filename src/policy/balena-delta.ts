import { hash } from 'node:crypto';
import { type DiffId, type ImageId, parseDiffId, parseImageId } from '../base/digest.ts';
import { invalidArgument, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { COMMON_LAYER } from '../formats/delta-layer.ts';
import { decodeJson } from '../spec/decode.ts';
import { containerConfig } from '../spec/docker/container.ts';
import { type ImageConfig, imageConfig } from '../spec/oci/image.ts';

/**
 * Delta images as balenaEngine makes them: an image whose config has two labels, and whose layer
 * number i makes layer number i of the target (formats/delta-layer.ts).
 */
const BASE_LABEL = 'io.resin.delta.base';
const TARGET_LABEL = 'io.resin.delta.config';

/** What a delta image says of itself. */
export type BalenaDelta = {
  readonly base: ImageId;
  readonly target: ImageId;
  /** Exact bytes. */
  readonly targetConfig: Buffer;
  readonly targetImage: ImageConfig;
  /** Of the target, bottom first. */
  readonly diffIds: readonly DiffId[];
  /** For each layer: is it the base's own? */
  readonly isCommon: readonly boolean[];
};

/** True for an image that is a delta, whether or not it fits together. */
export function isBalenaDelta(image: ImageConfig): boolean {
  const { Labels } = image.config;
  return Labels[BASE_LABEL] !== undefined && Labels[TARGET_LABEL] !== undefined;
}

/**
 * What the config of an image says if it is a delta; undefined for any other image.
 * @throws invalidArgument for a delta that does not fit together
 */
export function balenaDeltaOf(image: ImageConfig): BalenaDelta | undefined {
  const { [BASE_LABEL]: base, [TARGET_LABEL]: text } = image.config.Labels;
  if (base === undefined || text === undefined) return undefined;
  const targetConfig = Buffer.from(text);
  let targetImage: ImageConfig;
  try {
    targetImage = decodeJson(imageConfig, text);
  } catch (cause) {
    throw invalidArgument(`invalid delta: the config of its target: ${messageOf(cause)}`, {
      cause,
    });
  }
  const { type, diff_ids: listed } = targetImage.rootfs;
  const layers = image.rootfs.diff_ids;
  if (type !== 'layers' || listed.length !== layers.length) {
    throw invalidArgument(
      `invalid delta: it has ${layers.length} layers, and its target has ${listed.length}`,
    );
  }
  if (listed.length > LIMITS.layersMax) {
    throw invalidArgument(
      `invalid delta: its target has ${listed.length} layers; at most ${LIMITS.layersMax} work`,
    );
  }
  return {
    base: parseImageId(base),
    target: parseImageId(`sha256:${hash('sha256', targetConfig)}`),
    targetConfig,
    targetImage,
    diffIds: listed.map(parseDiffId),
    isCommon: layers.map((diffId) => diffId === COMMON_LAYER),
  };
}

/** How many layers at the bottom two images have in common. */
export function commonLayers(base: readonly DiffId[], target: readonly DiffId[]): number {
  const first = target.findIndex((diffId, i) => base[i] !== diffId);
  return first < 0 ? target.length : first;
}

/**
 * Checks that what a delta takes as the base's own layers are that.
 * @throws invalidArgument
 */
export function checkCommonLayers(delta: BalenaDelta, base: readonly DiffId[]): void {
  const common = commonLayers(base, delta.diffIds);
  const wrong = delta.isCommon.findIndex((isCommon, i) => isCommon && i >= common);
  if (wrong >= 0) {
    throw invalidArgument(
      `invalid delta: its layer ${wrong} is empty, but base and target do not have it in common`,
    );
  }
}

/**
 * The config of a delta image.
 * @throws invalidArgument when the target's config is no text, as then it cannot be a label
 */
export function balenaDeltaConfig(delta: {
  /** RFC 3339. */
  readonly created: string;
  readonly base: ImageId;
  readonly targetConfig: Uint8Array;
  /** Of the delta's own layers. */
  readonly diffIds: readonly DiffId[];
}): Buffer {
  const bytes = Buffer.from(delta.targetConfig);
  const target = bytes.toString();
  if (!Buffer.from(target).equals(bytes)) {
    throw invalidArgument("cannot make a delta: the target's config is not UTF-8");
  }
  const config = {
    ...containerConfig.zero(),
    Labels: { [BASE_LABEL]: delta.base, [TARGET_LABEL]: target },
  };
  return Buffer.from(
    JSON.stringify({
      created: delta.created,
      config,
      rootfs: { type: 'layers', diff_ids: delta.diffIds },
    }),
  );
}
