import type { Readable } from 'node:stream';
import { shortId } from '../../base/digest.ts';
import { invalidArgument } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { familiarReference } from '../../base/reference.ts';
import { inLine, parseDockerfile } from '../../formats/dockerfile.ts';
import { BuildArguments } from '../../policy/build/build-arguments.ts';
import { argumentsOf, type BuildPlan, planBuild, type Stage } from '../../policy/build/stages.ts';
import { DEFAULT_PATH } from '../../policy/environment.ts';
import { expandWord } from '../../policy/word-expansion.ts';
import type { AuthConfig } from '../../spec/docker/auth.ts';
import { type ContainerConfig, containerConfig } from '../../spec/docker/container.ts';
import type { ProgressMessage } from '../../spec/docker/progress.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { ProgressCall } from '../call.ts';
import type { Engine } from '../engine.ts';
import { imageEvent } from '../images/events.ts';
import { writtenLine } from '../images/written.ts';
import { baseImage } from './base-image.ts';
import { BuildWorker } from './build-worker.ts';
import { configOf } from './commit-step.ts';
import { type BuildQuery, buildOptions, tagOf } from './options.ts';
import { type BuildSession, type BuildStage, say } from './session.ts';
import { carryOut, carryOutTriggers } from './stage-steps.ts';

export type ImageBuildArgs = {
  readonly query: BuildQuery;
  readonly headers: { readonly registryConfig: Readonly<Record<string, AuthConfig>> | undefined };
  readonly body: Readable;
};

/**
 * `POST /build`: makes an image of a Dockerfile and the files beside it, as Docker's classic builder
 * does: each step is an image whose parent is the step before, and need not be done again.
 *
 * @throws invalidArgument for a bad Dockerfile, context or option; what a step throws, a failed
 * RUN with its exit code in `detail.code`
 */
export async function imageBuild(
  engine: Engine,
  args: ImageBuildArgs,
  call: ProgressCall,
): Promise<void> {
  const options = buildOptions(args.query, args.headers.registryConfig);
  using _running = engine.builds.begin();
  await using staging = engine.layers.stage();
  const { dockerfile, remote } = options;
  const input = { staging: staging.directory, dockerfile, remote };
  await using worker = await BuildWorker.start(engine.workers, input, call.signal);
  const body = remote === '' ? args.body : undefined;
  const { text } = await worker.takeContext(body, call.signal);
  const plan = planBuild(parseDockerfile(text), options);
  using held = new DisposableStack();
  const shown = options.q ? quietCall(call) : { call, tell: () => undefined };
  const session: BuildSession = {
    ...{ engine, options, worker, call: shown.call, escapeWith: plan.escapeWith },
    ...{ stages: [], staged: [] },
    hold: ({ id, diffIds }) => {
      held.use(engine.builds.holdImage(id));
      held.use(engine.layers.hold(diffIds));
    },
    holdLayers: (diffIds) => void held.use(engine.layers.hold(diffIds)),
  };
  try {
    const image = await buildStages(session, plan);
    tagImage(session, image);
    if (options.q) call.progress({ stream: `${image.id}\n` });
  } catch (error) {
    shown.tell();
    throw error;
  }
}

/** A quiet build says what it did only when it fails. */
function quietCall(call: ProgressCall): { readonly call: ProgressCall; readonly tell: () => void } {
  let kept: ProgressMessage[] = [];
  let bytes = 0;
  const progress = (message: ProgressMessage): void => {
    bytes += message.stream?.length ?? 0;
    if (bytes > LIMITS.progressBacklogBytesMax) {
      kept = kept.slice(kept.length >> 1);
      bytes = kept.reduce((sum, { stream }) => sum + (stream?.length ?? 0), 0);
    }
    if (message.stream !== undefined) kept.push(message);
  };
  const quiet: ProgressCall = {
    apiVersion: call.apiVersion,
    progress,
    get signal() {
      return call.signal;
    },
  };
  const tell = (): void => {
    for (const each of kept) call.progress(each);
  };
  return { call: quiet, tell };
}

async function buildStages(session: BuildSession, plan: BuildPlan): Promise<ImageRecord> {
  const args = new BuildArguments(session.options.buildargs);
  let step = 0;
  const tellStep = (original: string): void => {
    step += 1;
    say(session, `Step ${step}/${plan.stepsTotal} : ${original}\n`);
  };
  for (const each of plan.globals) {
    tellStep(each.original);
    const how = { variables: args.globals(), escapeWith: plan.escapeWith };
    const declared = inLine(each.line, () => argumentsOf(each.rest, how));
    for (const { name, value } of declared) args.declareGlobal(name, value);
  }
  let image: ImageRecord | undefined;
  for (const each of plan.stages) {
    tellStep(each.from.original);
    const stage = await beginStage(session, each, args);
    tellImage(session, stage);
    for (const instruction of each.instructions) {
      session.call.signal.throwIfAborted();
      tellStep(instruction.original);
      await carryOut(session, stage, instruction);
      tellImage(session, stage);
    }
    session.stages.push(stage);
    image = stage.image;
    if (image !== undefined) session.call.progress({ aux: { ID: image.id } });
  }
  const unused = args.unused();
  if (unused.length > 0) {
    say(session, `[Warning] One or more build-args [${unused.join(' ')}] were not consumed\n`);
  }
  if (image === undefined) {
    throw invalidArgument('No image was generated. Is your Dockerfile empty?');
  }
  return image;
}

function tellImage(session: BuildSession, { image }: BuildStage): void {
  say(session, ` ---> ${image === undefined ? '' : shortId(image.id)}\n`);
}

/** FROM. */
async function beginStage(
  session: BuildSession,
  planned: Stage,
  args: BuildArguments,
): Promise<BuildStage> {
  const { escapeWith, options } = session;
  const [base, platform] = inLine(planned.from.line, () =>
    [planned.base, planned.platform].map((each) => expandWord(each, args.globals(), escapeWith)),
  );
  if (base === undefined || base === '') {
    throw invalidArgument(`base name (${planned.base}) should not be blank`);
  }
  const earlier = session.stages.findLast(({ name }) => name !== '' && name === base.toLowerCase());
  const image =
    earlier === undefined && base !== 'scratch'
      ? await baseImage(session, base, platform || options.platform)
      : earlier?.image;
  if (image !== undefined) session.hold(image);
  const config = image === undefined ? containerConfig.zero() : configOf(image).config;
  const stage: BuildStage = {
    name: planned.name,
    args: args.forStage(),
    config: freshConfig(config),
    image,
    ...{ author: '', hasCommand: false, isPastCache: false },
  };
  const triggers = config.OnBuild ?? [];
  if (triggers.length > LIMITS.buildStepsMax) {
    throw invalidArgument(`image ${base} has more than ${LIMITS.buildStepsMax} build triggers`);
  }
  if (triggers.length > 0) await carryOutTriggers(session, stage, triggers);
  return stage;
}

/** What a stage starts from: the base image's config, with what is the base's alone taken out. */
function freshConfig(config: ContainerConfig): ContainerConfig {
  const hasPath = config.Env.some((each) => each.startsWith('PATH='));
  const Env = hasPath ? config.Env : [...config.Env, `PATH=${DEFAULT_PATH}`];
  return { ...config, Env, OnBuild: null, OpenStdin: false, StdinOnce: false };
}

/** The names appear together, when all is done. */
function tagImage(session: BuildSession, image: ImageRecord): void {
  const { engine, options, staged } = session;
  const nowMs = engine.clock.nowMs();
  engine.database.transaction(() => {
    for (const tag of options.tags) {
      engine.store.images.setTagInTransaction({ ...tagOf(tag), imageId: image.id, nowMs });
    }
  });
  say(session, `${writtenLine(engine, image.diffIds, staged)}\n`);
  say(session, `Successfully built ${shortId(image.id)}\n`);
  for (const tag of options.tags) {
    imageEvent(engine, 'tag', image, familiarReference(tag));
    say(session, `Successfully tagged ${familiarReference(tag)}\n`);
  }
}
