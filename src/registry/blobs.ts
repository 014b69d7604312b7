import { createHash } from 'node:crypto';
import type { Digest } from '../base/digest.ts';
import { dataLoss } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { HttpResponse } from './http-client.ts';
import { pullScope, readAll } from './manifests.ts';
import { isTransient, redactUrl, registryError } from './registry-error.ts';
import type { RegistrySession } from './session.ts';

/** A blob to read. */
export type BlobRequest = {
  /** `library/debian`. */
  readonly path: string;
  readonly digest: Digest;
  readonly sizeBytes: number;
  /** Begin here; 0. */
  readonly fromByte?: number;
  /** Failures in a row, without progress between them, that end it. */
  readonly attempts: number;
  /** Before the pause that follows a failure. */
  readonly onRetry?: (waitMs: number, error: unknown) => void;
};

/**
 * The bytes of a blob, in order and each once, whatever the link does: after a failure the rest is
 * asked for with `Range`. Each piece is valid until the next is asked for. The length is checked,
 * the digest is the consumer's to check.
 *
 * @throws the registry's error, when `attempts` are used up or trying again cannot help
 */
export async function* readBlob(
  session: RegistrySession,
  blob: BlobRequest,
): AsyncGenerator<Buffer> {
  let at = blob.fromByte ?? 0;
  let attempt = 0;
  let attemptStart = at;
  while (at < blob.sizeBytes || attempt === 0) {
    attempt += 1;
    try {
      for await (const piece of readFrom(session, blob, at)) {
        at += piece.length;
        await session.received?.(piece.length);
        yield piece;
      }
      return;
    } catch (error) {
      session.signal.throwIfAborted();
      if (at - attemptStart >= LIMITS.linkProgressBytes) attempt = 1;
      attemptStart = at;
      if (attempt >= blob.attempts || !isTransient(error)) throw error;
      await session.pause(attempt, error, (waitMs) => blob.onRetry?.(waitMs, error));
    }
  }
}

/** One attempt: the rest of the blob from `at`, or an error. */
async function* readFrom(
  session: RegistrySession,
  blob: BlobRequest,
  at: number,
): AsyncGenerator<Buffer> {
  const { path, digest, sizeBytes } = blob;
  const answer = await session.send({
    method: 'GET',
    target: `/v2/${path}/blobs/${digest}`,
    headers: at === 0 ? {} : { Range: `bytes=${at}-` },
    scopes: [pullScope(path)],
    attempts: 1,
    accept: [416],
  });
  const url = redactUrl(answer.url);
  if (answer.status === 416) {
    await answer.discard();
    throw registryError(
      'dataLoss',
      `the registry has less than the ${sizeBytes} bytes that the manifest says ${digest} has`,
      { url, status: 416, transient: false },
    );
  }
  let skip = checkStart(answer, at, sizeBytes, url);
  let left = sizeBytes - at;
  for await (const piece of answer.body) {
    const useful = skip >= piece.length ? piece.subarray(piece.length) : piece.subarray(skip);
    skip -= piece.length - useful.length;
    if (useful.length > left) {
      throw registryError('dataLoss', tooLong(digest, sizeBytes), { url, transient: false });
    }
    left -= useful.length;
    if (useful.length > 0) yield useful;
  }
  if (left > 0) {
    throw registryError(
      'unavailable',
      `Get "${url}": unexpected EOF: ${left} of ${sizeBytes} bytes of ${digest} did not come`,
      { url, transient: true },
    );
  }
}

function tooLong(digest: Digest, sizeBytes: number): string {
  return `the registry sends more than the ${sizeBytes} bytes that the manifest says ${digest} has`;
}

/** How many bytes at the start of the answer were received before: 0 when Range was obeyed. */
function checkStart(answer: HttpResponse, at: number, sizeBytes: number, url: string): number {
  const length = answer.headers.get('content-length');
  const total = length === undefined ? undefined : Number(length);
  if (answer.status === 206) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(answer.headers.get('content-range') ?? '');
    if (range === null || Number(range[1]) !== at) {
      throw registryError('unavailable', `Get "${url}": the registry sent another range`, {
        url,
        status: 206,
        transient: true,
      });
    }
    return 0;
  }
  const type = answer.headers.get('content-type') ?? '';
  if (total !== undefined && total !== sizeBytes && type.startsWith('text/html')) {
    throw registryError(
      'unavailable',
      `Get "${url}": the registry answered with a web page instead of a layer: is there a proxy or a login page in between?`,
      { url, status: answer.status, transient: true },
    );
  }
  return at;
}

/**
 * Fetches a small blob as a whole and verifies it.
 * @throws invalidArgument when it is too large; dataLoss when it is not what the digest says
 */
export async function fetchBlob(
  session: RegistrySession,
  blob: BlobRequest & { readonly bytesMax: number; readonly what: string },
): Promise<Buffer> {
  if (blob.sizeBytes > blob.bytesMax) {
    throw registryError(
      'invalidArgument',
      `the ${blob.what} is larger than ${blob.bytesMax} bytes, which is not supported`,
      { url: '', transient: false },
    );
  }
  const bytes = await readAll(readBlob(session, blob), blob.bytesMax, blob.what);
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (digest !== blob.digest) {
    throw dataLoss(`${blob.what} verification failed for digest ${blob.digest}: got ${digest}`);
  }
  return bytes;
}
