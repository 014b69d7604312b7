import { createHash } from 'node:crypto';
import { type Digest, parseDigest } from '../base/digest.ts';
import { dataLoss, EngineError, invalidArgument, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import {
  type Decoded,
  type Decoder,
  decodeJson,
  int,
  json,
  string,
  struct,
} from '../spec/decode.ts';
import { type Index, index, type Manifest, MEDIA_TYPE, manifest } from '../spec/oci/image.ts';
import { registryError } from './registry-error.ts';
import type { RegistrySession } from './session.ts';

/** Manifests of a registry: fetched, checked against their digest, told apart, decoded. */
export type FetchedManifest = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
  readonly content:
    | { readonly kind: 'image'; readonly manifest: Manifest }
    | { readonly kind: 'index'; readonly index: Index };
};

const ACCEPT = [
  MEDIA_TYPE.ociManifest,
  MEDIA_TYPE.ociIndex,
  MEDIA_TYPE.dockerManifest,
  MEDIA_TYPE.dockerList,
  MEDIA_TYPE.dockerSchema1Signed,
  MEDIA_TYPE.dockerSchema1,
].join(', ');

const IMAGE_TYPES: readonly string[] = [MEDIA_TYPE.ociManifest, MEDIA_TYPE.dockerManifest];
const INDEX_TYPES: readonly string[] = [MEDIA_TYPE.ociIndex, MEDIA_TYPE.dockerList];
const SCHEMA1_TYPES: readonly string[] = [MEDIA_TYPE.dockerSchema1, MEDIA_TYPE.dockerSchema1Signed];

/** What tells the kinds apart. */
const outline = struct('Manifest', {
  schemaVersion: int,
  mediaType: string,
  layers: json,
  config: json,
  manifests: json,
  fsLayers: json,
});

/** The media type without parameters, in lower case. */
function bareType(contentType: string | undefined): string {
  return (contentType ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}

/**
 * Decodes a manifest. The media type is what the document says of itself, else what the server
 * said; where neither does (old OCI manifests from plain file servers) the fields tell.
 *
 * @throws invalidArgument for what is no manifest, or one of a kind that is not supported
 */
export function decodeManifest(
  bytes: Uint8Array,
  contentType: string | undefined,
): { mediaType: string; content: FetchedManifest['content'] } {
  const text = Buffer.from(bytes).toString('utf8');
  const served = bareType(contentType);
  const head = decodeAnswer(outline, { text, contentType, what: 'manifest' });
  const said = head.mediaType === '' ? served : head.mediaType;
  const mediaType = isKnown(said) ? said : (guess(head) ?? said);
  if (SCHEMA1_TYPES.includes(mediaType) || head.schemaVersion === 1) {
    throw invalidArgument(
      'the image has a manifest of schema version 1, which is not supported: push it again with a current tool, as an OCI or Docker schema 2 image',
    );
  }
  if (INDEX_TYPES.includes(mediaType)) {
    const decoded = decodeJson(index, text);
    if (Array.isArray(head.layers))
      throw invalidArgument('the manifest is both an image and a list');
    if (decoded.manifests.length > LIMITS.indexEntriesMax) {
      throw invalidArgument(`the manifest list has more than ${LIMITS.indexEntriesMax} entries`);
    }
    return { mediaType, content: { kind: 'index', index: decoded } };
  }
  if (IMAGE_TYPES.includes(mediaType)) {
    const decoded = decodeJson(manifest, text);
    if (Array.isArray(head.manifests)) {
      throw invalidArgument('the manifest is both an image and a list');
    }
    return { mediaType, content: { kind: 'image', manifest: decoded } };
  }
  throw invalidArgument(`unsupported manifest media type ${JSON.stringify(said.slice(0, 200))}`);
}

/**
 * Decodes a document of a registry.
 * @throws invalidArgument for what is no such document, a web page above all
 */
export function decodeAnswer<T>(
  decoder: Decoder<T>,
  answer: {
    readonly text: string;
    readonly contentType: string | undefined;
    /** `list of tags`. */
    readonly what: string;
  },
): T {
  const { text, contentType, what } = answer;
  try {
    return decodeJson(decoder, text);
  } catch (cause) {
    if (bareType(contentType) === 'text/html' || /^\s*</.test(text)) {
      throw invalidArgument(
        `the registry answered with a web page instead of a ${what}: is there a proxy or a login page in between?`,
        { cause },
      );
    }
    throw invalidArgument(`the ${what} is not valid: ${messageOf(cause)}`, { cause });
  }
}

function isKnown(mediaType: string): boolean {
  return [...IMAGE_TYPES, ...INDEX_TYPES, ...SCHEMA1_TYPES].includes(mediaType);
}

function guess(head: Decoded<typeof outline>): string | undefined {
  // A document that names a type of its own is not guessed at.
  if (head.mediaType !== '') return undefined;
  if (Array.isArray(head.fsLayers)) return MEDIA_TYPE.dockerSchema1;
  if (head.schemaVersion !== 2) return undefined;
  if (Array.isArray(head.manifests)) return MEDIA_TYPE.ociIndex;
  return Array.isArray(head.layers) && head.config !== null ? MEDIA_TYPE.ociManifest : undefined;
}

/** The scope that reading a repository needs. */
export function pullScope(path: string): string {
  return `repository:${path}:pull`;
}

/**
 * Fetches the manifest that a tag or digest names.
 * @throws the registry's error; dataLoss when the bytes are not what the digest says
 */
export async function fetchManifest(
  session: RegistrySession,
  path: string,
  reference: string,
): Promise<FetchedManifest> {
  const { answer, bytes } = await session.retry(async () => {
    const answer = await session.send({
      method: 'GET',
      target: `/v2/${path}/manifests/${reference}`,
      headers: { Accept: ACCEPT },
      scopes: [pullScope(path)],
      attempts: 1,
    });
    return { answer, bytes: await readAll(answer.body, LIMITS.manifestBytesMax, 'manifest') };
  });
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
  if (reference.includes(':') && parseDigest(reference) !== digest) {
    throw dataLoss(`manifest verification failed for digest ${reference}: got ${digest}`);
  }
  const fields = { url: answer.url.href.split('?')[0] ?? '', transient: false };
  try {
    return { digest, bytes, ...decodeManifest(bytes, answer.headers.get('content-type')) };
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    throw registryError('invalidArgument', error.message, fields, error);
  }
}

/**
 * Reads a small body as a whole.
 * @throws invalidArgument beyond `max` bytes
 */
export async function readAll(
  body: AsyncIterable<Buffer>,
  max: number,
  what: string,
): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body) {
    bytes += piece.length;
    if (bytes > max) {
      throw invalidArgument(`the ${what} is larger than ${max} bytes, which is not supported`);
    }
    pieces.push(Buffer.from(piece)); // the piece is valid for this turn only
  }
  return Buffer.concat(pieces);
}
