import { createHash } from 'node:crypto';
import type { Digest } from '../base/digest.ts';
import { dataLoss } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { HttpBody } from './http-client.ts';
import { isTransient, redactUrl, registryError } from './registry-error.ts';
import type { RegistrySession } from './session.ts';

/** Sending blobs and manifests (OCI distribution-spec, "Push"). */

/** The scope that writing a repository needs. */
export function pushScope(path: string): string {
  return `repository:${path}:pull,push`;
}

const OCTETS = { 'Content-Type': 'application/octet-stream' };

/** Size of a blob that the repository has; undefined when it has not. */
export async function findBlob(
  session: RegistrySession,
  path: string,
  digest: Digest,
): Promise<number | undefined> {
  const answer = await session.send({
    method: 'HEAD',
    target: `/v2/${path}/blobs/${digest}`,
    scopes: [pushScope(path)],
    accept: [404],
  });
  await answer.discard();
  if (answer.status !== 200) return undefined;
  return Number(answer.headers.get('content-length') ?? 0);
}

/** Takes a blob over from another repository of the registry; false when that is not possible. */
export async function mountBlob(
  session: RegistrySession,
  path: string,
  blob: { readonly digest: Digest; readonly from: string },
): Promise<boolean> {
  const query = new URLSearchParams({ mount: blob.digest, from: blob.from });
  const answer = await session.send({
    method: 'POST',
    target: `/v2/${path}/blobs/uploads/?${query.toString()}`,
    scopes: [pushScope(path), `repository:${blob.from}:pull`],
    // Not allowed to read the other repository: then it is sent.
    accept: [401, 403, 404],
  });
  await answer.discard();
  const location = answer.headers.get('location');
  if (answer.status === 202 && location !== undefined) {
    // An upload was begun instead; it is not used, so it is cancelled where that is possible.
    await cancelUpload(session, path, new URL(location, answer.url));
  }
  return answer.status === 201;
}

async function cancelUpload(session: RegistrySession, path: string, target: URL): Promise<void> {
  const answer = await session.send({
    method: 'DELETE',
    target,
    scopes: [pushScope(path)],
    accept: [400, 401, 403, 404, 405],
  });
  await answer.discard();
}

/** A blob to send. */
export type Upload = {
  readonly path: string;
  readonly source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** What the source must turn out to be; else nothing becomes of the upload. */
  readonly expected?: Digest | undefined;
  /** Told of what ends the upload when the source is to blame, not the registry. */
  readonly onSourceFault?: (error: unknown) => void;
  /** Failures in a row that end it. */
  readonly attempts: number;
  readonly onRetry?: (waitMs: number) => void;
  /** Told how many bytes of the blob have been sent; less than before when some are sent again. */
  readonly onSent?: (bytes: number) => void;
};

/** A piece is sent in so much at a time. */
const SLICE_BYTES = 256 << 10;

/**
 * Sends a blob of unknown length in pieces of `LIMITS.uploadPieceBytes`, each of which is sent again
 * from where the registry has it when the link fails; a blob of one piece goes in one request.
 * @throws the registry's error, the source's, or dataLoss when it is not what was expected
 */
export async function uploadBlob(
  session: RegistrySession,
  upload: Upload,
): Promise<{ digest: Digest; sizeBytes: number }> {
  const sending = new Sending(session, upload);
  const hash = createHash('sha256');
  const piece = Buffer.allocUnsafe(LIMITS.uploadPieceBytes);
  let filled = 0;
  let isSending = false;
  try {
    for await (const chunk of upload.source) {
      hash.update(chunk);
      for (let at = 0; at < chunk.length; ) {
        // A full piece is sent only when more follows: the last one ends the upload.
        if (filled === piece.length) {
          isSending = true;
          await sending.piece(piece);
          isSending = false;
          filled = 0;
        }
        const taken = Math.min(chunk.length - at, piece.length - filled);
        piece.set(chunk.subarray(at, at + taken), filled);
        filled += taken;
        at += taken;
      }
    }
    const digest = `sha256:${hash.digest('hex')}` as Digest;
    if (upload.expected !== undefined && digest !== upload.expected) {
      throw dataLoss(`blob verification failed for digest ${upload.expected}: got ${digest}`);
    }
    isSending = true;
    return { digest, sizeBytes: await sending.last(piece.subarray(0, filled), digest) };
  } catch (error) {
    if (!isSending && !session.signal.aborted) {
      upload.onSourceFault?.(error);
      await sending.cancel();
    }
    throw error;
  }
}

class Sending {
  readonly #session: RegistrySession;
  readonly #upload: Upload;
  #location: URL | undefined;
  #sentBytes = 0;

  constructor(session: RegistrySession, upload: Upload) {
    this.#session = session;
    this.#upload = upload;
  }

  /** Sends a piece that is not the last. */
  async piece(bytes: Buffer): Promise<void> {
    await this.#resumable(bytes, async (rest, location) => {
      if (rest.length === 0) return; // it came, and only the answer was lost
      const answer = await this.#session.send({
        method: 'PATCH',
        target: location,
        headers: { ...OCTETS, 'Content-Range': this.#range(rest) },
        body: this.#body(rest),
        scopes: [pushScope(this.#upload.path)],
      });
      await answer.discard();
      this.#location = next(answer.url, answer.headers.get('location'), location);
    });
  }

  /** Sends the last piece and ends the upload; resolves with the size of the blob. */
  async last(bytes: Buffer, digest: Digest): Promise<number> {
    const startBytes = this.#sentBytes;
    const end = async (rest: Buffer, location: URL): Promise<void> => {
      const target = new URL(location);
      target.searchParams.set('digest', digest);
      const isPlain = this.#sentBytes === 0 || rest.length === 0;
      const answer = await this.#session.send({
        method: 'PUT',
        target,
        headers: isPlain ? OCTETS : { ...OCTETS, 'Content-Range': this.#range(rest) },
        body: this.#body(rest),
        scopes: [pushScope(this.#upload.path)],
      });
      await answer.discard();
    };
    try {
      await this.#resumable(bytes, end);
      return this.#sentBytes;
    } catch (error) {
      // The registry may have taken it, and only its answer was lost: then the upload is gone.
      const sizeBytes = startBytes + bytes.length;
      if (!isTransient(error)) throw error;
      if ((await findBlob(this.#session, this.#upload.path, digest)) !== sizeBytes) throw error;
      return sizeBytes;
    }
  }

  /** Tells the registry to forget what it has; it does so by itself in the end. */
  async cancel(): Promise<void> {
    if (this.#location === undefined) return;
    await cancelUpload(this.#session, this.#upload.path, this.#location).catch(() => undefined);
  }

  #body(bytes: Buffer): HttpBody {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += SLICE_BYTES) {
      chunks.push(bytes.subarray(at, at + SLICE_BYTES));
    }
    let sentBytes = this.#sentBytes;
    const onSent = (more: number): void => {
      sentBytes += more;
      this.#upload.onSent?.(sentBytes);
    };
    return { sizeBytes: bytes.length, chunks, onSent };
  }

  #range(bytes: Buffer): string {
    return `${this.#sentBytes}-${this.#sentBytes + Math.max(bytes.length, 1) - 1}`;
  }

  async #resumable(
    bytes: Buffer,
    send: (rest: Buffer, location: URL) => Promise<void>,
  ): Promise<void> {
    let rest = bytes;
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#location ??= await this.#begin();
        await send(rest, this.#location);
        this.#sentBytes += rest.length;
        return;
      } catch (error) {
        this.#session.signal.throwIfAborted();
        if (attempt >= this.#upload.attempts || !isTransient(error)) throw error;
        await this.#session.pause(attempt, error, this.#upload.onRetry);
        const have = await this.#received(error);
        // Where it is found out that all of it is there, the caller's last step still has to be done.
        const known = have - this.#sentBytes;
        if (known < 0 || known > rest.length) throw error;
        this.#sentBytes = have;
        rest = rest.subarray(known);
        if (known >= LIMITS.linkProgressBytes) attempt = 0;
      }
    }
  }

  async #begin(): Promise<URL> {
    const answer = await this.#session.send({
      method: 'POST',
      target: `/v2/${this.#upload.path}/blobs/uploads/`,
      scopes: [pushScope(this.#upload.path)],
    });
    await answer.discard();
    return next(answer.url, answer.headers.get('location'), undefined);
  }

  /** Bytes that the registry has of an upload that failed; what it knows nothing of begins anew. */
  async #received(failure: unknown): Promise<number> {
    const location = this.#location;
    if (location === undefined) return 0;
    const answer = await this.#session.send({
      method: 'GET',
      target: location,
      scopes: [pushScope(this.#upload.path)],
      accept: [400, 404, 405],
    });
    await answer.discard();
    if (answer.status >= 400) {
      if (this.#sentBytes > 0) throw failure;
      this.#location = undefined;
      return 0;
    }
    this.#location = next(answer.url, answer.headers.get('location'), location);
    const end = /^(?:bytes=)?\d+-(\d+)$/.exec(answer.headers.get('range') ?? '')?.[1];
    // An upload that has nothing yet is answered with 0-0 by some, so one byte counts as none.
    return end === undefined || end === '0' ? 0 : Number(end) + 1;
  }
}

function next(base: URL, location: string | undefined, before: URL | undefined): URL {
  if (location === undefined && before !== undefined) return before;
  if (location === undefined || !URL.canParse(location, base)) {
    const url = redactUrl(base);
    throw registryError('unavailable', `Post "${url}": the registry names no upload`, {
      url,
      transient: false,
    });
  }
  return new URL(location, base);
}

/**
 * Sends a manifest under a tag (or its digest). True when the registry says that it lists it with
 * the referrers of its subject.
 * @throws the registry's error
 */
export async function putManifest(
  session: RegistrySession,
  path: string,
  reference: string,
  manifest: { readonly mediaType: string; readonly bytes: Uint8Array },
): Promise<boolean> {
  const answer = await session.send({
    method: 'PUT',
    target: `/v2/${path}/manifests/${reference}`,
    headers: { 'Content-Type': manifest.mediaType },
    body: { sizeBytes: manifest.bytes.length, chunks: [manifest.bytes] },
    scopes: [pushScope(path)],
    attempts: 3,
  });
  await answer.discard();
  return answer.headers.get('oci-subject') !== undefined;
}
