import { isSameStep } from '../../policy/build/cache.ts';
import type { ContainerConfig } from '../../spec/docker/container.ts';
import type { ImageRecord } from '../../store/images.ts';
import { commitImage } from '../images/commit-image.ts';
import { findImage } from '../images/resolve.ts';
import { configOf, historyOf } from './commit-step.ts';
import { type BuildSession, type BuildStage, say } from './session.ts';

/**
 * Takes the image of an earlier build in a step's place, if there is one. After the first step that
 * has none no other is looked for.
 */
export async function useCache(
  session: BuildSession,
  stage: BuildStage,
  made: ContainerConfig,
): Promise<boolean> {
  if (session.options.nocache || stage.isPastCache) return false;
  const cached =
    session.options.cachefrom.length === 0
      ? findBuilt(session, stage, made)
      : await findInSources(session, stage, made);
  if (cached === undefined) {
    stage.isPastCache = true;
    return false;
  }
  session.hold(cached);
  stage.image = cached;
  say(session, ' ---> Using cache\n');
  return true;
}

/** The newest image that such a step left of the same parent. */
function findBuilt(
  { engine }: BuildSession,
  stage: BuildStage,
  made: ContainerConfig,
): ImageRecord | undefined {
  const { images } = engine.store;
  const parents = stage.image === undefined ? images.parents() : undefined;
  const siblings =
    stage.image === undefined
      ? images.list().filter(({ id }) => parents?.has(id) !== true)
      : images.childrenOf(stage.image.id);
  return siblings.find((each) => {
    const { container_config: step } = configOf(each);
    return step !== null && isSameStep(step, made) && each.diffIds.every(engine.layers.isWhole);
  });
}

/**
 * With `cachefrom` only what led to those images counts: what stands before them here, or, of one
 * that was pulled, the part of it that its history says such a step made.
 */
async function findInSources(
  session: BuildSession,
  stage: BuildStage,
  made: ContainerConfig,
): Promise<ImageRecord | undefined> {
  const { images } = session.engine.store;
  const built = findBuilt(session, stage, made);
  for (const source of cacheSources(session)) {
    for (let at = built && source.id; at !== undefined; at = images.findParent(at)) {
      if (at === built?.id) return built;
    }
    const found = await stepOf(session, source, stage, made);
    if (found !== undefined) return found;
  }
  return undefined;
}

function cacheSources({ engine, options }: BuildSession): ImageRecord[] {
  return options.cachefrom.flatMap((name) => findImage(engine, name)?.image ?? []);
}

/** The image that a step left on the way to `source`; made of its layers when it is not here. */
async function stepOf(
  { engine }: BuildSession,
  source: ImageRecord,
  { image: before }: BuildStage,
  made: ContainerConfig,
): Promise<ImageRecord | undefined> {
  const history = configOf(source).history;
  const steps = historyOf(before).length;
  const isNext = history[steps]?.created_by === (made.Cmd ?? []).join(' ');
  if (!isNext || !startsWith(source, before)) return undefined;
  if (!source.diffIds.every(engine.layers.isWhole)) return undefined;
  const taken = history.slice(0, steps + 1);
  const diffIds = source.diffIds.slice(0, taken.filter((step) => step.empty_layer !== true).length);
  const isLast = history.length === taken.length;
  const config = isLast ? source.config : partOf(source, { made, steps: taken.length, diffIds });
  const id = await commitImage(engine, {
    ...{ staged: [], config, diffIds, tags: [], repoDigests: [], manifests: [] },
    ...{ cause: 'build', parent: before?.id },
  });
  return engine.store.images.get(id);
}

function partOf(
  source: ImageRecord,
  of: {
    readonly made: ContainerConfig;
    readonly steps: number;
    readonly diffIds: ImageRecord['diffIds'];
  },
): Buffer {
  const { architecture, variant, os, history } = configOf(source);
  const step = history[of.steps - 1];
  return Buffer.from(
    JSON.stringify({
      ...{ architecture, ...(variant === '' ? {} : { variant }), os },
      ...{ created: step?.created ?? '', container_config: of.made, config: of.made },
      rootfs: { type: 'layers', diff_ids: of.diffIds },
      history: historyOf(source).slice(0, of.steps),
    }),
  );
}

/** True when an image began as this one. */
function startsWith(image: ImageRecord, start: ImageRecord | undefined): boolean {
  if (start === undefined) return true;
  const { history } = configOf(image);
  return (
    start.diffIds.every((diffId, i) => diffId === image.diffIds[i]) &&
    configOf(start).history.every(
      ({ created, created_by }, i) =>
        created_by === history[i]?.created_by && created === history[i].created,
    )
  );
}
