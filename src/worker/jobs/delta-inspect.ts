import { type Digest, parseDigest } from '../../base/digest.ts';
import { notFound } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { parseReference } from '../../base/reference.ts';
import { DELTA_REPORT_TYPE, decodeReport } from '../../formats/delta/report.ts';
import { fetchBlob } from '../../registry/blobs.ts';
import { fetchManifest } from '../../registry/manifests.ts';
import { pullError } from '../../registry/registry-error.ts';
import type { InspectedDelta } from '../../spec/delta-inspect.ts';
import { type DeltaPlace, fetchEnvelope, listDeltas } from '../deltas/remote-delta.ts';
import type { JobContext } from '../job.ts';
import type { PullInput } from '../pull-protocol.ts';
import { openWorkerSession } from '../registry-session.ts';
import { resolveImage } from '../resolve-image.ts';

/** The job `delta-inspect`: what the deltas to an image say of where their bytes go. */
export async function deltaInspect(input: unknown, context: JobContext): Promise<InspectedDelta[]> {
  const job = input as PullInput;
  await using session = await openWorkerSession(job.access, context.signal);
  const place = { session, path: job.path, attempts: job.attempts };
  try {
    const named = await fetchManifest(session, job.path, job.reference);
    const want = job.platform ?? job.host;
    const { chain } = await resolveImage(session, job.path, named, want);
    const listed = await listDeltas(place, (chain.at(-1) ?? named).digest);
    if (listed.length === 0) throw notFound(`there is no delta to ${job.familiar}`);
    const found: InspectedDelta[] = [];
    for (const { digest } of listed.slice(0, LIMITS.deltasInspectedMax)) {
      found.push(await inspect(place, digest));
    }
    return found;
  } catch (error) {
    throw pullError(error, parseReference(job.familiar));
  }
}

async function inspect(place: DeltaPlace, digest: Digest): Promise<InspectedDelta> {
  const { envelope, layers } = await fetchEnvelope(place, digest);
  const blob = layers.find(({ mediaType }) => mediaType === DELTA_REPORT_TYPE);
  if (blob === undefined) throw notFound(`the delta ${digest} has no report of its bytes`);
  const bytes = await fetchBlob(place.session, {
    path: place.path,
    digest: parseDigest(blob.digest),
    sizeBytes: blob.size,
    attempts: place.attempts,
    bytesMax: LIMITS.deltaReportBytesMax,
    what: 'report of a delta',
  });
  const { base, target } = envelope;
  return { Digest: digest, Base: base.id, Target: target.id, Report: decodeReport(bytes) };
}
