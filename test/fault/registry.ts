import { createHash, randomBytes } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import type { AddressInfo } from 'node:net';
import type { BuiltImage } from '../support/images.ts';

/** What a fault sees of a request, and how many like it (same method and path) came before. */
export type FaultyRequest = {
  readonly method: string;
  /** Without query. */
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: http.IncomingHttpHeaders;
  readonly before: number;
};

/** Answers in place of the registry: true when it did. */
export type Fault = (
  request: FaultyRequest,
  answer: http.ServerResponse,
) => boolean | Promise<boolean>;

/** How the registry wants to be asked. */
export type FaultyAuth =
  | { readonly kind: 'basic'; readonly user: string; readonly password: string }
  | {
      readonly kind: 'token';
      readonly user: string;
      readonly password: string;
      /** Answers the token with this name; 'token'. */
      readonly field?: 'token' | 'access_token';
      readonly expiresInSec?: number;
      readonly refreshToken?: string;
      /** Allow reading without credentials. */
      readonly anonymousPull?: boolean;
    };

export type FaultyOptions = {
  readonly auth?: FaultyAuth;
  readonly tls?: { readonly key: string; readonly cert: string };
  /** Instead of 127.0.0.1. */
  readonly address?: string;
};

/** A small registry in this process that can be made to fail in any way. */
export type FaultyRegistry = AsyncDisposable & {
  readonly host: string;
  readonly url: string;
  /** All requests so far. */
  readonly requests: (FaultyRequest & { readonly authorization: string | undefined })[];
  /** Blobs and manifests by digest. */
  readonly blobs: Map<string, Uint8Array>;
  /** By `repository:reference`. */
  readonly manifests: Map<string, { bytes: Uint8Array; mediaType: string }>;
  /** In force until the next call. */
  fault: Fault;
  /** Told of each piece of an upload, with the bytes that it has; true cuts the connection. */
  onUpload: (bytes: number) => boolean | Promise<boolean>;
  readonly add: (repository: string, tag: string, image: BuiltImage) => void;
  /** A blob that a repository has. */
  readonly addBlob: (repository: string, blob: { digest: string; bytes: Uint8Array }) => void;
  /** Times that `METHOD path-suffix` was asked for. */
  readonly count: (method: string, suffix: string) => number;
};

const never: Fault = () => false;

/** Starts it on a free port. */
export async function startFaultyRegistry(options: FaultyOptions = {}): Promise<FaultyRegistry> {
  const state = new State(options);
  const listener = (request: http.IncomingMessage, answer: http.ServerResponse): void => {
    state.handle(request, answer).catch((error: unknown) => {
      answer.destroy(error instanceof Error ? error : undefined);
    });
  };
  const server =
    options.tls === undefined
      ? http.createServer(listener)
      : https.createServer({ key: options.tls.key, cert: options.tls.cert }, listener);
  server.keepAliveTimeout = 60_000;
  const { address = '127.0.0.1' } = options;
  await new Promise<void>((resolve) => server.listen(0, address, resolve));
  const { port } = server.address() as AddressInfo;
  state.url = `${options.tls === undefined ? 'http' : 'https'}://${address}:${port}`;
  return Object.assign(state, {
    host: `${address}:${port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

class State {
  readonly requests: (FaultyRequest & { readonly authorization: string | undefined })[] = [];
  readonly blobs = new Map<string, Uint8Array>();
  readonly manifests = new Map<string, { bytes: Uint8Array; mediaType: string }>();
  /** `repository@digest`: who may read a blob where. */
  readonly links = new Set<string>();
  fault: Fault = never;
  onUpload: FaultyRegistry['onUpload'] = () => false;
  url = '';
  readonly #uploads = new Map<string, Buffer[]>();
  readonly #tokens = new Map<string, { untilMs: number; scopes: string[] }>();
  readonly #options: FaultyOptions;

  constructor(options: FaultyOptions) {
    this.#options = options;
  }

  add(repository: string, tag: string, image: BuiltImage): void {
    for (const blob of [image.config, ...image.layers]) this.addBlob(repository, blob);
    this.manifests.set(`${repository}:${tag}`, image.manifest);
    this.manifests.set(`${repository}:${image.manifest.digest}`, image.manifest);
  }

  addBlob(repository: string, blob: { digest: string; bytes: Uint8Array }): void {
    this.blobs.set(blob.digest, blob.bytes);
    this.links.add(`${repository}@${blob.digest}`);
  }

  count(method: string, suffix: string): number {
    return this.requests.filter((each) => each.method === method && each.path.endsWith(suffix))
      .length;
  }

  async handle(request: http.IncomingMessage, answer: http.ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const method = request.method ?? 'GET';
    const before = this.requests.filter(
      (each) => each.method === method && each.path === url.pathname,
    ).length;
    const seen = {
      method,
      path: url.pathname,
      query: url.searchParams,
      headers: request.headers,
      before,
      authorization: request.headers.authorization,
    };
    this.requests.push(seen);
    if (await this.fault(seen, answer)) return;
    if (url.pathname === '/token') return this.#token(seen, request, answer);
    if (!this.#allowed(seen, answer)) return;
    if (url.pathname === '/v2/') return void answer.writeHead(200).end('{}');
    const m = /^\/v2\/(.+)\/(manifests|blobs\/uploads|blobs|tags)\/?([^/]*)$/.exec(url.pathname);
    if (m === null) return notFound(answer, 'NAME_UNKNOWN');
    const [, repository = '', kind = '', reference = ''] = m;
    if (kind === 'blobs/uploads') return await this.#upload(seen, request, answer, repository);
    if (kind === 'tags') return this.#tags(answer, repository);
    if (method === 'PUT') return await this.#putManifest(request, answer, repository, reference);
    if (kind === 'manifests') return this.#getManifest(seen, answer, `${repository}:${reference}`);
    const isLinked = this.links.has(`${repository}@${reference}`);
    const blob = isLinked ? this.blobs.get(reference) : undefined;
    if (blob === undefined) return notFound(answer, 'BLOB_UNKNOWN');
    serveBlob(seen, answer, blob);
  }

  #tags(answer: http.ServerResponse, repository: string): void {
    const tags = [...this.manifests.keys()]
      .filter((key) => key.startsWith(`${repository}:`) && !key.includes('sha256:'))
      .map((key) => key.slice(repository.length + 1));
    answer.writeHead(200, { 'content-type': 'application/json' });
    answer.end(JSON.stringify({ name: repository, tags }));
  }

  #getManifest(request: FaultyRequest, answer: http.ServerResponse, key: string): void {
    const manifest = this.manifests.get(key);
    if (manifest === undefined) {
      notFound(answer, 'MANIFEST_UNKNOWN');
      return;
    }
    answer.writeHead(200, {
      'content-type': manifest.mediaType,
      'content-length': manifest.bytes.length,
    });
    answer.end(request.method === 'HEAD' ? undefined : manifest.bytes);
  }

  async #putManifest(
    request: http.IncomingMessage,
    answer: http.ServerResponse,
    repository: string,
    reference: string,
  ): Promise<void> {
    const bytes = await bodyOf(request);
    const digest = sha256(bytes);
    const mediaType = request.headers['content-type'] ?? '';
    this.manifests.set(`${repository}:${reference}`, { bytes, mediaType });
    this.manifests.set(`${repository}:${digest}`, { bytes, mediaType });
    answer.writeHead(201, { 'docker-content-digest': digest }).end();
  }

  async #upload(
    { method, path, query }: FaultyRequest,
    request: http.IncomingMessage,
    answer: http.ServerResponse,
    repository: string,
  ): Promise<void> {
    const digest = query.get('digest');
    if (method === 'POST') {
      const mount = query.get('mount');
      if (mount !== null && this.links.has(`${query.get('from')}@${mount}`)) {
        this.links.add(`${repository}@${mount}`);
        return void answer.writeHead(201, { location: `/v2/${repository}/blobs/${mount}` }).end();
      }
      const id = randomBytes(8).toString('hex');
      this.#uploads.set(id, []);
      const location = `/v2/${repository}/blobs/uploads/${id}`;
      return void answer.writeHead(202, { location, range: '0-0' }).end();
    }
    const id = path.split('/').at(-1) ?? '';
    const pieces = this.#uploads.get(id);
    if (pieces === undefined) return notFound(answer, 'BLOB_UPLOAD_UNKNOWN');
    const have = (): number => pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (method !== 'GET') {
      const start = /^(?:bytes )?(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1];
      if (start !== undefined && Number(start) !== have()) {
        return void answer.writeHead(416, { location: path, range: `0-${have() - 1}` }).end();
      }
      // What came before a connection broke counts, as with real registries.
      try {
        for await (const piece of request) {
          pieces.push(piece as Buffer);
          if (await this.onUpload(have())) request.destroy();
        }
      } catch {
        return;
      }
    }
    if (method !== 'PUT') {
      const status = method === 'GET' ? 204 : 202;
      return void answer.writeHead(status, { location: path, range: `0-${have() - 1}` }).end();
    }
    const bytes = Buffer.concat(pieces);
    if (sha256(bytes) !== digest) {
      answer.writeHead(400, { 'content-type': 'application/json' });
      return void answer.end('{"errors":[{"code":"DIGEST_INVALID","message":"wrong digest"}]}');
    }
    this.blobs.set(digest, bytes);
    this.links.add(`${repository}@${digest}`);
    this.#uploads.delete(id);
    answer.writeHead(201, { location: `/v2/${repository}/blobs/${digest}` }).end();
  }

  #allowed(request: FaultyRequest, answer: http.ServerResponse): boolean {
    const { auth } = this.#options;
    if (auth === undefined) return true;
    const given = request.headers.authorization;
    if (auth.kind === 'basic') {
      const wanted = `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString('base64')}`;
      if (given === wanted) return true;
      answer.setHeader('www-authenticate', 'Basic realm="faulty"');
    } else {
      const token = this.#tokens.get((given ?? '').replace(/^Bearer /, ''));
      if (token !== undefined && token.untilMs > Date.now()) return true;
      const scope = `repository:${/^\/v2\/(.+?)\/(?:manifests|blobs|tags)/.exec(request.path)?.[1] ?? ''}:pull`;
      answer.setHeader(
        'www-authenticate',
        `Bearer realm="${this.url}/token",service="faulty",scope="${scope}"`,
      );
    }
    answer.writeHead(401, { 'content-type': 'application/json' });
    answer.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
    return false;
  }

  async #token(
    seen: FaultyRequest,
    request: http.IncomingMessage,
    answer: http.ServerResponse,
  ): Promise<void> {
    const { auth } = this.#options;
    if (auth?.kind !== 'token') return notFound(answer, 'NAME_UNKNOWN');
    const form = new URLSearchParams((await bodyOf(request)).toString());
    const wanted = `Basic ${Buffer.from(`${auth.user}:${auth.password}`).toString('base64')}`;
    const isUser = seen.headers.authorization === wanted;
    const isRefresh =
      auth.refreshToken !== undefined && form.get('refresh_token') === auth.refreshToken;
    const isAnonymous = seen.headers.authorization === undefined && auth.anonymousPull === true;
    if (!isUser && !isRefresh && !isAnonymous) {
      answer.writeHead(401, { 'content-type': 'application/json' });
      return void answer.end('{"details":"incorrect username or password"}');
    }
    const token = randomBytes(12).toString('hex');
    const seconds = auth.expiresInSec ?? 300;
    this.#tokens.set(token, { untilMs: Date.now() + seconds * 1000, scopes: [] });
    answer.writeHead(200, { 'content-type': 'application/json' });
    answer.end(
      JSON.stringify({
        [auth.field ?? 'token']: token,
        expires_in: seconds,
        ...(seen.query.get('offline_token') === 'true' ? { refresh_token: auth.refreshToken } : {}),
      }),
    );
  }
}

/** A blob, or the part of it that `Range` asks for. */
export function serveBlob(
  request: FaultyRequest,
  answer: http.ServerResponse,
  blob: Uint8Array,
): void {
  const from = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? Number.NaN);
  const type = { 'content-type': 'application/octet-stream' };
  if (Number.isNaN(from)) {
    answer.writeHead(200, { ...type, 'content-length': blob.length });
    answer.end(request.method === 'HEAD' ? undefined : blob);
    return;
  }
  if (from >= blob.length) return void answer.writeHead(416).end();
  answer.writeHead(206, {
    ...type,
    'content-length': blob.length - from,
    'content-range': `bytes ${from}-${blob.length - 1}/${blob.length}`,
  });
  answer.end(blob.subarray(from));
}

function notFound(answer: http.ServerResponse, code: string): void {
  answer.writeHead(404, { 'content-type': 'application/json' });
  const message = code.toLowerCase().replaceAll('_', ' ');
  answer.end(JSON.stringify({ errors: [{ code, message }] }));
}

async function bodyOf(request: http.IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

function sha256(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
