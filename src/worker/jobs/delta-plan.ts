import { LIMITS } from '../../base/limits.ts';
import { parseReference } from '../../base/reference.ts';
import { checkManifest, layersToFetch, wantedLayers } from '../../policy/pull-plan.ts';
import { fetchBlob } from '../../registry/blobs.ts';
import { fetchManifest } from '../../registry/manifests.ts';
import { pullError } from '../../registry/registry-error.ts';
import type { RegistrySession } from '../../registry/session.ts';
import type { DeltaPlan } from '../../spec/delta-plan.ts';
import type { LocalBase } from '../deltas/delta-pull.ts';
import { listDeltas } from '../deltas/remote-delta.ts';
import type { JobContext } from '../job.ts';
import type { PullInput, PullQuestion } from '../pull-protocol.ts';
import { openWorkerSession } from '../registry-session.ts';
import { decodeImageConfig, resolveImage } from '../resolve-image.ts';

/** The job `delta-plan`: what a pull would cost by each way. Nothing of the content is fetched. */
export async function deltaPlan(input: unknown, context: JobContext): Promise<DeltaPlan> {
  const job = input as PullInput;
  await using session = await openWorkerSession(job.access, context.signal);
  try {
    return await plan(job, session, (question) => context.ask(question));
  } catch (error) {
    throw pullError(error, parseReference(job.familiar));
  }
}

async function plan(
  job: PullInput,
  session: RegistrySession,
  ask: (question: PullQuestion) => Promise<unknown>,
): Promise<DeltaPlan> {
  const { path, attempts, host, platform } = job;
  const named = await fetchManifest(session, path, job.reference);
  const { chain, manifest } = await resolveImage(session, path, named, platform ?? host);
  const { config, configBytes } = checkManifest(manifest);
  const digest = (chain.at(-1) ?? named).digest;
  const blob = { path, digest: config, sizeBytes: configBytes, attempts };
  const bytesMax = LIMITS.imageConfigBytesMax;
  const text = await fetchBlob(session, { ...blob, bytesMax, what: 'image config' });
  const layers = wantedLayers(manifest, decodeImageConfig(text));
  const question = layers.map(({ diffId, digest }) => ({ diffId, digest }));
  const here = (await ask({ ask: 'layers', layers: question })) as boolean[];
  const missing = layersToFetch(layers, (layer) => here[layer.position] === true);
  const bytes = missing.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const listed = await listDeltas({ session, path, attempts }, digest);
  const ids = listed.map(({ base }) => base);
  const bases = (await ask({ ask: 'bases', ids })) as (LocalBase | null)[];
  const deltas = listed.map((each, i) => ({
    Digest: each.digest,
    Base: each.base,
    BaseName: bases[i]?.name ?? '',
    Bytes: each.sizeBytes,
  }));
  const delta = deltas.find(({ BaseName, Bytes }) => BaseName !== '' && Bytes < bytes);
  return {
    Target: job.familiar,
    Id: config,
    Digest: digest,
    Layers: { Total: layers.length, Missing: missing.length, Bytes: bytes },
    Deltas: deltas,
    Choice: missing.length === 0 ? 'nothing' : (delta?.Digest ?? 'layers'),
  };
}
