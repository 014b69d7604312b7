import { formatTimeNs } from '../../base/clock.ts';
import { type DiffId, parseDiffId } from '../../base/digest.ts';
import { invalidArgument } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { VERSION } from '../../base/version.ts';
import { decodeJson } from '../../spec/decode.ts';
import type { ContainerConfig } from '../../spec/docker/container.ts';
import { type ImageConfig, imageConfig } from '../../spec/oci/image.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import { commitImage } from '../images/commit-image.ts';
import { hostOf } from '../images/pull.ts';
import type { BuildSession, BuildStage } from './session.ts';

/** Of a tar that holds nothing: a step that changed no file has no layer. */
const EMPTY_LAYER = parseDiffId(
  'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef',
);

/** What a step did. */
export type Step = {
  /** The config with the step's command in it: what the cache compares and the history tells. */
  readonly made: ContainerConfig;
  readonly layer?: StagedLayer;
  /** That a RUN was carried out in. */
  readonly containerId?: string;
};

/** Makes the image of a step, with the image before it as its parent. */
export async function commitStep(
  session: BuildSession,
  stage: BuildStage,
  { made, layer, containerId = '' }: Step,
): Promise<void> {
  const { engine } = session;
  const before = stage.image;
  const isEmpty = layer === undefined || layer.diffId === EMPTY_LAYER;
  const diffIds: DiffId[] = [...(before?.diffIds ?? []), ...(isEmpty ? [] : [layer.diffId])];
  if (diffIds.length > LIMITS.layersMax) {
    throw invalidArgument(`max depth exceeded: an image has at most ${LIMITS.layersMax} layers`);
  }
  const base = before === undefined ? undefined : configOf(before);
  const platform = base?.architecture ? base : hostOf();
  const created = formatTimeNs(engine.clock.nowNs());
  const author = stage.author === '' ? {} : { author: stage.author };
  const created_by = (made.Cmd ?? []).join(' ');
  const config = Buffer.from(
    JSON.stringify({
      architecture: platform.architecture,
      ...(platform.variant === '' ? {} : { variant: platform.variant }),
      os: platform.os,
      created,
      ...author,
      container: containerId,
      container_config: { ...made, Image: before?.id ?? '' },
      config: { ...stage.config, Image: before?.id ?? '' },
      docker_version: VERSION,
      rootfs: { type: 'layers', diff_ids: diffIds },
      history: [
        ...historyOf(before),
        { created, ...author, created_by, ...(isEmpty ? { empty_layer: true } : {}) },
      ],
    }),
  );
  if (!isEmpty) session.staged.push(layer);
  session.holdLayers(diffIds);
  const id = await commitImage(engine, {
    staged: isEmpty ? [] : [layer],
    config,
    diffIds,
    ...{ tags: [], repoDigests: [], manifests: [], cause: 'build', parent: before?.id },
  });
  stage.image = engine.store.images.get(id);
  session.hold(stage.image);
}

/** An image's config, decoded. */
export function configOf(image: ImageRecord): ImageConfig {
  return decodeJson(imageConfig, Buffer.from(image.config).toString());
}

/** The steps that made an image, as they are stored. */
export function historyOf(image: ImageRecord | undefined): readonly unknown[] {
  if (image === undefined) return [];
  const { history } = JSON.parse(Buffer.from(image.config).toString()) as { history?: unknown };
  return Array.isArray(history) ? history : [];
}
