import { DEFAULT_TAG, familiarReference, withDefaultTag } from '../../base/reference.ts';
import { parsePlatform } from '../../policy/platform.ts';
import type { InspectedDelta } from '../../spec/delta-inspect.ts';
import type { DeltaPlan } from '../../spec/delta-plan.ts';
import type { AuthConfig } from '../../spec/docker/auth.ts';
import type { PullInput, PullQuestion } from '../../worker/pull-protocol.ts';
import type { Call } from '../call.ts';
import { hostOf, PullAnswers, type PullEngine, pullReference } from '../images/pull.ts';
import { registryAccess } from '../images/registry-access.ts';

/** Arguments of `GET /deltas/plan`. */
export type DeltaPlanArgs = {
  readonly query: { readonly target: string; readonly platform: string };
  readonly headers: { readonly registryAuth: AuthConfig | undefined };
};

/**
 * What a pull would download by each way: the layers, or a delta beside the image.
 * @throws invalidArgument for a bad reference; the registry's error
 */
export async function deltaPlan(
  engine: PullEngine,
  { query, headers }: DeltaPlanArgs,
  { signal }: Call,
): Promise<DeltaPlan> {
  const input = questionInput(engine, query, headers.registryAuth);
  await using answers = new PullAnswers(engine);
  await using job = await engine.workers.start('delta-plan', input, {
    signal,
    onQuestion: (question) => answers.answer(question as PullQuestion),
  });
  return (await job.result) as DeltaPlan;
}

/** Shows where the bytes of the deltas to an image go. @throws notFound when there are none */
export async function deltaInspect(
  engine: PullEngine,
  { query, headers }: DeltaPlanArgs,
  { signal }: Call,
): Promise<readonly InspectedDelta[]> {
  const input = questionInput(engine, query, headers.registryAuth);
  await using job = await engine.workers.start('delta-inspect', input, { signal });
  return (await job.result) as InspectedDelta[];
}

/** What a pull of the image would be told. */
function questionInput(
  engine: PullEngine,
  query: DeltaPlanArgs['query'],
  auth: AuthConfig | undefined,
): PullInput {
  const reference = withDefaultTag(pullReference(query.target, ''));
  const host = hostOf();
  return {
    access: registryAccess(engine, reference.domain, auth),
    path: reference.path,
    reference: reference.digest ?? reference.tag ?? DEFAULT_TAG,
    familiar: familiarReference(reference),
    platform: query.platform === '' ? null : parsePlatform(query.platform, host),
    host,
    attempts: engine.config().maxDownloadAttempts,
    bytesPerSecMax: engine.config().maxDownloadRate,
    concurrency: 1,
    delta: engine.config().delta,
    staging: '',
  };
}
