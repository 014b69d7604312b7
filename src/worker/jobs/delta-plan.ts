import { isEngineError, messageOf } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { parseReference } from '../../base/reference.ts';
import { checkManifest, layersToFetch, wantedLayers } from '../../policy/pull-plan.ts';
import { fetchBlob } from '../../registry/blobs.ts';
import { fetchManifest } from '../../registry/manifests.ts';
import { pullError } from '../../registry/registry-error.ts';
import type { RegistrySession } from '../../registry/session.ts';
import type { DeltaPlan, PlannedDelta } from '../../spec/delta-plan.ts';
import { type DeltaQuest, deltaOffers, layerBytes } from '../deltas/delta-offers.ts';
import type { JobContext } from '../job.ts';
import type { BasesAnswer, PullInput, PullQuestion } from '../pull-protocol.ts';
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
  const wanted = layersToFetch(layers, (layer) => here[layer.position] === true);
  const { Deltas, Problem } = await planDeltas({
    ...{ place: { session, path, attempts }, mode: job.delta, manifest: digest, wanted },
    target: { id: config, diffIds: layers.map(({ diffId }) => diffId) },
    bases: async (ids) => (await ask({ ask: 'bases', ids })) as BasesAnswer,
  });
  const chosen = Deltas.find(({ isChosen }) => isChosen)?.planned.Digest;
  return {
    Target: job.familiar,
    Id: config,
    Digest: digest,
    Layers: { Total: layers.length, Missing: wanted.length, Bytes: layerBytes({ wanted }) },
    Deltas: Deltas.map(({ planned }) => planned),
    Problem,
    Choice: wanted.length === 0 ? 'nothing' : (chosen ?? 'layers'),
  };
}

/** The deltas as a pull would weigh them. What fails on the way leaves the layers. */
async function planDeltas(quest: DeltaQuest) {
  const Deltas: { readonly planned: PlannedDelta; readonly isChosen: boolean }[] = [];
  try {
    for await (const { digest, base, local, sizeBytes, read, failure } of deltaOffers(quest)) {
      const planned = {
        Digest: digest,
        Base: base,
        BaseName: local?.name ?? '',
        Bytes: sizeBytes,
        Problem: failure === undefined ? '' : messageOf(failure),
      };
      Deltas.push({ planned, isChosen: read?.isChosen === true });
    }
  } catch (error) {
    quest.place.session.signal.throwIfAborted();
    if (!isEngineError(error)) throw error;
    return { Deltas, Problem: messageOf(error) };
  }
  return { Deltas, Problem: '' };
}
