import { existsSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { type Digest, parseDigest } from '../../base/digest.ts';
import { errnoOf, isEngineError } from '../../base/errors.ts';
import type { ByteString } from '../../formats/byte-string.ts';
import { writeFileDurably } from '../../kernel/durable.ts';
import type { InflatePoint } from '../../kernel/resumable-inflate.ts';
import { SHA256_STATE_BYTES } from '../../kernel/resumable-sha256.ts';
import { bool, decodeJson, int, string, struct } from '../../spec/decode.ts';
import type { LayerTail } from './layer-tar.ts';

/**
 * How far the extraction of a layer has come, in the file `checkpoint` beside its files: enough to
 * go on from there with the rest of the blob. What the tar says up to there is in the headers and
 * the files themselves, which were on the disk before the checkpoint was; so it holds only what
 * cannot be read from them: the state of the blob's digest, where inflating stood, and of a file in
 * the middle of which that was how much of it counts.
 *
 *   file = "CORACKP1" u32 (bytes of the JSON, little-endian) JSON, zstd frame of the rest
 *   rest = 112 bytes state of the digest, then the inflate window
 *
 * Nothing in it is believed: in the end the digest and the diffID must be right, or all is fetched
 * again.
 */
export type LayerCheckpoint = {
  /** Of the whole blob. */
  readonly digest: Digest;
  /** `delta`: the blob is a delta's part, and stands between two of its frames. */
  readonly compression: CheckpointKind;
  /** Bytes of the `headers` file that were on the disk. */
  readonly headersBytes: number;
  /** Bytes of the blob that `hashState` stands for; at most `point.inputBytes`. */
  readonly hashedBytes: number;
  readonly hashState: Buffer;
  readonly point: InflatePoint;
  /**
   * Bytes that inflating from there gives first although they are here: zstd begins with the frame
   * that it stood in. 0 for the other kinds.
   */
  readonly dropBytes: number;
  /** The last bytes of the tar up to there, when they are the beginning of a file's content. */
  readonly tail: LayerTail | undefined;
};

/** All kinds. */
export const CHECKPOINT_KINDS = ['gzip', 'zstd', 'none', 'delta'] as const;
export type CheckpointKind = (typeof CHECKPOINT_KINDS)[number];
/** Those of a layer that is fetched as it is. */
export const BLOB_CHECKPOINTS = ['gzip', 'zstd', 'none'] as const;
export type CheckpointOf<K extends CheckpointKind> = LayerCheckpoint & { readonly compression: K };
/** Of a layer that is fetched as it is, and of one that a delta makes. */
export type BlobCheckpoint = CheckpointOf<(typeof BLOB_CHECKPOINTS)[number]>;
export type PartCheckpoint = CheckpointOf<'delta'>;

/** The file beside a layer's files. */
export const CHECKPOINT = 'checkpoint';
const MAGIC = Buffer.from('CORACKP1');
const REST_BYTES_MAX = SHA256_STATE_BYTES + (32 << 10);

const numbers = struct('Checkpoint', {
  digest: string,
  compression: string,
  headersBytes: int,
  hashedBytes: int,
  inputBytes: int,
  outputBytes: int,
  bits: int,
  lastByte: int,
  dropBytes: int,
  /** The tail, flat; of no bytes when there is none. */
  tailPath: string,
  tailBytes: int,
  tailIsObject: bool,
});

/** Replaces a layer's checkpoint, durably. Returns the bytes written. */
export function writeCheckpoint(directory: string, checkpoint: LayerCheckpoint): number {
  const { hashState, point, tail, ...own } = checkpoint;
  const { window, ...place } = point;
  const end =
    tail === undefined
      ? {}
      : { tailPath: tail.path, tailBytes: tail.bytes, tailIsObject: tail.isObject };
  const json = Buffer.from(JSON.stringify({ ...own, ...place, ...end }));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(json.length);
  const rest = zstdCompressSync(Buffer.concat([hashState, window]));
  const bytes = Buffer.concat([MAGIC, length, json, rest]);
  writeFileDurably(path.join(directory, CHECKPOINT), bytes);
  return bytes.length;
}

/** The layer is whole: there is nothing to go on from. */
export function removeCheckpoint(directory: string): void {
  rmSync(path.join(directory, CHECKPOINT), { force: true });
}

/**
 * The checkpoint of a layer, of one of these kinds; undefined when there is none, or none that can
 * be used: a layer that replaces entries of its own has moved contents, and what of that is on the
 * disk is not known.
 */
export function findCheckpoint<K extends CheckpointKind>(
  directory: string,
  kinds: readonly K[],
): CheckpointOf<K> | undefined {
  if (existsSync(path.join(directory, 'apart'))) return undefined;
  let bytes: Buffer;
  try {
    bytes = readFileSync(path.join(directory, CHECKPOINT));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
  try {
    const found = decode(bytes);
    return found !== undefined && isOneOf(found, kinds) ? found : undefined;
  } catch (error) {
    // Cut off, damaged, or of another version: there is nothing to go on from.
    if (isEngineError(error) || error instanceof RangeError || errnoOf(error) !== undefined) {
      return undefined;
    }
    throw error;
  }
}

function isOneOf<K extends CheckpointKind>(
  checkpoint: LayerCheckpoint,
  kinds: readonly K[],
): checkpoint is CheckpointOf<K> {
  return kinds.some((kind) => kind === checkpoint.compression);
}

function decode(bytes: Buffer): LayerCheckpoint | undefined {
  if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) return undefined;
  const restAt = MAGIC.length + 4 + bytes.readUInt32LE(MAGIC.length);
  const own = decodeJson(numbers, bytes.toString('utf8', MAGIC.length + 4, restAt));
  const options = { maxOutputLength: REST_BYTES_MAX };
  const rest = zstdDecompressSync(bytes.subarray(restAt), options);
  const { digest, compression, headersBytes, hashedBytes, inputBytes, outputBytes } = own;
  const { bits, lastByte, dropBytes, tailPath, tailBytes, tailIsObject } = own;
  const kind = CHECKPOINT_KINDS.find((each) => each === compression);
  const isSound =
    rest.length >= SHA256_STATE_BYTES &&
    // Only of zstd everything may have to come again, for files that are here.
    (kind === 'zstd' ? 0 <= hashedBytes : 0 < hashedBytes) &&
    hashedBytes <= inputBytes &&
    0 <= dropBytes &&
    dropBytes <= outputBytes &&
    0 <= bits &&
    bits < 8 &&
    0 <= lastByte &&
    lastByte < 256 &&
    0 <= tailBytes &&
    tailBytes <= outputBytes &&
    /^[\x01-\xff]*$/.test(tailPath);
  if (!isSound || kind === undefined) return undefined;
  return {
    digest: parseDigest(digest),
    compression: kind,
    headersBytes,
    hashedBytes,
    hashState: rest.subarray(0, SHA256_STATE_BYTES),
    dropBytes,
    point: { inputBytes, outputBytes, bits, lastByte, window: rest.subarray(SHA256_STATE_BYTES) },
    tail:
      tailBytes === 0
        ? undefined
        : { path: tailPath as ByteString, bytes: tailBytes, isObject: tailIsObject },
  };
}
