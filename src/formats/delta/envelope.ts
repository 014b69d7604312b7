import {
  type DiffId,
  type Digest,
  type ImageId,
  parseDiffId,
  parseDigest,
  parseImageId,
} from '../../base/digest.ts';
import { dataLoss, notImplemented } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import {
  array,
  type Decoded,
  decodeJson,
  int,
  nullable,
  string,
  struct,
} from '../../spec/decode.ts';

/**
 * The envelope of a delta: a small JSON document that says what it turns into what, before a byte
 * of it is fetched. It is the config blob of an OCI artifact; the parts are its layers. The whole
 * format is described in docs/delta-format.md.
 */
export const DELTA_ARTIFACT_TYPE = 'application/vnd.coracle.delta.v1';
export const DELTA_CONFIG_TYPE = 'application/vnd.coracle.delta.config.v1+json';
export const DELTA_PART_TYPE = 'application/vnd.coracle.delta.part.v1+zstd';
export const DELTA_VERSION = 1;

const side = struct('Side', {
  /** The image's ID: sha256 of its config. */
  config: string,
  /** Bottom first. */
  diffIds: array(string),
});

const document = struct('Delta', {
  version: int,
  base: side,
  target: side,
  /** Digest of the manifest that the target's own layers can be pulled by, when a part fails. */
  manifest: string,
  /** The target's config, exact bytes in base64: its sha256 is `target.config`. */
  config: string,
  /** For each layer of the target: null when the base has it, or its part. */
  parts: array(
    nullable(
      struct('Part', {
        digest: string,
        size: int,
        /** Bytes of its frames, in order. */
        frames: array(int),
        tarBytes: int,
      }),
    ),
  ),
});

/** One layer's part, as a registry stores it. */
export type DeltaPart = {
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Lengths of its zstd frames: each can be decoded by itself, so that a reader may begin there. */
  readonly frames: readonly number[];
  /** Bytes of the layer's tar, which the decoder keeps to. */
  readonly tarBytes: number;
};

export type DeltaEnvelope = {
  readonly base: { readonly id: ImageId; readonly diffIds: readonly DiffId[] };
  readonly target: { readonly id: ImageId; readonly diffIds: readonly DiffId[] };
  readonly manifest: Digest | undefined;
  readonly config: Uint8Array;
  readonly parts: readonly (DeltaPart | undefined)[];
};

/** The envelope's bytes: the same envelope gives the same bytes. */
export function encodeEnvelope(envelope: DeltaEnvelope): string {
  const sideOf = ({ id, diffIds }: DeltaEnvelope['base']) => ({
    config: id,
    diffIds: [...diffIds],
  });
  return JSON.stringify({
    version: DELTA_VERSION,
    base: sideOf(envelope.base),
    target: sideOf(envelope.target),
    manifest: envelope.manifest ?? '',
    config: Buffer.from(envelope.config).toString('base64'),
    parts: envelope.parts.map((part) =>
      part === undefined
        ? null
        : {
            digest: part.digest,
            size: part.sizeBytes,
            frames: [...part.frames],
            tarBytes: part.tarBytes,
          },
    ),
  } satisfies Decoded<typeof document>);
}

/**
 * Reads and checks an envelope. That `config` hashes to the target's ID is for the caller to check,
 * who hashes.
 * @throws notImplemented for a later version; dataLoss for anything that does not add up
 */
export function decodeEnvelope(text: string): DeltaEnvelope {
  const { version } = decodeJson(struct('Delta', { version: int }), text);
  if (version !== DELTA_VERSION) {
    throw notImplemented(
      `cannot use a delta of version ${version}: this engine knows version ${DELTA_VERSION}; update it or pull without deltas`,
    );
  }
  const raw = decodeJson(document, text);
  if (raw.parts.length !== raw.target.diffIds.length) {
    throw dataLoss('invalid delta: it does not have a part for each layer');
  }
  if (raw.target.diffIds.length > LIMITS.layersMax) {
    throw dataLoss('invalid delta: it has too many layers');
  }
  const baseDiffIds = raw.base.diffIds.map(parseDiffId);
  const targetDiffIds = raw.target.diffIds.map(parseDiffId);
  const parts = raw.parts.map((part, i) => {
    if (part !== null) {
      if (part.size < 0 || part.tarBytes < 0 || part.tarBytes > LIMITS.layerBytesMax) {
        throw dataLoss('invalid delta: a part has an impossible length');
      }
      const { size: sizeBytes, frames, tarBytes } = part;
      const isWhole = frames.reduce((sum, bytes) => sum + bytes, 0) === sizeBytes;
      if (!isWhole || frames.some((bytes) => bytes <= 0)) {
        throw dataLoss('invalid delta: the frames of a part are not the whole of it');
      }
      return { digest: parseDigest(part.digest), sizeBytes, frames, tarBytes };
    }
    const diffId = targetDiffIds[i];
    if (diffId === undefined || !baseDiffIds.includes(diffId)) {
      throw dataLoss('invalid delta: a layer without a part is not in the base');
    }
    return undefined;
  });
  return {
    base: { id: parseImageId(raw.base.config), diffIds: baseDiffIds },
    target: { id: parseImageId(raw.target.config), diffIds: targetDiffIds },
    manifest: raw.manifest === '' ? undefined : parseDigest(raw.manifest),
    config: Buffer.from(raw.config, 'base64'),
    parts,
  };
}
