import { createHash } from 'node:crypto';
import { type Digest, parseDigest } from '../../base/digest.ts';
import type { Descriptor } from '../../spec/oci/image.ts';
import { MEDIA_TYPE } from '../../spec/oci/image.ts';
import {
  DELTA_ARTIFACT_TYPE,
  DELTA_CONFIG_TYPE,
  DELTA_PART_TYPE,
  type DeltaEnvelope,
  encodeEnvelope,
} from './envelope.ts';
import { DELTA_REPORT_TYPE } from './report.ts';

/** Annotations of a delta's manifest: what a list of referrers says of it. */
export const DELTA_BASE = 'dev.coracle.delta.base';
export const DELTA_SIZE = 'dev.coracle.delta.size';

/** The manifest that a delta refers to. */
export type Subject = {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
};

/** A delta as an OCI artifact: its documents. Its parts are blobs of their own. */
export type DeltaArtifact = {
  readonly envelope: Buffer;
  readonly envelopeDigest: Digest;
  readonly manifest: Buffer;
  /** The descriptor that lists of referrers have. */
  readonly descriptor: Pick<Descriptor, 'mediaType' | 'digest' | 'size' | 'artifactType'> & {
    readonly annotations: Readonly<Record<string, string>>;
  };
};

const digestOf = (bytes: Uint8Array): Digest =>
  parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);

/** Bytes that a device downloads when it has none of the target's own layers. */
export function deltaBytes(envelope: DeltaEnvelope): number {
  return envelope.parts.reduce((sum, part) => sum + (part?.sizeBytes ?? 0), 0);
}

/** The artifact of a delta; the same delta gives the same bytes. */
export function deltaArtifact(
  delta: DeltaEnvelope,
  subject: Subject,
  report: { readonly digest: Digest; readonly sizeBytes: number },
): DeltaArtifact {
  const envelope = Buffer.from(encodeEnvelope(delta));
  const envelopeDigest = digestOf(envelope);
  const annotations = { [DELTA_BASE]: delta.base.id, [DELTA_SIZE]: String(deltaBytes(delta)) };
  const parts = delta.parts.filter((part) => part !== undefined);
  const distinct = [...new Map(parts.map((part) => [part.digest, part])).values()];
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      artifactType: DELTA_ARTIFACT_TYPE,
      config: {
        mediaType: DELTA_CONFIG_TYPE,
        digest: envelopeDigest,
        size: envelope.length,
      },
      layers: [
        ...distinct.map(({ digest, sizeBytes }) => ({
          mediaType: DELTA_PART_TYPE,
          digest,
          size: sizeBytes,
        })),
        { mediaType: DELTA_REPORT_TYPE, digest: report.digest, size: report.sizeBytes },
      ],
      subject: {
        mediaType: subject.mediaType,
        digest: subject.digest,
        size: subject.sizeBytes,
      },
      annotations,
    }),
  );
  const descriptor = {
    mediaType: MEDIA_TYPE.ociManifest,
    digest: digestOf(manifest),
    size: manifest.length,
    artifactType: DELTA_ARTIFACT_TYPE,
    annotations,
  };
  return { envelope, envelopeDigest, manifest, descriptor };
}
