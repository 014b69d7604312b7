import { createHash } from 'node:crypto';
import { type Digest, parseDigest } from '../../base/digest.ts';
import { type DeltaArtifact, deltaArtifact, type Subject } from '../../formats/delta/artifact.ts';
import type { DeltaEnvelope } from '../../formats/delta/envelope.ts';
import { encodeReport, type ReportLayer, reportLayer } from '../../formats/delta/report.ts';
import type { MadeDelta } from './delta-maker.ts';
import type { DeltaImage } from './delta-source.ts';

/** A delta, ready to be sent: its parts lie in files, the rest is here. */
export type AssembledDelta = {
  readonly envelope: DeltaEnvelope;
  readonly parts: readonly { readonly digest: Digest; readonly file: string }[];
  readonly report: { readonly digest: Digest; readonly bytes: Buffer };
  readonly artifact: DeltaArtifact;
};

/** Puts the documents of a delta together. */
export function assembleDelta(
  { base, parts }: MadeDelta,
  target: DeltaImage,
  subject: Subject,
): AssembledDelta {
  const side = ({ id, diffIds }: DeltaImage) => ({ id, diffIds });
  const envelope: DeltaEnvelope = {
    base: side(base),
    target: side(target),
    manifest: subject.digest,
    config: target.config,
    parts,
  };
  const layers: ReportLayer[] = [];
  const files = new Map<Digest, string>();
  for (const [i, part] of parts.entries()) {
    if (part === undefined || files.has(part.digest)) continue;
    files.set(part.digest, part.file);
    layers.push(reportLayer({ ...part, diffId: target.diffIds[i] ?? '' }));
  }
  const bytes = encodeReport(layers);
  const digest = parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
  const artifact = deltaArtifact(envelope, subject, { digest, sizeBytes: bytes.length });
  return {
    envelope,
    parts: Array.from(files, ([digest, file]) => ({ digest, file })),
    report: { digest, bytes },
    artifact,
  };
}
