import { createReadStream } from 'node:fs';
import { humanSize } from '../../base/bytes.ts';
import { type Digest, parseDigest } from '../../base/digest.ts';
import { EngineError, isEngineError, notFound } from '../../base/errors.ts';
import { deltaBytes, type Subject } from '../../formats/delta/artifact.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { fetchManifest } from '../../registry/manifests.ts';
import { putReferrer } from '../../registry/referrers.ts';
import type { RegistrySession } from '../../registry/session.ts';
import { findBlob, uploadBlob } from '../../registry/upload.ts';
import { LayerEntries } from '../../store/layers/layer-entries.ts';
import { layerTar } from '../../store/layers/layer-tar.ts';
import { type AssembledDelta, assembleDelta } from '../deltas/assemble.ts';
import { makeDeltas } from '../deltas/delta-maker.ts';
import type { DeltaImage } from '../deltas/delta-source.ts';
import type {
  DeltaPublishInput,
  DeltaPublishResult,
  PublishedDelta,
  StoredImage,
} from '../deltas/publish-protocol.ts';
import type { JobContext } from '../job.ts';
import { LayerProgress } from '../layer-progress.ts';
import { openWorkerSession } from '../registry-session.ts';

/**
 * The job `delta-publish`: deltas from images that are here to one that is here and in a registry,
 * each sent there as an artifact that refers to it. The target is read once for all of them.
 */
export async function deltaPublish(
  input: unknown,
  context: JobContext,
): Promise<DeltaPublishResult> {
  const job = input as DeltaPublishInput;
  await using session = await openWorkerSession(job.access, context.signal);
  const subject = await findSubject(session, job);
  const sys = openSyscalls();
  using stack = new DisposableStack();
  const open = (image: StoredImage): DeltaImage => openImage(sys, image, stack);
  const target = open(job.target);
  const line = new LayerProgress('delta', context.report);
  line.say('Comparing');
  const made = await makeDeltas({
    target,
    bases: job.bases.map(open),
    folder: job.staging,
    signal: context.signal,
    onProgress: (bytes, total) => line.bytes('Comparing', bytes, total),
  });
  const published: PublishedDelta[] = [];
  for (const [i, delta] of made.entries()) {
    const assembled = assembleDelta(delta, target, subject);
    const base = job.bases[i]?.name ?? '';
    line.say(`Pushing the delta from ${base}`);
    try {
      await publish(session, job, assembled, subject.digest);
    } catch (error) {
      session.signal.throwIfAborted();
      throw notPushed(error, `the delta from ${base} to ${job.target.name}`);
    }
    const sizeBytes = deltaBytes(assembled.envelope);
    const { digest } = assembled.artifact.descriptor;
    published.push({ base, digest: parseDigest(digest), sizeBytes });
    context.report({
      status: `Delta from ${base} to ${job.target.name}: ${humanSize(sizeBytes, 3)}, ${digest}`,
    });
  }
  return published;
}

/** How registries say that they do not take such a manifest. */
const NOT_TAKEN = [400, 405, 415, 422];

/** A registry's words do not say what they are about. */
function notPushed(error: unknown, what: string): unknown {
  if (!isEngineError(error)) return error;
  const { kind, detail, message } = error;
  const isTaken = !NOT_TAKEN.includes(Number(detail['status']));
  const hint = isTaken ? '' : ' (does this registry take OCI artifacts?)';
  return new EngineError(kind, `cannot push ${what}: ${message}${hint}`, { cause: error, detail });
}

/** The manifest by which this repository has the target. @throws notFound */
async function findSubject(session: RegistrySession, job: DeltaPublishInput): Promise<Subject> {
  for (const digest of job.manifests) {
    try {
      const { mediaType, bytes, content } = await fetchManifest(session, job.path, digest);
      if (content.kind === 'image') return { mediaType, digest, sizeBytes: bytes.length };
    } catch (error) {
      if (!isEngineError(error, 'notFound') && !isUnknown(error)) throw error;
    }
  }
  const repository = `${job.access.domain}/${job.path}`;
  throw notFound(
    `cannot push a delta to ${job.target.name}: ${repository} does not have this image; push it first`,
  );
}

function isUnknown(error: unknown): boolean {
  return isEngineError(error) && error.detail['status'] === 404;
}

function openImage(sys: Syscalls, image: StoredImage, stack: DisposableStack): DeltaImage {
  const { id, layers } = image;
  return {
    id,
    config: Buffer.from(image.configBase64, 'base64'),
    diffIds: layers.map(({ diffId }) => diffId),
    entries: stack.use(
      new LayerEntries(
        sys,
        layers.map(({ directory }) => directory),
      ),
    ),
    tar: (position) => {
      const layer = layers[position];
      if (layer === undefined) throw new Error('assertion failed: no such layer');
      return layerTar({ sys, ...layer });
    },
  };
}

/** Sends what the registry has not, and the manifest at last. */
async function publish(
  session: RegistrySession,
  { path, attempts }: DeltaPublishInput,
  { parts, report, artifact }: AssembledDelta,
  subject: Digest,
): Promise<void> {
  const send = async (
    digest: Digest,
    source: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  ): Promise<void> => {
    if ((await findBlob(session, path, digest)) !== undefined) return;
    await uploadBlob(session, { path, source: source(), attempts });
  };
  for (const { digest, file } of parts) {
    await send(digest, () => createReadStream(file, { highWaterMark: 1 << 20 }));
  }
  await send(report.digest, () => [report.bytes]);
  await send(artifact.envelopeDigest, () => [artifact.envelope]);
  await putReferrer(session, path, subject, {
    referrer: artifact.descriptor,
    bytes: artifact.manifest,
  });
}
