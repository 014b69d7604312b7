import { type EngineError, unauthorized } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { decodeJson, int, string, struct } from '../spec/decode.ts';
import type { AuthConfig } from '../spec/docker/auth.ts';
import { type Challenge, parseChallenges } from './challenge.ts';
import type { HttpClient, HttpResponse } from './http-client.ts';
import { errorOfAnswer, errorOfConnection, redactUrl, registryError } from './registry-error.ts';

/**
 * Authentication with registries: basic, and tokens (distribution's "Token Authentication
 * Specification" and "OAuth2"). Credentials go to the registry they are for and to the realm that
 * it names, to nobody else.
 */
export type Credentials = {
  readonly username: string;
  readonly password: string;
  /** OAuth2 refresh token. */
  readonly identityToken: string;
  /** Bearer token that is sent as it is. */
  readonly registryToken: string;
};

/** The credentials in what a client sent; undefined when there are none. */
export function credentialsOf(auth: AuthConfig | undefined): Credentials | undefined {
  if (auth === undefined) return undefined;
  let { username, password } = auth;
  if (username === '' && auth.auth !== '') {
    const pair = Buffer.from(auth.auth, 'base64').toString('utf8');
    const colon = pair.indexOf(':');
    if (colon >= 0) {
      username = pair.slice(0, colon);
      password = pair.slice(colon + 1).replace(/\0+$/, '');
    }
  }
  const { identitytoken: identityToken, registrytoken: registryToken } = auth;
  if (username === '' && identityToken === '' && registryToken === '') return undefined;
  return { username, password, identityToken, registryToken };
}

const CLIENT_ID = 'coracle';
/** What a token is worth when the server does not say, by the token specification. */
const TOKEN_SECONDS_DEFAULT = 60;
/** Renewed so long before it ends, for clocks and slow links. */
const TOKEN_MARGIN_MS = 10_000;

const tokenAnswer = struct('token', {
  token: string,
  access_token: string,
  refresh_token: string,
  expires_in: int,
});

type Token = { readonly header: string; readonly untilMs: number };

/** A token with what came along. */
export type GrantedToken = { readonly header: string; readonly refreshToken: string };

export type AuthenticatorOptions = {
  readonly http: HttpClient;
  readonly credentials: Credentials | undefined;
  readonly signal: AbortSignal;
  readonly monotonicMs: () => number;
};

/** Answers the challenges of one registry, for one user. */
export class Authenticator {
  readonly #options: AuthenticatorOptions;
  readonly #challenges = new Map<string, Challenge>();
  readonly #tokens = new Map<string, Token>();
  readonly #pending = new Map<string, Promise<Token>>();

  constructor(options: AuthenticatorOptions) {
    this.#options = options;
  }

  /** The `Authorization` header for a request, from what is known of the origin; undefined: none. */
  async header(origin: string, scopes: readonly string[]): Promise<string | undefined> {
    const { credentials } = this.#options;
    if (credentials !== undefined && credentials.registryToken !== '') {
      return `Bearer ${credentials.registryToken}`;
    }
    const challenge = this.#challenges.get(origin);
    if (challenge === undefined) return undefined;
    if (challenge.scheme === 'basic') return basicHeader(credentials);
    return (await this.#token(origin, challenge, scopes)).header;
  }

  /**
   * Takes note of the challenge in a 401. True when asking again with {@link header} makes sense,
   * false when what was refused is all there is to offer.
   * @throws unauthorized when credentials are needed and there are none
   */
  challenged(url: URL, header: string | undefined, sent: string | undefined): boolean {
    const challenges = parseChallenges(header);
    const bearer = challenges.find((each) => each.scheme === 'bearer');
    const basic = challenges.find((each) => each.scheme === 'basic');
    const { credentials } = this.#options;
    if (bearer !== undefined && (credentials?.registryToken ?? '') === '') {
      const isFirst = this.#challenges.get(url.origin) === undefined || sent === undefined;
      this.#challenges.set(url.origin, bearer);
      this.#tokens.clear();
      return isFirst || sent?.startsWith('Bearer ') === true;
    }
    if (basic === undefined) return false;
    this.#challenges.set(url.origin, basic);
    if (basicHeader(credentials) === undefined) {
      throw registryError('unauthorized', `Get "${redactUrl(url)}": no basic auth credentials`, {
        url: redactUrl(url),
        status: 401,
        transient: false,
      });
    }
    return sent === undefined;
  }

  async #token(origin: string, challenge: Challenge, scopes: readonly string[]): Promise<Token> {
    const key = [...scopes].sort().join(' ');
    const known = this.#tokens.get(key);
    if (known !== undefined && known.untilMs > this.#options.monotonicMs()) return known;
    const pending = this.#pending.get(key);
    if (pending !== undefined) return await pending;
    const asked = this.#ask(origin, challenge, scopes);
    this.#pending.set(key, asked);
    try {
      const token = await asked;
      this.#tokens.set(key, token);
      return token;
    } finally {
      this.#pending.delete(key);
    }
  }

  async #ask(origin: string, challenge: Challenge, scopes: readonly string[]): Promise<Token> {
    const { http, credentials, signal, monotonicMs } = this.#options;
    const startMs = monotonicMs();
    const asked = await requestToken({ http, credentials, signal, origin, challenge, scopes });
    const lifeMs = asked.expiresInSec * 1000;
    return { header: asked.header, untilMs: startMs + Math.max(lifeMs - TOKEN_MARGIN_MS, 1000) };
  }
}

/** `Basic …`; undefined without a user name. */
export function basicHeader(credentials: Credentials | undefined): string | undefined {
  if (credentials === undefined || credentials.username === '') return undefined;
  const { username, password } = credentials;
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** What a token is asked for with. */
export type TokenRequest = {
  readonly http: HttpClient;
  readonly credentials: Credentials | undefined;
  readonly signal: AbortSignal;
  /** Of the registry that gave the challenge. */
  readonly origin: string;
  readonly challenge: Challenge;
  readonly scopes: readonly string[];
  /** Ask for a refresh token as well. */
  readonly offline?: boolean;
};

/**
 * Gets a token from the realm of a challenge.
 * @throws unauthorized when the realm refuses; unavailable when it cannot be used
 */
export async function requestToken(
  request: TokenRequest,
): Promise<GrantedToken & { readonly expiresInSec: number }> {
  const { challenge, credentials } = request;
  const realm = realmOf(challenge, request.origin);
  const service = challenge.parameters.get('service') ?? '';
  const named = challenge.parameters.get('scope');
  const scopes = request.scopes.length === 0 && named !== undefined ? [named] : request.scopes;
  const answer =
    credentials !== undefined && credentials.identityToken !== ''
      ? await refresh(request, realm, service, scopes)
      : await get(request, realm, service, scopes);
  const text = await answer.text(LIMITS.tokenBytesMax + 1);
  if (answer.status >= 400) throw refused(realm, answer, text);
  const fields = { url: redactUrl(realm), status: answer.status, transient: false };
  let token: ReturnType<typeof tokenAnswer.decode>;
  try {
    token = decodeJson(tokenAnswer, text);
  } catch (cause) {
    throw registryError('unavailable', 'unable to decode token response', fields, cause);
  }
  const value = token.token === '' ? token.access_token : token.token;
  if (value === '' || /[\r\n\0]/.test(value)) {
    throw registryError('unavailable', 'authorization server did not include a token', fields);
  }
  return {
    header: `Bearer ${value}`,
    refreshToken: token.refresh_token,
    expiresInSec: token.expires_in > 0 ? token.expires_in : TOKEN_SECONDS_DEFAULT,
  };
}

function realmOf(challenge: Challenge, origin: string): URL {
  const text = challenge.parameters.get('realm') ?? '';
  const realm = URL.canParse(text) ? new URL(text) : undefined;
  const isSafe = realm?.protocol === 'https:' || !origin.startsWith('https:');
  if (realm === undefined || !/^https?:$/.test(realm.protocol) || !isSafe) {
    throw registryError(
      'unavailable',
      `cannot get a token: the registry names no usable realm (${JSON.stringify(text.slice(0, 100))})`,
      { url: origin, transient: false },
    );
  }
  realm.username = '';
  realm.password = '';
  return realm;
}

async function get(
  request: TokenRequest,
  realm: URL,
  service: string,
  scopes: readonly string[],
): Promise<HttpResponse> {
  const { credentials, http, signal } = request;
  const url = new URL(realm);
  if (service !== '') url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  const basic = basicHeader(credentials);
  if (credentials !== undefined && basic !== undefined) {
    url.searchParams.set('account', credentials.username);
  }
  if (request.offline === true) {
    url.searchParams.set('offline_token', 'true');
    url.searchParams.set('client_id', CLIENT_ID);
  }
  const headers = basic === undefined ? {} : { Authorization: basic };
  try {
    return await http.request({ method: 'GET', url, headers, signal });
  } catch (error) {
    signal.throwIfAborted();
    throw errorOfConnection('GET', url, error);
  }
}

async function refresh(
  request: TokenRequest,
  realm: URL,
  service: string,
  scopes: readonly string[],
): Promise<HttpResponse> {
  const { credentials, http, signal } = request;
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    refresh_token: credentials?.identityToken ?? '',
    service,
    client_id: CLIENT_ID,
    scope: scopes.join(' '),
  });
  const bytes = Buffer.from(form.toString());
  try {
    return await http.request({
      method: 'POST',
      url: realm,
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: { sizeBytes: bytes.length, chunks: [bytes] },
      signal,
    });
  } catch (error) {
    signal.throwIfAborted();
    throw errorOfConnection('POST', realm, error);
  }
}

function refused(realm: URL, answer: HttpResponse, text: string): EngineError {
  const body = text.slice(0, LIMITS.errorBodyBytesMax);
  const error = errorOfAnswer({ ...answer, url: realm, body, retryAfterMs: undefined });
  if (answer.status !== 401 && answer.status !== 403) return error;
  // Docker Hub's realm answers {"details":…}, others as registries do.
  const details = /"details?"\s*:\s*"([^"\\]{1,500})"/.exec(body)?.[1];
  return unauthorized(details === undefined ? error.message : `unauthorized: ${details}`, {
    cause: error,
    detail: { ...error.detail, code: 'UNAUTHORIZED' },
  });
}
