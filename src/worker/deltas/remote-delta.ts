import { type Digest, isSha256, parseDigest } from '../../base/digest.ts';
import { dataLoss, invalidArgument } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { DELTA_BASE, DELTA_SIZE } from '../../formats/delta/artifact.ts';
import {
  DELTA_ARTIFACT_TYPE,
  DELTA_CONFIG_TYPE,
  type DeltaEnvelope,
  decodeEnvelope,
} from '../../formats/delta/envelope.ts';
import { fetchBlob } from '../../registry/blobs.ts';
import { fetchManifest } from '../../registry/manifests.ts';
import { findReferrers } from '../../registry/referrers.ts';
import type { RegistrySession } from '../../registry/session.ts';
import type { Descriptor } from '../../spec/oci/image.ts';

/** A delta as a list of referrers shows it. */
export type ListedDelta = {
  readonly digest: Digest;
  /** ID of the image it starts from, as it says. */
  readonly base: string;
  /** Bytes of its parts, as it says. */
  readonly sizeBytes: number;
};

/** The registry that has them. */
export type DeltaPlace = {
  readonly session: RegistrySession;
  readonly path: string;
  readonly attempts: number;
};

/**
 * The deltas that a registry has to a manifest, the smallest first. What they say is not verified.
 * @throws the registry's error
 */
export async function listDeltas(place: DeltaPlace, manifest: Digest): Promise<ListedDelta[]> {
  const found = await findReferrers(place.session, place.path, manifest, DELTA_ARTIFACT_TYPE);
  return found
    .map(({ digest, annotations }) => ({
      digest: digest as Digest,
      base: annotations[DELTA_BASE] ?? '',
      sizeBytes: Number(annotations[DELTA_SIZE] ?? Number.NaN),
    }))
    .filter(
      ({ digest, base, sizeBytes }) =>
        isSha256(digest) && isSha256(base) && Number.isSafeInteger(sizeBytes) && sizeBytes >= 0,
    )
    .sort((a, b) => a.sizeBytes - b.sizeBytes || (a.digest < b.digest ? -1 : 1));
}

/**
 * Fetches what a delta says of itself.
 * @throws the registry's error; dataLoss or notImplemented for what cannot be used
 */
export async function fetchEnvelope(
  place: DeltaPlace,
  digest: Digest,
): Promise<{ envelope: DeltaEnvelope; bytes: number; layers: readonly Descriptor[] }> {
  const { session, path, attempts } = place;
  const { content, bytes } = await fetchManifest(session, path, digest);
  if (content.kind !== 'image' || content.manifest.config.mediaType !== DELTA_CONFIG_TYPE) {
    throw invalidArgument(`${digest} is not a delta`);
  }
  const { config, layers } = content.manifest;
  const text = await fetchBlob(session, {
    path,
    digest: parseDigest(config.digest),
    sizeBytes: config.size,
    attempts,
    bytesMax: LIMITS.deltaEnvelopeBytesMax,
    what: 'delta',
  });
  const envelope = decodeEnvelope(text.toString('utf8'));
  return { envelope, bytes: bytes.length + text.length, layers };
}

/** @throws dataLoss when the delta is from or to other layers than those that it is looked at for */
export function checkEnvelope(
  envelope: DeltaEnvelope,
  base: { readonly id: string; readonly diffIds: readonly string[] },
  target: { readonly id: string; readonly diffIds: readonly string[] },
): void {
  for (const [what, said, is] of [
    ['base', envelope.base, base],
    ['target', envelope.target, target],
  ] as const) {
    const isSame =
      said.id === is.id &&
      said.diffIds.length === is.diffIds.length &&
      said.diffIds.every((diffId, i) => diffId === is.diffIds[i]);
    if (!isSame) throw dataLoss(`invalid delta: its ${what} is another image`);
  }
}
