import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { SecureContext } from 'node:tls';
import { EngineError, errnoOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { backoffMs, parseRetryAfterMs } from '../policy/backoff.ts';
import {
  type Endpoint,
  endpointsOf,
  hostWithoutPort,
  isInsecure,
  proxyFor,
  type RegistryConfig,
} from '../policy/registry-config.ts';
import { Authenticator, type Credentials } from './auth.ts';
import {
  createHttpClient,
  type HttpBody,
  type HttpClient,
  type HttpRequest,
  type HttpResponse,
  type Route,
} from './http-client.ts';
import {
  errorOfAnswer,
  errorOfConnection,
  isTransient,
  isUnreachable,
  isWrongProtocol,
  redactUrl,
  registryError,
} from './registry-error.ts';
import { CERTIFICATE_FOLDERS, tlsContextFor } from './tls-context.ts';

/** One registry, for one user and one operation: endpoints, authentication, redirects, retries. */
export type RegistrySession = AsyncDisposable & {
  readonly domain: string;
  /**
   * Sends a request and resolves with an answer below 400, or one of `accept`. The caller consumes
   * its body.
   * @throws the registry's error (see registry-error.ts)
   */
  readonly send: (request: RegistryRequest) => Promise<HttpResponse & { readonly url: URL }>;
  /** Runs `body` again after passing failures, `attempts` (3) times in all. */
  readonly retry: <T>(body: () => Promise<T>, attempts?: number) => Promise<T>;
  /** Waits before attempt `attempt + 1`; returns how long it was going to, in ms, at once to `onWait`. */
  readonly pause: (
    attempt: number,
    error: unknown,
    onWait?: (waitMs: number) => void,
  ) => Promise<void>;
  readonly signal: AbortSignal;
  /** Told of the bytes of blobs as they come; no more are asked for until it resolves. */
  readonly received?: (bytes: number) => Promise<void>;
  /** For `login`. */
  readonly http: HttpClient;
};

export type RegistryRequest = {
  readonly method: HttpRequest['method'];
  /** `/v2/…`, or the absolute URL of an upload that the registry gave. */
  readonly target: string | URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: HttpBody;
  /** `repository:library/debian:pull`. */
  readonly scopes: readonly string[];
  /** Statuses of 400 and more that the caller handles. */
  readonly accept?: readonly number[];
  /** Send no credentials, and hand a 401 on as it is. */
  readonly isUnauthenticated?: boolean;
  /** How often a passing failure is tried in all; 1 for what has a retry of its own. */
  readonly attempts?: number;
};

export type SessionOptions = {
  readonly domain: string;
  readonly config: RegistryConfig;
  readonly credentials: Credentials | undefined;
  readonly signal: AbortSignal;
  /** `coracle/0.1.0`. */
  readonly agent: string;
  readonly random: () => number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
  readonly certificateFolders?: readonly string[];
  readonly stallMs?: number;
  /** First pause between attempts. */
  readonly retryBaseMs?: number;
};

const SMALL_ATTEMPTS = 3;
const RETRY_BASE_MS = 500;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** Looks up the registry and prepares a session; connects to nothing yet. */
export async function openSession(options: SessionOptions): Promise<RegistrySession> {
  const { domain, config, signal } = options;
  const addresses = await addressesOf(domain);
  const endpoints = endpointsOf(domain, addresses, config);
  const http = createHttpClient({
    route: routes(options, addresses),
    agent: options.agent,
    ...(options.stallMs === undefined ? {} : { stallMs: options.stallMs }),
  });
  const monotonicMs = (): number => performance.now();
  const noCredentials = { http, credentials: undefined, signal, monotonicMs };
  const auth = new Authenticator({ ...noCredentials, credentials: options.credentials });
  // A mirror is another party, and so is storage elsewhere: they get no credentials.
  const strangerAuth = new Authenticator(noCredentials);
  const pause: RegistrySession['pause'] = async (attempt, error, onWait) => {
    const asked = error instanceof EngineError ? error.detail['retryAfterMs'] : undefined;
    const waitMs = backoffMs({
      attempt,
      retryAfterMs: typeof asked === 'number' ? asked : undefined,
      random: options.random(),
      baseMs: options.retryBaseMs ?? RETRY_BASE_MS,
      maxMs: LIMITS.retryDelayMsMax,
    });
    onWait?.(waitMs);
    await options.sleep(waitMs, signal);
  };
  const tries = new EndpointChooser(endpoints, domain);
  const exchange = async (request: RegistryRequest): Promise<HttpResponse & { url: URL }> => {
    if (request.target instanceof URL) {
      // A registry may have blobs sent elsewhere, which is not told who sends them.
      const isHome = endpoints.some(
        (each) => !each.isMirror && new URL(each.url).origin === (request.target as URL).origin,
      );
      const parties = { http, auth: isHome ? auth : strangerAuth, signal };
      return await converse(parties, request, request.target);
    }
    const target = request.target;
    return await tries.run(async (endpoint) => {
      const parties = { http, auth: endpoint.isMirror ? strangerAuth : auth, signal };
      return await converse(parties, request, new URL(endpoint.url + target));
    });
  };
  const retry: RegistrySession['retry'] = async (body, attempts = SMALL_ATTEMPTS) => {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await body();
      } catch (error) {
        const isHopeless = !isTransient(error) || (isUnreachable(error) && !tries.hasAnswered);
        if (attempt >= attempts || isHopeless || signal.aborted) throw error;
        await pause(attempt, error);
      }
    }
  };
  return {
    domain,
    signal,
    http,
    pause,
    retry,
    send: (request) =>
      retry(
        () => exchange(request),
        request.attempts ?? (request.body === undefined ? SMALL_ATTEMPTS : 1),
      ),
    [Symbol.asyncDispose]: () => http[Symbol.asyncDispose](),
  };
}

async function addressesOf(domain: string): Promise<string[]> {
  const host = hostWithoutPort(domain);
  if (domain === 'docker.io' || isIP(host) !== 0) return [];
  try {
    return (await lookup(host, { all: true })).map((each) => each.address);
  } catch {
    return []; // the connection will fail with a better message
  }
}

/** The way to each URL: proxy, certificates, and whether they are checked. */
function routes(options: SessionOptions, addresses: readonly string[]): (url: URL) => Route {
  const { config, domain } = options;
  const contexts = new Map<string, SecureContext>();
  const contextFor = (host: string): SecureContext => {
    const known = contexts.get(host);
    if (known !== undefined) return known;
    const made = tlsContextFor(host, options.certificateFolders ?? CERTIFICATE_FOLDERS);
    contexts.set(host, made);
    return made;
  };
  return (url) => {
    const known = url.host === domain ? addresses : [];
    return {
      proxy: proxyFor(url, config),
      secureContext: url.protocol === 'https:' ? contextFor(url.host) : undefined,
      verify: !isInsecure(url.host, known, config.insecureRegistries),
    };
  };
}

/** Goes through the endpoints of a registry and remembers which do not answer. */
class EndpointChooser {
  readonly #endpoints: readonly Endpoint[];
  readonly #hasPort: boolean;
  readonly #dead = new Set<Endpoint>();
  #works: Endpoint | undefined;

  constructor(endpoints: readonly Endpoint[], domain: string) {
    this.#endpoints = endpoints;
    this.#hasPort = hostWithoutPort(domain) !== domain.replace(/^\[|\]$/g, '');
  }

  /** True once some endpoint has given an answer. */
  get hasAnswered(): boolean {
    return this.#works !== undefined;
  }

  async run<T>(body: (endpoint: Endpoint) => Promise<T>): Promise<T> {
    const alive = this.#endpoints.filter((endpoint) => !this.#dead.has(endpoint));
    const usable = alive.length === 0 ? this.#endpoints : alive;
    const order = this.#works === undefined || this.#works.isMirror ? usable : [this.#works];
    let failure: unknown;
    for (const [i, endpoint] of order.entries()) {
      try {
        const result = await body(endpoint);
        this.#works ??= endpoint;
        return result;
      } catch (error) {
        // Of two ways to the same registry, the one that is not merely the wrong protocol tells.
        if (failure === undefined || !isWrongProtocol(error)) failure = error;
        if (!this.#mayFallBack(endpoint, error, order[i + 1])) break;
        if (errnoOf(error) !== undefined) this.#dead.add(endpoint);
      }
    }
    throw failure;
  }

  #mayFallBack(endpoint: Endpoint, error: unknown, next: Endpoint | undefined): boolean {
    if (next === undefined) return false;
    if (endpoint.isMirror) return true;
    if (isWrongProtocol(error)) return true;
    // Both schemes on one port: nobody listens there, so the other will not help.
    if (this.#hasPort && errnoOf(error) === 'ECONNREFUSED') return false;
    const isAnswer = error instanceof EngineError && error.detail['status'] !== undefined;
    return !isAnswer;
  }
}

type Parties = {
  readonly http: HttpClient;
  readonly auth: Authenticator;
  readonly signal: AbortSignal;
};

/** One request with its challenges and redirects. */
async function converse(
  parties: Parties,
  request: RegistryRequest,
  start: URL,
): Promise<HttpResponse & { url: URL }> {
  const { auth } = parties;
  let rounds = 0;
  for (;;) {
    const isPlain = request.isUnauthenticated === true;
    const authorization = isPlain ? undefined : await auth.header(start.origin, request.scopes);
    const { answer, url } = await follow(parties, request, start, authorization);
    if (answer.status === 401 && url.origin === start.origin && rounds < 2 && !isPlain) {
      rounds += 1;
      const challenge = answer.headers.get('www-authenticate');
      // A body that is a list can be sent again.
      const isRepeatable = request.body === undefined || Array.isArray(request.body.chunks);
      if (isRepeatable && auth.challenged(url, challenge, authorization)) {
        await answer.discard();
        continue;
      }
    }
    if (answer.status < 400 || request.accept?.includes(answer.status) === true) {
      return { ...answer, url };
    }
    throw await failed(answer, url);
  }
}

async function failed(answer: HttpResponse, url: URL): Promise<EngineError> {
  const body = await answer.text(LIMITS.errorBodyBytesMax);
  // What a TLS server says to plain HTTP (Go, nginx, Apache).
  if (answer.status === 400 && url.protocol === 'http:' && /HTTPS|SSL/.test(body)) {
    const shown = redactUrl(url);
    return registryError('unavailable', `Get "${shown}": ${body.trim().slice(0, 200)}`, {
      url: shown,
      transient: false,
      errno: 'ENOTHTTP',
    });
  }
  const retryAfterMs = parseRetryAfterMs(answer.headers.get('retry-after'), Date.now());
  return errorOfAnswer({ ...answer, url, body, retryAfterMs });
}

async function follow(
  parties: Parties,
  request: RegistryRequest,
  start: URL,
  authorization: string | undefined,
): Promise<{ answer: HttpResponse; url: URL }> {
  let url = start;
  for (let redirects = 0; ; redirects += 1) {
    // Another host never sees the credentials: a signed URL is all it needs.
    const isHome = url.origin === start.origin;
    const headers = {
      ...headersFor(request, isHome),
      ...(isHome && authorization !== undefined ? { Authorization: authorization } : {}),
    };
    const answer = await exchangeOnce(parties, request, url, headers);
    const location = answer.headers.get('location');
    const isRead = request.method === 'GET' || request.method === 'HEAD';
    if (!REDIRECTS.has(answer.status) || location === undefined || !isRead) return { answer, url };
    await answer.discard();
    const next = URL.canParse(location, url) ? new URL(location, url) : undefined;
    const fields = { url: redactUrl(url), status: answer.status, transient: false };
    if (next === undefined || !/^https?:$/.test(next.protocol)) {
      throw registryError('unavailable', `Get "${redactUrl(url)}": bad redirect`, fields);
    }
    if (redirects >= LIMITS.redirectsMax) {
      throw registryError(
        'unavailable',
        `Get "${redactUrl(url)}": stopped after ${LIMITS.redirectsMax} redirects`,
        fields,
      );
    }
    url = next;
  }
}

function headersFor(request: RegistryRequest, isHome: boolean): Record<string, string> {
  const { Authorization, ...others } = request.headers ?? {};
  return Authorization !== undefined && isHome ? { ...others, Authorization } : others;
}

async function exchangeOnce(
  { http, signal }: Parties,
  request: RegistryRequest,
  url: URL,
  headers: Readonly<Record<string, string>>,
): Promise<HttpResponse> {
  const { method, body } = request;
  const translate = (error: unknown): unknown => {
    signal.throwIfAborted();
    if (error instanceof EngineError && error.detail['http'] === undefined) return error;
    return errorOfConnection(method, url, error);
  };
  try {
    const answer = await http.request({ method, url, headers, signal, ...(body ? { body } : {}) });
    return {
      ...answer,
      body: translated(answer.body, translate),
      text: (max) => answer.text(max).catch(rethrow(translate)),
      discard: () => answer.discard().catch(rethrow(translate)),
    };
  } catch (error) {
    throw translate(error);
  }
}

function rethrow(translate: (error: unknown) => unknown): (error: unknown) => never {
  return (error) => {
    throw translate(error);
  };
}

/** A body whose failures are those of a registry. What its consumer throws passes. */
async function* translated(
  body: AsyncIterable<Buffer>,
  translate: (error: unknown) => unknown,
): AsyncGenerator<Buffer> {
  const pieces = body[Symbol.asyncIterator]();
  try {
    for (;;) {
      const { value, done } = await pieces.next().catch(rethrow(translate));
      if (done === true) return;
      yield value;
    }
  } finally {
    await pieces.return?.();
  }
}
