import { createHash } from 'node:crypto';
import { Semaphore } from '../../base/async.ts';
import { type Digest, parseDigest, shortId } from '../../base/digest.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { gzipped } from '../../kernel/gzip-packer.ts';
import {
  candidateBlobs,
  newManifest,
  type PushedLayer,
  preferredDigest,
  sameManifest,
} from '../../policy/push-plan.ts';
import type { RegistrySession } from '../../registry/session.ts';
import { findBlob, mountBlob, putManifest, uploadBlob } from '../../registry/upload.ts';
import { decodeJson } from '../../spec/decode.ts';
import { type Manifest, MEDIA_TYPE, manifest } from '../../spec/oci/image.ts';
import type { LayerBlob } from '../../store/layer-store.ts';
import { layerTar } from '../../store/layers/layer-tar.ts';
import type { JobContext } from '../job.ts';
import { LayerProgress, tellAgain } from '../layer-progress.ts';
import type { PulledManifest, PushInput, PushLayer, PushResult } from '../pull-protocol.ts';
import { openWorkerSession } from '../registry-session.ts';
import { Transfers } from '../transfers.ts';

/**
 * The job `push`: each layer by the cheapest way (there already, mounted from another repository,
 * sent), then the config, then the manifest under each tag. The manifest that was pulled is pushed
 * again as it is when the registry has just its layers.
 */
export async function push(input: unknown, context: JobContext): Promise<PushResult> {
  const job = input as PushInput;
  await using session = await openWorkerSession(job.access, context.signal);
  return await new Push(job, session, context).run();
}

type KnownManifest = { readonly record: PulledManifest; readonly content: Manifest };

class Push {
  readonly #job: PushInput;
  readonly #session: RegistrySession;
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
  #uploadedBytes = 0;

  constructor(job: PushInput, session: RegistrySession, context: JobContext) {
    this.#job = job;
    this.#session = session;
    this.#context = context;
    this.#known = job.manifests.map((record) => ({
      record,
      content: decodeJson(manifest, Buffer.from(record.base64, 'base64').toString('utf8')),
    }));
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
   * form, because a delta made them, and the registry has all of them. Which blob unpacks to which
   * layer only that manifest says: so it is used as a whole, in the very document that says so, and
   * nothing of it is remembered.
   */
  async #layersAsPulled(): Promise<PushedLayer[] | undefined> {
    const { imageId, layers } = this.#job;
    if (layers.every(({ blobs }) => blobs.length > 0)) return undefined;
    const pulled = this.#known.find(
      ({ content }) => content.config.digest === imageId && content.layers.length === layers.length,
    );
    if (pulled === undefined) return undefined;
    const found: PushedLayer[] = [];
    for (const { digest: text, mediaType, size } of pulled.content.layers) {
      const digest = parseDigest(text);
      if (!(await this.#hasOrMounts(digest))) return undefined;
      found.push({ digest, mediaType, sizeBytes: size });
    }
    for (const diffId of new Set(layers.map((layer) => layer.diffId))) {
      new LayerProgress(shortId(diffId), this.#context.report).say('Layer already exists');
    }
    return found;
  }

  async #hasOrMounts(digest: Digest): Promise<boolean> {
    const { path, pulledFrom } = this.#job;
    if ((await findBlob(this.#session, path, digest)) !== undefined) return true;
    for (const from of pulledFrom) {
      if (await mountBlob(this.#session, path, { digest, from })) return true;
    }
    return false;
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
      const isThere = (await findBlob(this.#session, path, blob.digest)) !== undefined;
      if (isThere) {
        line.say('Layer already exists');
        line.expect(0, 0);
        return this.#remember(layer, blob);
      }
      for (const from of mountFrom) {
        if (await mountBlob(this.#session, path, { digest: blob.digest, from })) {
          line.say(`Mounted from ${from}`);
          line.expect(0, 0);
          return this.#remember(layer, blob);
        }
      }
    }
    const sent = await this.#send(layer, line);
    line.say('Pushed');
    return this.#remember(layer, { ...sent, mediaType: MEDIA_TYPE.dockerLayerGzip });
  }

  #remember(layer: PushLayer, pushed: PushedLayer): PushedLayer {
    const { digest, mediaType, sizeBytes } = pushed;
    const repository = `${this.#job.access.domain}/${this.#job.path}`;
    this.#blobs.push({ diffId: layer.diffId, digest, mediaType, sizeBytes, repository });
    return { digest, mediaType, sizeBytes };
  }

  async #send(
    layer: PushLayer,
    line: LayerProgress,
  ): Promise<{ digest: Digest; sizeBytes: number }> {
    const { path, attempts } = this.#job;
    const sys = this.#sys;
    const { directory, diffId, tarBytes } = layer;
    let takenBytes = 0;
    // It ends with an error when it is not what its diffID says.
    const tar = function* (): Generator<Buffer> {
      for (const chunk of layerTar({ sys, directory, diffId })) {
        takenBytes += chunk.length;
        yield chunk;
      }
    };
    let packedBytes = 0;
    const source = async function* (): AsyncGenerator<Uint8Array> {
      for await (const chunk of gzipped(tar())) {
        packedBytes += chunk.length;
        yield chunk;
      }
    };
    let doneBytes = 0;
    // What was packed waits to be sent: the tar is through as far as what came of it is.
    const onSent = (sentBytes: number): void => {
      const throughBytes = Math.round(takenBytes * (sentBytes / packedBytes));
      const before = doneBytes;
      doneBytes = Math.max(before, Math.min(throughBytes, tarBytes));
      this.#transfers.moved(doneBytes - before);
      line.bytes('Pushing', doneBytes, tarBytes);
    };
    const sent = await uploadBlob(this.#session, {
      path,
      source: source(),
      attempts,
      onSent,
      onRetry: (waitMs) => line.say(`Retrying in ${Math.ceil(waitMs / 1000)} seconds`),
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
