import { mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { humanSize } from '../../base/bytes.ts';
import { type Digest, parseDigest, shortId } from '../../base/digest.ts';
import { isEngineError } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { parseReference } from '../../base/reference.ts';
import { BlobHead } from '../../formats/blob-head.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { type BalenaDelta, balenaDeltaOf, checkCommonLayers } from '../../policy/balena-delta.ts';
import {
  checkManifest,
  checkPlatform,
  layersToFetch,
  type WantedLayer,
  wantedLayers,
} from '../../policy/pull-plan.ts';
import { fetchBlob, readBlob } from '../../registry/blobs.ts';
import { type FetchedManifest, fetchManifest } from '../../registry/manifests.ts';
import { pullError } from '../../registry/registry-error.ts';
import type { RegistrySession } from '../../registry/session.ts';
import type { Manifest } from '../../spec/oci/image.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import { LayerBasis } from '../../store/layers/layer-basis.ts';
import { BLOB_CHECKPOINTS } from '../../store/layers/layer-checkpoint.ts';
import { dropPartial, takeEarlier } from '../../store/layers/partials.ts';
import { applyDeltaLayer, copyBaseLayer } from '../delta-apply.ts';
import type { DeltaAnswer } from '../delta-protocol.ts';
import { DeltaPull } from '../deltas/delta-pull.ts';
import { DownloadLink } from '../download-link.ts';
import { extractLayer } from '../extract.ts';
import type { JobContext } from '../job.ts';
import { CHECKPOINT_PACE } from '../layer-checkpoints.ts';
import { LayerProgress, tellAgain } from '../layer-progress.ts';
import type {
  BasesAnswer,
  PulledManifest,
  PullInput,
  PullQuestion,
  PullResult,
} from '../pull-protocol.ts';
import { openWorkerSession } from '../registry-session.ts';
import { decodeImageConfig, resolveImage } from '../resolve-image.ts';
import { Transfers } from '../transfers.ts';

/** A layer whose bytes turn out wrong is fetched once more: links corrupt, caches too. */
const LAYER_ATTEMPTS = 2;
/** When so much was fetched, or after a time, what is whole is made durable while more comes. */
const KEEP_BYTES = 4 << 20;
const KEEP_MS = 3000;

/**
 * The job `pull`: reference → manifest → plan → layers streamed into staging, each made durable by
 * the daemon as soon as it is whole, so that an attempt that fails later keeps it.
 */
export async function pull(input: unknown, context: JobContext): Promise<PullResult> {
  const job = input as PullInput;
  await using session = await openWorkerSession(job.access, context.signal);
  try {
    return await new Pull(job, session, context).run();
  } catch (error) {
    throw pullError(error, parseReference(job.familiar));
  }
}

class Pull {
  readonly #job: PullInput;
  readonly #session: RegistrySession;
  readonly #link: DownloadLink;
  readonly #transfers = new Transfers({
    nowMs: () => performance.now(),
    epochMs: () => Date.now(),
  });
  readonly #context: JobContext;
  readonly #sys = openSyscalls();
  /** When a delta is pulled: what its target's layers are made of. */
  #delta: { readonly isCommon: readonly boolean[]; readonly basis: LayerBasis } | undefined;
  /** A delta that was found beside the image, and is used in place of its layers. */
  #shortcut: DeltaPull | undefined;
  #downloadedBytes = 0;
  /** Layers that are not whole yet. */
  #left = 0;
  /** Layers that are whole and wait to be kept, and what was fetched for them. */
  #whole: StagedLayer[] = [];
  #wholeBytes = 0;
  #keepTimer: NodeJS.Timeout | undefined;
  #keptLate: Promise<void> = Promise.resolve();

  constructor(job: PullInput, session: RegistrySession, context: JobContext) {
    this.#job = job;
    const link = new DownloadLink({
      layersMax: job.concurrency,
      bytesPerSecMax: job.bytesPerSecMax,
      nowMs: () => performance.now(),
      sleep: async (ms) => {
        await sleep(ms, undefined, { signal: context.signal });
      },
    });
    this.#link = link;
    this.#session = {
      ...session,
      received: (bytes) => {
        this.#transfers.moved(bytes);
        return link.received(bytes);
      },
    };
    this.#context = context;
  }

  async run(): Promise<PullResult> {
    const { path: repository, reference, familiar, platform, attempts } = this.#job;
    const named = await fetchManifest(this.#session, repository, reference);
    const want = platform ?? this.#job.host;
    const { chain, manifest } = await resolveImage(this.#session, repository, named, want);
    const { config, configBytes } = checkManifest(manifest);
    const manifests = chain.map(encodeManifest);
    const found = { digest: named.digest, imageId: config, manifests };
    this.#context.report({ status: `Pulling from ${repository}`, id: reference });
    const isHere = (await this.#ask({ ask: 'image', id: config })) as boolean;
    // With a wish for a platform the config is looked at in any case.
    if (isHere && platform === null) return { ...found, image: null, ...this.#bytes() };

    const configText = await fetchBlob(this.#session, {
      path: repository,
      digest: config,
      sizeBytes: configBytes,
      attempts,
      bytesMax: LIMITS.imageConfigBytesMax,
      what: 'image config',
    });
    const decoded = decodeImageConfig(configText);
    const delta = isHere ? undefined : balenaDeltaOf(decoded);
    if (delta !== undefined) {
      checkPlatform(delta.targetImage, platform ?? undefined, familiar);
      // The manifest is the delta's: it is no way to the target for who has no base.
      return await this.#pullTarget(manifest, delta, { ...found, manifests: [] });
    }
    checkPlatform(decoded, platform ?? undefined, familiar);
    if (isHere) return { ...found, image: null, ...this.#bytes() };
    const layers = wantedLayers(manifest, decoded);
    const last = chain.at(-1) ?? named;
    await this.#fetchLayers(layers, { id: config, manifest: last.digest });
    const image = {
      configBase64: configText.toString('base64'),
      diffIds: layers.map((layer) => layer.diffId),
    };
    return { ...found, image, ...this.#bytes() };
  }

  /** Of a delta the target is pulled: its layers are made of the base and the delta's. */
  async #pullTarget(
    manifest: Manifest,
    delta: BalenaDelta,
    found: Pick<PullResult, 'digest' | 'imageId' | 'manifests'>,
  ): Promise<PullResult> {
    const { base, target } = delta;
    const imageId = parseDigest(target);
    const answer = (await this.#ask({ ask: 'delta', base, target })) as DeltaAnswer;
    if (answer.isHere) return { ...found, imageId, image: null, ...this.#bytes() };
    const basisIds = answer.basis.map((layer) => layer.diffId);
    checkCommonLayers(delta, basisIds);
    using basis = new LayerBasis(this.#sys, answer.basis);
    this.#delta = { isCommon: delta.isCommon, basis };
    await this.#fetchLayers(wantedLayers(manifest, delta.targetImage));
    const configBase64 = delta.targetConfig.toString('base64');
    const image = { configBase64, diffIds: delta.diffIds };
    return { ...found, imageId, image, ...this.#bytes() };
  }

  #bytes(): { downloadedBytes: number } {
    return { downloadedBytes: this.#downloadedBytes };
  }

  #ask(question: PullQuestion): Promise<unknown> {
    return this.#context.ask(question);
  }

  /** `image` is what they make, when deltas to it may be looked for. */
  async #fetchLayers(
    layers: readonly WantedLayer[],
    image?: { readonly id: Digest; readonly manifest: Digest },
  ): Promise<void> {
    const question = layers.map(({ diffId, digest }) => ({ diffId, digest }));
    const here = (await this.#ask({ ask: 'layers', layers: question })) as boolean[];
    const wanted = layersToFetch(layers, (layer) => here[layer.position] === true);
    const progress = new Map<WantedLayer, LayerProgress>();
    for (const layer of layers) {
      const line = new LayerProgress(shortId(layer.digest), this.#context.report, this.#transfers);
      if (wanted.includes(layer)) {
        progress.set(layer, line);
        line.say('Pulling fs layer');
      } else if (here[layer.position] === true) line.say('Already exists');
    }
    for (const layer of wanted.slice(this.#job.concurrency)) progress.get(layer)?.say('Waiting');

    using delta = image && (await this.#findDelta(image, layers, wanted));
    this.#shortcut = delta;
    this.#left = wanted.length;
    for (const [layer, line] of progress) this.#transfers.expect(line, this.#linkBytes(layer));
    this.#transfers.begin();
    using _telling = tellAgain([...progress.values()]);
    const failure = new AbortController();
    const settled = await Promise.allSettled(
      wanted.map((layer) =>
        this.#link.run(layer.sizeBytes, async () => {
          failure.signal.throwIfAborted();
          try {
            await this.#fetchLayer(layer, progress.get(layer) ?? unreachableLine());
          } catch (error) {
            failure.abort(error);
            throw error;
          }
        }),
      ),
    );
    this.#downloadedBytes += delta?.downloadedBytes ?? 0;
    if (settled.every((each) => each.status === 'fulfilled')) {
      await this.#keptLate;
      await this.#keep(true);
      return;
    }
    // What is whole need not be fetched again; why it failed is worth more than that this fails too.
    await this.#keep(false).catch(() => undefined);
    throw failure.signal.reason;
  }

  /** What has to come over the link for a layer. */
  #linkBytes({ position, sizeBytes }: WantedLayer): number {
    if (this.#delta?.isCommon[position] === true) return 0;
    return this.#shortcut?.linkBytes(position) ?? sizeBytes;
  }

  async #findDelta(
    image: { readonly id: Digest; readonly manifest: Digest },
    layers: readonly WantedLayer[],
    wanted: readonly WantedLayer[],
  ): Promise<DeltaPull | undefined> {
    const { path: repository, attempts, delta, familiar } = this.#job;
    return await DeltaPull.find({
      sys: this.#sys,
      place: { session: this.#session, path: repository, attempts },
      mode: delta,
      familiar,
      manifest: image.manifest,
      target: { id: image.id, diffIds: layers.map((layer) => layer.diffId) },
      wanted,
      bases: async (ids) => (await this.#ask({ ask: 'bases', ids })) as BasesAnswer,
      say: (status) => this.#context.report({ status }),
    });
  }

  /**
   * Has the layers that are whole made durable. Small ones wait for others: each time everything is
   * synced, also what other layers have half written and will write again.
   */
  async #keep(isLast: boolean): Promise<void> {
    const layers = this.#whole;
    this.#whole = [];
    this.#wholeBytes = 0;
    clearTimeout(this.#keepTimer);
    this.#keepTimer = undefined;
    if (layers.length > 0) await this.#ask({ ask: 'keep', layers, isLast });
  }

  #keepLate(): void {
    const before = this.#keptLate;
    this.#keptLate = this.#keep(false).then(() => before);
    // Its failure is the pull's, at the end; until then it must not count as unhandled.
    this.#keptLate.catch(() => undefined);
  }

  async #fetchLayer(layer: WantedLayer, progress: LayerProgress): Promise<void> {
    const claim = await this.#ask({ ask: 'claim', diffId: layer.diffId });
    if (claim === 'here') {
      this.#left -= 1;
      this.#transfers.expect(progress, 0);
      progress.say('Already exists');
      return;
    }
    mkdirSync(this.#job.staging, { recursive: true, mode: 0o700 });
    const staged =
      (await this.#makeOfBase(layer, progress)) ?? (await this.#extract(layer, progress));
    progress.bytes('Extracting', layer.sizeBytes, layer.sizeBytes, true);
    this.#left -= 1;
    this.#whole.push(staged);
    this.#wholeBytes += layer.sizeBytes;
    if (this.#left > 0 && this.#wholeBytes >= KEEP_BYTES) await this.#keep(false);
    else this.#keepTimer ??= setTimeout(() => this.#keepLate(), KEEP_MS);
    progress.say('Pull complete');
  }

  /** The layer by a delta; undefined when it must be fetched. */
  async #makeOfBase(layer: WantedLayer, progress: LayerProgress): Promise<StagedLayer | undefined> {
    if (this.#shortcut === undefined) return undefined;
    const staged = await this.#shortcut.extract(layer, this.#deltaFolder(layer), progress);
    if (staged === undefined) this.#transfers.expect(progress, layer.sizeBytes);
    return staged;
  }

  #deltaFolder({ position }: WantedLayer): string {
    return path.join(this.#job.staging, `${position}-delta`);
  }

  async #extract(layer: WantedLayer, progress: LayerProgress): Promise<StagedLayer> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#extractOnce(layer, progress, attempt);
      } catch (error) {
        const isDamaged = isEngineError(error, 'dataLoss') && error.detail['registry'] !== true;
        if (!isDamaged || attempt >= LAYER_ATTEMPTS) throw error;
        progress.say('Verification failed, fetching it again');
        this.#transfers.expect(progress, this.#linkBytes(layer));
      }
    }
  }

  async #extractOnce(
    layer: WantedLayer,
    progress: LayerProgress,
    attempt: number,
  ): Promise<StagedLayer> {
    const { digest, sizeBytes, diffId } = layer;
    const directory = path.join(this.#job.staging, `${layer.position}-${attempt}`);
    const delta = this.#delta;
    if (delta === undefined) return await this.#extractBlob(layer, progress, directory);
    const made = {
      ...{ sys: this.#sys, directory, basis: delta.basis },
      ...{ diffId, position: layer.position, signal: this.#session.signal },
    };
    if (delta.isCommon[layer.position] === true) return await copyBaseLayer(made);
    try {
      const source = this.#blob(layer, progress);
      const onProgress = (bytes: number): void => progress.bytes('Downloading', bytes, sizeBytes);
      const expected = { digest, sizeBytes };
      const staged = await applyDeltaLayer({ ...made, source, onProgress, expected });
      this.#downloaded(progress, sizeBytes);
      return staged;
    } catch (error) {
      rmSync(directory, { recursive: true, force: true });
      throw error;
    }
  }

  /** Fetches and extracts a blob, from where an earlier pull was cut off. */
  async #extractBlob(
    layer: WantedLayer,
    progress: LayerProgress,
    directory: string,
  ): Promise<StagedLayer> {
    const { digest, sizeBytes, diffId, mediaType } = layer;
    const { path: repository, access } = this.#job;
    const earlier = takeEarlier(digest, BLOB_CHECKPOINTS, `${directory}-earlier`);
    const fromByte = earlier?.checkpoint.hashedBytes ?? 0;
    this.#transfers.expect(progress, sizeBytes, fromByte);
    if (fromByte > 0) progress.say(`Resuming at ${humanSize(fromByte, 3)}`);
    else if (earlier !== undefined) {
      const { outputBytes } = earlier.checkpoint.point;
      progress.say(`Fetching it again, keeping ${humanSize(outputBytes, 3)} of files`);
    }
    const head = new BlobHead();
    const blob = this.#blob(layer, progress, fromByte);
    try {
      const staged = await extractLayer({
        ...{ sys: this.#sys, directory, signal: this.#session.signal },
        source: fromByte === 0 ? head.noting(blob) : blob,
        ...(earlier === undefined ? {} : { earlier }),
        checkpoints: CHECKPOINT_PACE,
        onProgress: (bytes) => {
          this.#shortcut?.forget(this.#deltaFolder(layer));
          progress.bytes('Downloading', bytes, sizeBytes);
        },
        expected: { digest, sizeBytes, diffId },
        origin: { repository: `${access.domain}/${repository}`, mediaType },
      });
      if (earlier !== undefined) dropPartial(earlier.directory);
      this.#downloaded(progress, sizeBytes - fromByte);
      if (fromByte > 0 || staged.blob === undefined) return staged;
      return { ...staged, blob: { ...staged.blob, headSum: head.sum } };
    } catch (error) {
      // What the link did is no fault of what has come: the next pull goes on with it.
      if (isEngineError(error, 'unavailable', 'canceled')) throw error;
      rmSync(directory, { recursive: true, force: true });
      if (earlier === undefined) throw error;
      dropPartial(earlier.directory);
      progress.say('What was here is of no use, fetching all of it');
      return await this.#extractBlob(layer, progress, `${directory}-anew`);
    }
  }

  #blob(layer: WantedLayer, progress: LayerProgress, fromByte = 0): AsyncGenerator<Buffer> {
    const { digest, sizeBytes } = layer;
    return readBlob(this.#session, {
      path: this.#job.path,
      digest,
      sizeBytes,
      fromByte,
      attempts: this.#job.attempts,
      onRetry: (waitMs) => {
        const seconds = Math.ceil(waitMs / 1000);
        progress.say(`Retrying in ${seconds} second${seconds === 1 ? '' : 's'}`);
      },
    });
  }

  #downloaded(progress: LayerProgress, bytes: number): void {
    this.#downloadedBytes += bytes;
    progress.say('Verifying Checksum');
    progress.say('Download complete');
  }
}

function unreachableLine(): never {
  throw new Error('every layer that is fetched has a line of progress');
}

function encodeManifest({ digest, mediaType, bytes }: FetchedManifest): PulledManifest {
  return { digest, mediaType, base64: Buffer.from(bytes).toString('base64') };
}
