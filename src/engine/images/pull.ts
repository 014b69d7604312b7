import { createHash } from 'node:crypto';
import { humanSize, parseSizeBinary } from '../../base/bytes.ts';
import { type DiffId, isSha256, parseDigest, parseImageId } from '../../base/digest.ts';
import { invalidArgument, isEngineError } from '../../base/errors.ts';
import {
  DEFAULT_TAG,
  familiarReference,
  familiarRepository,
  isTag,
  parseReference,
  type Reference,
  repositoryOf,
} from '../../base/reference.ts';
import { type DeltaMode, parseDeltaMode } from '../../policy/delta-mode.ts';
import { hostPlatform, type ImagePlatform, parsePlatform } from '../../policy/platform.ts';
import type { AuthConfig } from '../../spec/docker/auth.ts';
import type { ProgressMessage } from '../../spec/docker/progress.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import type {
  PulledManifest,
  PullInput,
  PullQuestion,
  PullResult,
  RegistryInput,
} from '../../worker/pull-protocol.ts';
import type { ProgressCall } from '../call.ts';
import { answerDelta, localBases } from '../deltas/base.ts';
import type { Engine } from '../engine.ts';
import { commitImage } from './commit-image.ts';
import { transferEvent } from './events.ts';
import { registryAccess } from './registry-access.ts';
import { writtenLine } from './written.ts';

/** Arguments of `POST /images/create?fromImage=…`. */
export type ImagePullArgs = {
  readonly query: {
    readonly fromImage: string;
    readonly tag: string;
    readonly platform: string;
    /** `auto`, `never` or `require`; '' is the daemon's own. */
    readonly delta: string;
    /** Bytes in a second (`500k`); '' is the daemon's own, 0 no limit. */
    readonly limitRate?: string;
  };
  readonly headers: { readonly registryAuth: AuthConfig | undefined };
};

/** What of the engine a pull works with. */
export type PullEngine = Pick<
  Engine,
  'config' | 'execRoot' | 'clock' | 'log' | 'workers' | 'layers' | 'store' | 'events' | 'pulls'
>;

type Report = (message: ProgressMessage) => void;

/** One image to pull: a reference with a tag or a digest. */
type Target = {
  readonly reference: Reference;
  readonly platform: ImagePlatform | undefined;
  readonly auth: AuthConfig | undefined;
  readonly delta: DeltaMode;
  readonly limitRate: number | undefined;
};

/**
 * Pulls an image, or every tag of a repository when there is neither tag nor digest. What the
 * client sees is what Docker sends, plus a last line with what was downloaded and written.
 *
 * @throws invalidArgument for a bad reference or platform; the registry's error, in Docker's words
 */
export async function imagePull(
  engine: PullEngine,
  args: ImagePullArgs,
  call: ProgressCall,
): Promise<void> {
  const { fromImage, tag, platform: platformText } = args.query;
  const delta = args.query.delta === '' ? engine.config().delta : parseDeltaMode(args.query.delta);
  const reference = pullReference(fromImage, tag);
  const host = hostOf();
  const platform = platformText === '' ? undefined : parsePlatform(platformText, host);
  if (platform !== undefined && platform.os !== 'linux') {
    throw invalidArgument(`operating system is not supported: "${platform.os}"`);
  }
  const limitRate = parseRate(args.query.limitRate ?? '');
  const auth = args.headers.registryAuth;
  if (reference.tag !== undefined || reference.digest !== undefined) {
    await pullOne(engine, { reference, platform, auth, delta, limitRate }, call);
    return;
  }
  for (const each of await tagsOf(engine, reference, auth, call.signal)) {
    await pullOne(
      engine,
      { reference: { ...reference, tag: each }, ...{ platform, auth, delta, limitRate } },
      call,
    );
  }
}

/** @throws invalidArgument for what is no size */
function parseRate(text: string): number | undefined {
  if (text === '') return undefined;
  const bytesPerSec = parseSizeBinary(text);
  if (bytesPerSec !== undefined && bytesPerSec >= 0) return bytesPerSec;
  throw invalidArgument(`invalid rate ${JSON.stringify(text)}: bytes in a second, as 500k or 2m`);
}

/** The `fromImage` and `tag` of a request as one reference; `tag` may be a digest. */
export function pullReference(fromImage: string, tag: string): Reference {
  const reference = parseReference(fromImage.replace(/:$/, ''));
  if (tag === '') return reference;
  if (isSha256(tag)) return { ...reference, tag: undefined, digest: parseDigest(tag) };
  if (!isTag(tag)) throw invalidArgument('invalid tag format');
  return { ...reference, tag, digest: undefined };
}

/** The platform of this machine. */
export function hostOf(): ImagePlatform {
  const arm = process.config.variables as { arm_version?: string };
  return hostPlatform(process.arch, arm.arm_version);
}

async function tagsOf(
  engine: PullEngine,
  reference: Reference,
  auth: AuthConfig | undefined,
  signal: AbortSignal,
): Promise<string[]> {
  const input: RegistryInput = {
    ask: 'tags',
    access: registryAccess(engine, reference.domain, auth),
    path: reference.path,
    familiar: familiarRepository(reference),
  };
  await using job = await engine.workers.start('registry', input, { signal });
  return (await job.result) as string[];
}

async function pullOne(engine: PullEngine, target: Target, call: ProgressCall): Promise<void> {
  const { reference, platform, auth, delta } = target;
  const identity = [platform ?? null, auth ?? null, delta];
  const who = createHash('sha256').update(JSON.stringify(identity)).digest('hex');
  const key = `${repositoryOf(reference)} ${reference.digest ?? reference.tag} ${who}`;
  const caller = { signal: call.signal, report: call.progress };
  await engine.pulls.share(key, caller, async (report, signal) => {
    try {
      await runPull(engine, target, { report, signal });
    } catch (error) {
      await giveBack(engine, error);
      throw error;
    }
  });
}

/**
 * After a failure of the link, or a cancellation, the layers that are whole are kept for the next
 * attempt by a lease. After any other, trying again gives the same: their
 * space is given back.
 */
async function giveBack(engine: PullEngine, error: unknown): Promise<void> {
  if (isPassing(error)) return;
  const removed = await engine.layers.collect();
  if (removed.length > 0) engine.log.info('removed layers of a failed pull', { n: removed.length });
}

function isPassing(error: unknown): boolean {
  return isEngineError(error, 'unavailable', 'canceled');
}

async function runPull(
  engine: PullEngine,
  { reference, platform, auth, delta, limitRate }: Target,
  { report, signal }: { report: Report; signal: AbortSignal },
): Promise<void> {
  const startMs = engine.clock.monotonicMs();
  const { maxDownloadAttempts, maxConcurrentDownloads, maxDownloadRate } = engine.config();
  await using staging = engine.layers.stage({ isMadeLater: true });
  const input: PullInput = {
    access: registryAccess(engine, reference.domain, auth),
    path: reference.path,
    reference: reference.digest ?? reference.tag ?? DEFAULT_TAG,
    familiar: familiarReference(reference),
    platform: platform ?? null,
    host: hostOf(),
    attempts: maxDownloadAttempts,
    concurrency: maxConcurrentDownloads,
    bytesPerSecMax: limitRate ?? maxDownloadRate,
    delta: delta === 'auto' && !mayHaveBase(engine) ? 'never' : delta,
    staging: staging.directory,
  };
  await using answers = new PullAnswers(engine);
  await using job = await engine.workers.start('pull', input, {
    signal,
    onReport: (message) => report(message as ProgressMessage),
    onQuestion: (question) => answers.answer(question as PullQuestion),
  });
  let result: PullResult;
  let isNewer: boolean;
  try {
    result = (await job.result) as PullResult;
    isNewer = await finish(engine, reference, result, answers.last);
  } catch (error) {
    if (!isPassing(error)) for (const { diffId } of answers.kept) engine.layers.endLease(diffId);
    throw error;
  }
  report({ status: `Digest: ${result.digest}` });
  report({ status: `Status: ${outcome(result, isNewer)} for ${familiarReference(reference)}` });
  if (result.downloadedBytes === 0) return;
  report({ status: summary(engine, result, startMs) });
  const diffIds = engine.store.images.get(parseImageId(result.imageId)).diffIds;
  report({ status: writtenLine(engine, diffIds, answers.kept) });
}

/** False when there is no image that a delta could start from: then none is asked for. */
function mayHaveBase({ config, store }: PullEngine): boolean {
  return store.images.count() > 0 || config().deltaDataRoot !== '';
}

function outcome({ image, downloadedBytes }: PullResult, isNewer: boolean): string {
  if (isNewer) return 'Downloaded newer image';
  const isRepaired = image !== null && downloadedBytes > 0;
  return isRepaired ? 'Repaired damaged layers' : 'Image is up to date';
}

function summary(engine: PullEngine, result: PullResult, startMs: number): string {
  const seconds = ((engine.clock.monotonicMs() - startMs) / 1000).toFixed(1);
  return `Downloaded ${humanSize(result.downloadedBytes, 3)} in ${seconds} s`;
}

/** Makes the image and its names appear. True when the reference means something else than before. */
async function finish(
  engine: PullEngine,
  reference: Reference,
  result: PullResult,
  last: readonly StagedLayer[],
): Promise<boolean> {
  const { images } = engine.store;
  const repository = repositoryOf(reference);
  const imageId = parseImageId(result.imageId);
  const before =
    reference.digest === undefined
      ? images.findTag(repository, reference.tag ?? DEFAULT_TAG)
      : images.findRepoDigest(repository, reference.digest);
  const isNamed = images.findRepoDigest(repository, result.digest) === imageId;
  const known = result.image === null ? images.get(imageId) : undefined;
  const config = known?.config ?? Buffer.from(result.image?.configBase64 ?? '', 'base64');
  if (known !== undefined && before === imageId && isNamed) {
    transferEvent(engine, 'pull', known, reference);
    return false;
  }
  const tags =
    reference.digest === undefined ? [{ repository, tag: reference.tag ?? DEFAULT_TAG }] : [];
  await commitImage(engine, {
    staged: last,
    config,
    diffIds: known?.diffIds ?? result.image?.diffIds ?? [],
    tags,
    repoDigests: [{ repository, digest: result.digest }],
    manifests: result.manifests.map(decodeManifest),
    cause: 'pull',
  });
  transferEvent(engine, 'pull', { config }, reference);
  return before !== imageId;
}

function decodeManifest({ digest, mediaType, base64 }: PulledManifest) {
  return { digest, mediaType, content: Buffer.from(base64, 'base64') };
}

/** Answers a pull worker's questions, and holds for it what it relies on until it is done. */
export class PullAnswers implements AsyncDisposable {
  readonly #engine: PullEngine;
  readonly #held: Disposable[] = [];
  readonly #claims = new Map<DiffId, Disposable>();
  /** Layers that came. */
  readonly kept: StagedLayer[] = [];
  /** Those of them that are to be committed with the image. */
  last: readonly StagedLayer[] = [];
  #isOver = false;

  constructor(engine: PullEngine) {
    this.#engine = engine;
  }

  async answer(question: PullQuestion): Promise<unknown> {
    const { layers, store, pulls } = this.#engine;
    switch (question.ask) {
      case 'image': {
        const image = store.images.find(parseImageId(question.id));
        if (image === undefined) return false;
        this.#hold(image.diffIds);
        return image.diffIds.every(layers.isWhole);
      }
      case 'bases':
        return localBases(this.#engine, question.ids, (diffIds) => this.#hold(diffIds));
      case 'delta':
        return answerDelta(this.#engine, question, (diffIds) => this.#hold(diffIds));
      case 'layers': {
        this.#hold(question.layers.map((layer) => layer.diffId));
        return question.layers.map((layer) => layers.isWhole(layer.diffId));
      }
      case 'claim': {
        const { diffId } = question;
        const claim = await pulls.claim(diffId, () => layers.isWhole(diffId));
        if (claim === undefined) return 'here';
        if (this.#isOver) claim[Symbol.dispose]();
        else this.#claims.set(diffId, claim);
        return 'fetch';
      }
      case 'keep': {
        this.kept.push(...question.layers);
        if (question.isLast) {
          this.last = question.layers;
          return true;
        }
        const lease = (): void => {
          for (const { diffId } of question.layers) layers.leaseInTransaction(diffId);
        };
        await layers.commit(question.layers, lease, 'pull');
        for (const { diffId } of question.layers) {
          this.#claims.get(diffId)?.[Symbol.dispose]();
          this.#claims.delete(diffId);
        }
        return true;
      }
    }
  }

  #hold(diffIds: readonly DiffId[]): void {
    this.#held.push(this.#engine.layers.hold(diffIds));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isOver = true;
    for (const claim of this.#claims.values()) claim[Symbol.dispose]();
    for (const held of this.#held) held[Symbol.dispose]();
  }
}
