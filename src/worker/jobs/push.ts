import { createHash } from 'node:crypto';
import { Semaphore } from '../../base/async.ts';
import { type Digest, parseDigest, shortId } from '../../base/digest.ts';
import { messageOf } from '../../base/errors.ts';
import { BlobHead } from '../../formats/blob-head.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { gzipped, type PackingEffort } from '../../kernel/gzip-packer.ts';
import { isBalenaDelta } from '../../policy/balena-delta.ts';
import {
  candidateBlobs,
  type KnownBlob,
  newManifest,
  type PushedLayer,
  pathIn,
  preferredDigest,
  sameManifest,
} from '../../policy/push-plan.ts';
import type { RegistrySession } from '../../registry/session.ts';
import { findBlob, mountBlob, putManifest, uploadBlob } from '../../registry/upload.ts';
import { decodeJson } from '../../spec/decode.ts';
import { imageConfig, type Manifest, MEDIA_TYPE, manifest } from '../../spec/oci/image.ts';
import type { LayerBlob } from '../../store/layer-store.ts';
import { layerTar } from '../../store/layers/layer-tar.ts';
import { BlobOrigins } from '../blob-origins.ts';
import type { JobContext } from '../job.ts';
import { LayerProgress, tellAgain } from '../layer-progress.ts';
import type { PulledManifest, PushInput, PushLayer, PushResult } from '../pull-protocol.ts';
import { openWorkerSession } from '../registry-session.ts';
import { Transfers } from '../transfers.ts';

/**
 * The job `push`: each layer by the cheapest way that keeps its digest (there already, mounted from
 * another repository, the very blob from where it was pulled), else packed anew; then the config,
 * then the manifest under each tag. The manifest that was pulled is pushed again as it is when the
 * registry has just its layers.
 */
export async function push(input: unknown, context: JobContext): Promise<PushResult> {
  const job = input as PushInput;
  await using session = await openWorkerSession(job.access, context.signal);
  await using origins = new BlobOrigins(session, job);
  return await new Push(job, { session, origins }, context).run();
}

/** Bytes of a blob on their way, and how far into the layer's tar they are. */
type Parcel = {
  readonly source: AsyncIterable<Uint8Array>;
  /** What the bytes must be. */
  readonly expected?: Digest;
  /** Bytes of the tar that are through when so many of the blob are. */
  readonly throughBytes: (sentBytes: number) => number;
  readonly onSourceFault?: (error: unknown) => void;
};

/** A blob that was sent. */
type Sent = { readonly digest: Digest; readonly sizeBytes: number };

type KnownManifest = { readonly record: PulledManifest; readonly content: Manifest };

class Push {
  readonly #job: PushInput;
  readonly #session: RegistrySession;
  readonly #origins: BlobOrigins;
  readonly #context: JobContext;
  readonly #known: readonly KnownManifest[];
  readonly #sys = openSyscalls();
  /** Counted as Docker does, in bytes of layers as they are unpacked. */
  readonly #transfers = new Transfers({
    nowMs: () => performance.now(),
    epochMs: () => Date.now(),
  });
  /** Layers that an image has twice are dealt with once. */
  readonly #done = new Map<string, Promise<PushedLayer>>();
  readonly #blobs: LayerBlob[] = [];
  readonly #effort: PackingEffort;
  #uploadedBytes = 0;

  constructor(
    job: PushInput,
    registries: { readonly session: RegistrySession; readonly origins: BlobOrigins },
    context: JobContext,
  ) {
    this.#job = job;
    this.#session = registries.session;
    this.#origins = registries.origins;
    this.#context = context;
    const config = Buffer.from(job.configBase64, 'base64').toString();
    this.#effort = isBalenaDelta(decodeJson(imageConfig, config)) ? 'small' : 'quick';
    this.#known = job.manifests
      .map((record) => ({
        record,
        content: decodeJson(manifest, Buffer.from(record.base64, 'base64').toString('utf8')),
      }))
      .filter(
        ({ content }) =>
          content.config.digest === job.imageId && content.layers.length === job.layers.length,
      );
  }

  async run(): Promise<PushResult> {
    const { path, tags } = this.#job;
    const layers = (await this.#layersAsPulled()) ?? (await this.#pushLayers());
    const config = await this.#pushConfig();
    const same = sameManifest(this.#known, config.digest, layers);
    const wasOci = this.#known[0]?.record.mediaType === MEDIA_TYPE.ociManifest;
    const made =
      same === undefined
        ? newManifest(config, layers, wasOci)
        : {
            mediaType: same.record.mediaType,
            bytes: Buffer.from(same.record.base64, 'base64'),
          };
    const digest = `sha256:${createHash('sha256').update(made.bytes).digest('hex')}` as Digest;
    const size = made.bytes.length;
    for (const tag of tags) {
      await putManifest(this.#session, path, tag, made);
      this.#context.report({ status: `${tag}: digest: ${digest} size: ${size}` });
      this.#context.report({ progressDetail: {}, aux: { Tag: tag, Digest: digest, Size: size } });
    }
    const base64 = Buffer.from(made.bytes).toString('base64');
    return {
      manifest: { digest, mediaType: made.mediaType, base64 },
      sizeBytes: size,
      blobs: this.#blobs,
      uploadedBytes: this.#uploadedBytes,
    };
  }

  /**
   * The layers of the manifest that was pulled, when some of them are not known here in any packed
   * form, because a delta made them, and the registry has all of them or can have them from where
   * the image came from. Which blob unpacks to which layer only that manifest says: so it is used
   * as a whole, in the very document that says so, and nothing of it is remembered.
   */
  async #layersAsPulled(): Promise<PushedLayer[] | undefined> {
    const { access, layers, origins } = this.#job;
    if (layers.every(({ blobs }) => blobs.length > 0)) return undefined;
    const [pulled] = this.#known;
    if (pulled === undefined) return undefined;
    const mounts = origins.flatMap((each) => pathIn(access.domain, each) ?? []);
    const found: PushedLayer[] = [];
    const ways = new Map<string, string>();
    for (const [position, { digest: text, mediaType, size }] of pulled.content.layers.entries()) {
      const blob = { digest: parseDigest(text), mediaType, sizeBytes: size };
      found.push(blob);
      const layer = layers[position];
      if (layer === undefined || ways.has(layer.diffId)) continue;
      let way = await this.#find(blob.digest, mounts);
      if (way === undefined) {
        const line = new LayerProgress(shortId(layer.diffId), this.#context.report);
        if ((await this.#relay(layer, { blob, origins }, line)) !== undefined) return undefined;
        way = 'Pushed';
      }
      ways.set(layer.diffId, way);
    }
    for (const [diffId, way] of ways) {
      new LayerProgress(shortId(diffId), this.#context.report).say(way);
    }
    return found;
  }

  /** How the target has a blob now, in Docker's words; undefined when it has not. */
  async #find(digest: Digest, mountFrom: readonly string[]): Promise<string | undefined> {
    const { path } = this.#job;
    if ((await findBlob(this.#session, path, digest)) !== undefined) return 'Layer already exists';
    for (const from of mountFrom) {
      if (await mountBlob(this.#session, path, { digest, from })) return `Mounted from ${from}`;
    }
    return undefined;
  }

  async #pushLayers(): Promise<PushedLayer[]> {
    const { layers, concurrency } = this.#job;
    const slots = new Semaphore(concurrency);
    const failure = new AbortController();
    // From the top down, as Docker shows them.
    const downwards = [...layers.entries()].reverse();
    const lines = new Map<string, LayerProgress>();
    for (const [, { diffId, tarBytes }] of downwards) {
      if (lines.has(diffId)) continue;
      const line = new LayerProgress(shortId(diffId), this.#context.report, this.#transfers);
      lines.set(diffId, line);
      line.say('Preparing');
      line.expect(tarBytes, 0);
    }
    this.#transfers.begin();
    using _telling = tellAgain([...lines.values()]);
    for (const line of [...lines.values()].slice(concurrency)) line.say('Waiting');
    for (const [position, layer] of downwards) {
      const line = lines.get(layer.diffId);
      if (this.#done.has(layer.diffId) || line === undefined) continue;
      const done = slots.run(async () => {
        failure.signal.throwIfAborted();
        try {
          return await this.#pushLayer(layer, position, line);
        } catch (error) {
          failure.abort(error);
          throw error;
        }
      });
      this.#done.set(layer.diffId, done);
    }
    await Promise.allSettled(this.#done.values());
    return await Promise.all(
      layers.map(async ({ diffId }) => {
        const pushed = await this.#done.get(diffId);
        if (pushed === undefined) throw new Error(`layer ${diffId} was left out`);
        return pushed;
      }),
    );
  }

  async #pushLayer(layer: PushLayer, position: number, line: LayerProgress): Promise<PushedLayer> {
    const { access, path } = this.#job;
    const target = { domain: access.domain, path };
    const preferred = preferredDigest(this.#known, position);
    const candidates = candidateBlobs(layer.blobs, target, preferred);
    for (const { blob, mountFrom } of candidates) {
      const way = await this.#find(blob.digest, mountFrom);
      if (way === undefined) continue;
      line.say(way);
      line.expect(0, 0);
      return this.#remember(layer, blob);
    }
    const [known] = candidates;
    let why: string | undefined;
    if (known !== undefined) {
      const isSame = await this.#packAsKnown(layer, known.blob, line);
      if (!isSame) why = await this.#relay(layer, known, line);
      if (why === undefined) {
        line.say('Pushed');
        return this.#remember(layer, known.blob);
      }
    }
    const { source, head, throughBytes } = this.#packed(layer);
    const sent = await this.#send(line, layer.tarBytes, { source, throughBytes });
    line.say('Pushed');
    if (known !== undefined && sent.digest !== known.blob.digest) {
      const what = `${line.id}: compressed again, its digest differs`;
      this.#context.report({ status: `${what} (${why})` });
    }
    const mediaType = MEDIA_TYPE.dockerLayerGzip;
    return this.#remember(layer, { ...sent, mediaType, headSum: head.sum });
  }

  #remember(layer: PushLayer, pushed: PushedLayer & { readonly headSum?: number }): PushedLayer {
    const { digest, mediaType, sizeBytes, headSum } = pushed;
    const repository = `${this.#job.access.domain}/${this.#job.path}`;
    const known = { diffId: layer.diffId, digest, mediaType, sizeBytes, repository };
    this.#blobs.push(headSum === undefined ? known : { ...known, headSum });
    return { digest, mediaType, sizeBytes };
  }

  /**
   * Packs the layer when that makes the known blob again, as its beginning tells: it was packed by
   * an engine like this one. False when it was not; then nothing was sent, or nothing came of it.
   */
  async #packAsKnown(layer: PushLayer, blob: KnownBlob, line: LayerProgress): Promise<boolean> {
    if (blob.headSum === undefined) return false;
    const trial = this.#packed(layer);
    for await (const _chunk of trial.source) if (trial.head.isFull) break;
    if (trial.head.sum !== blob.headSum) return false;
    const { source, throughBytes } = this.#packed(layer);
    return (await this.#sendExpected(line, layer, { source, throughBytes, blob })) === undefined;
  }

  /**
   * Sends a blob as it is from where it was pulled from; undefined when that is done, else why it
   * could not be had. Only the target's failures are failures of the push.
   */
  async #relay(
    layer: PushLayer,
    { blob, origins }: { readonly blob: PushedLayer; readonly origins: readonly string[] },
    line: LayerProgress,
  ): Promise<string | undefined> {
    let why = 'it is not known where it came from';
    for (const repository of origins) {
      const source = this.#origins.read(repository, blob, (waitMs) => sayRetry(line, waitMs));
      const throughBytes = (sentBytes: number): number =>
        Math.round(layer.tarBytes * (sentBytes / blob.sizeBytes));
      const fault = await this.#sendExpected(line, layer, { source, throughBytes, blob });
      if (fault === undefined) return undefined;
      why = fault;
    }
    return why;
  }

  /** Undefined when the blob was sent, else what was wrong with its source. */
  async #sendExpected(
    line: LayerProgress,
    { tarBytes }: PushLayer,
    { blob, ...parcel }: Parcel & { readonly blob: PushedLayer },
  ): Promise<string | undefined> {
    let fault: unknown;
    const onSourceFault = (error: unknown): void => {
      fault = error;
    };
    try {
      await this.#send(line, tarBytes, { ...parcel, expected: blob.digest, onSourceFault });
      return undefined;
    } catch (error) {
      if (fault === undefined) throw error;
      line.expect(tarBytes, 0);
      return messageOf(fault);
    }
  }

  /** The layer's tar, packed here. */
  #packed({ directory, diffId }: PushLayer): Parcel & { readonly head: BlobHead } {
    const sys = this.#sys;
    const effort = this.#effort;
    let takenBytes = 0;
    // It ends with an error when it is not what its diffID says.
    const tar = function* (): Generator<Buffer> {
      for (const chunk of layerTar({ sys, directory, diffId })) {
        takenBytes += chunk.length;
        yield chunk;
      }
    };
    const head = new BlobHead();
    let packedBytes = 0;
    const source = async function* (): AsyncGenerator<Uint8Array> {
      for await (const chunk of head.noting(gzipped(tar(), effort))) {
        packedBytes += chunk.length;
        yield chunk;
      }
    };
    // What was packed waits to be sent: the tar is through as far as what came of it is.
    const throughBytes = (sentBytes: number): number =>
      Math.round(takenBytes * (sentBytes / packedBytes));
    return { source: source(), head, throughBytes };
  }

  async #send(line: LayerProgress, tarBytes: number, parcel: Parcel): Promise<Sent> {
    const { path, attempts } = this.#job;
    let doneBytes = 0;
    const onSent = (sentBytes: number): void => {
      const before = doneBytes;
      doneBytes = Math.max(before, Math.min(parcel.throughBytes(sentBytes), tarBytes));
      this.#transfers.moved(doneBytes - before);
      line.bytes('Pushing', doneBytes, tarBytes);
    };
    const sent = await uploadBlob(this.#session, {
      ...parcel,
      ...{ path, attempts, onSent },
      onRetry: (waitMs) => sayRetry(line, waitMs),
    });
    this.#uploadedBytes += sent.sizeBytes;
    line.bytes('Pushing', tarBytes, tarBytes, true);
    return sent;
  }

  async #pushConfig(): Promise<{ digest: Digest; sizeBytes: number }> {
    const { path, attempts, imageId, configBase64 } = this.#job;
    const bytes = Buffer.from(configBase64, 'base64');
    if ((await findBlob(this.#session, path, imageId)) === undefined) {
      const source = [bytes];
      await uploadBlob(this.#session, { path, source, attempts });
      this.#uploadedBytes += bytes.length;
    }
    return { digest: imageId, sizeBytes: bytes.length };
  }
}

function sayRetry(line: LayerProgress, waitMs: number): void {
  line.say(`Retrying in ${Math.ceil(waitMs / 1000)} seconds`);
}
