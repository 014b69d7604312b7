import { EngineError, type ErrorKind, messageOf } from '../base/errors.ts';
import { familiarReference, familiarRepository, type Reference } from '../base/reference.ts';
import { parseChallenges } from './challenge.ts';

/**
 * What a registry refused or failed with: one shape, whatever went wrong. `detail` holds
 *
 *   registry  true
 *   url       what was asked, without query and user (both may hold secrets)
 *   status    HTTP status, when there was an answer
 *   code      the registry's own code (`MANIFEST_UNKNOWN`), when it gave one
 *   errno     of the connection (`ECONNREFUSED`), when it failed
 *   transient true when trying again may help
 *   retryAfterMs  when the server asked for it
 *
 * Messages are those of Docker and of distribution's client, which scripts and clients match on.
 */
export type RegistryErrorFields = {
  readonly url: string;
  readonly status?: number;
  readonly code?: string;
  readonly transient: boolean;
  readonly retryAfterMs?: number | undefined;
  readonly errno?: string | undefined;
};

export function registryError(
  kind: ErrorKind,
  message: string,
  fields: RegistryErrorFields,
  cause?: unknown,
): EngineError {
  const { url, status, code, transient, retryAfterMs, errno } = fields;
  return new EngineError(kind, message, {
    cause,
    detail: {
      registry: true,
      url,
      transient,
      ...(status === undefined ? {} : { status }),
      ...(code === undefined ? {} : { code }),
      ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
      ...(errno === undefined ? {} : { errno }),
    },
  });
}

/** True when trying the same again may help. */
export function isTransient(error: unknown): boolean {
  return error instanceof EngineError && error.detail['transient'] === true;
}

/** A URL that is safe to show: no user, password, query or fragment. */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}

/** Codes of the distribution spec, with the text that clients expect. */
const CODE_MESSAGE: Readonly<Record<string, string>> = {
  UNAUTHORIZED: 'authentication required',
  DENIED: 'requested access to the resource is denied',
  TOOMANYREQUESTS: 'too many requests',
  UNAVAILABLE: 'service unavailable',
};

const CODE_KIND: Readonly<Record<string, ErrorKind>> = {
  UNAUTHORIZED: 'unauthorized',
  DENIED: 'forbidden',
  MANIFEST_UNKNOWN: 'notFound',
  NAME_UNKNOWN: 'notFound',
  BLOB_UNKNOWN: 'notFound',
  NAME_INVALID: 'invalidArgument',
  TOOMANYREQUESTS: 'unavailable',
  UNAVAILABLE: 'unavailable',
};

/** `manifest unknown` for `MANIFEST_UNKNOWN`, `toomanyrequests` for `TOOMANYREQUESTS`. */
function codeText(code: string): string {
  return code.toLowerCase().replaceAll('_', ' ');
}

type FirstError = { readonly code: string; readonly message: string };

/** The first error of a body `{"errors":[{"code","message","detail"}]}`. */
function firstError(body: string): FirstError | undefined {
  let value: unknown;
  try {
    value = JSON.parse(body);
  } catch {
    return undefined; // HTML, text or nothing
  }
  const errors: unknown = (value as { errors?: unknown } | null)?.errors;
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (typeof first !== 'object' || first === null) return undefined;
  const { code, message } = first as { code?: unknown; message?: unknown };
  if (typeof code !== 'string' || !/^[A-Za-z_]{1,64}$/.test(code)) return undefined;
  const text = typeof message === 'string' && message !== '' ? message.slice(0, 2000) : undefined;
  const upper = code.toUpperCase();
  return { code: upper, message: text ?? CODE_MESSAGE[upper] ?? codeText(upper) };
}

/** An answer as far as an error needs it. */
export type FailedAnswer = {
  readonly url: URL;
  readonly status: number;
  readonly reason: string;
  readonly headers: ReadonlyMap<string, string>;
  /** Cut to `LIMITS.errorBodyBytesMax`. */
  readonly body: string;
  readonly retryAfterMs: number | undefined;
};

/** The error that an HTTP answer with a status of 400 or more stands for. */
export function errorOfAnswer(answer: FailedAnswer): EngineError {
  const { status, body, retryAfterMs } = answer;
  const url = redactUrl(answer.url);
  const make = (code: string, message: string): EngineError => {
    const transient = code === 'TOOMANYREQUESTS' || code === 'UNAVAILABLE' || status >= 500;
    const fields = { url, status, code, transient, retryAfterMs };
    return registryError(
      CODE_KIND[code] ?? (status === 404 ? 'notFound' : 'unavailable'),
      `${codeText(code)}: ${message}`,
      fields,
    );
  };
  const said = firstError(body);
  for (const { scheme, parameters } of parseChallenges(answer.headers.get('www-authenticate'))) {
    if (scheme !== 'bearer' || status < 400 || status >= 500) continue;
    const problem = parameters.get('error');
    // RFC 6750, 3.1: a token that is good but does not allow this.
    if (problem === 'insufficient_scope') {
      return make('DENIED', said?.message ?? CODE_MESSAGE['DENIED'] ?? '');
    }
  }
  if (said !== undefined) return make(said.code, said.message);
  if (status === 401) return make('UNAUTHORIZED', 'authentication required');
  if (status === 429) return make('TOOMANYREQUESTS', 'too many requests');
  const line = `${status} ${answer.reason}`.trim();
  const transient = status >= 500 || status === 408;
  const kind = status === 403 ? 'forbidden' : status === 404 ? 'notFound' : 'unavailable';
  const message =
    status >= 500
      ? `received unexpected HTTP status: ${line}`
      : `error parsing HTTP ${status} response body: ${JSON.stringify(body.slice(0, 200))}`;
  return registryError(kind, message, { url, status, transient, retryAfterMs });
}

type SocketError = Error & {
  readonly code?: unknown;
  readonly address?: unknown;
  readonly port?: unknown;
  readonly hostname?: unknown;
  readonly errors?: unknown;
};

const ERRNO_TEXT: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connect: connection refused',
  EHOSTUNREACH: 'connect: no route to host',
  ENETUNREACH: 'connect: network is unreachable',
  ENETDOWN: 'connect: network is down',
  ECONNRESET: 'read: connection reset by peer',
  EPIPE: 'write: broken pipe',
  ETIMEDOUT: 'i/o timeout',
};

/** True when nobody answers at all: worth another try only where somebody did before. */
export function isUnreachable(error: unknown): boolean {
  if (!(error instanceof EngineError)) return false;
  return error.detail['errno'] === 'ECONNREFUSED' || error.detail['errno'] === 'ENOTFOUND';
}

const UNKNOWN_AUTHORITY = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
]);

/** Go's words for what is wrong with a certificate; undefined when it is something else. */
function tlsText(code: string, error: Error): string | undefined {
  if (UNKNOWN_AUTHORITY.has(code)) return 'x509: certificate signed by unknown authority';
  if (code === 'CERT_HAS_EXPIRED' || code === 'CERT_NOT_YET_VALID') {
    return 'x509: certificate has expired or is not yet valid';
  }
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    const { cert, host } = error as { cert?: { subjectaltname?: string }; host?: string };
    const names = (cert?.subjectaltname ?? '').replace(/(DNS|IP Address):/g, '');
    return `x509: certificate is valid for ${names === '' ? 'no names' : names}, not ${host ?? ''}`;
  }
  return undefined;
}

/** Go's names for alerts that are called otherwise here. */
const ALERT_TEXT: Readonly<Record<string, string>> = {
  'unknown ca': 'unknown certificate authority',
  'protocol version': 'protocol version not supported',
};

/** What the other side's TLS alert says, as Go does: `bad certificate`. Else the start of the message. */
function alertText(code: string, message: string): string {
  const alert = /_ALERT_([A-Z_]+)$/.exec(code)?.[1]?.toLowerCase().replaceAll('_', ' ');
  return alert === undefined ? message.slice(0, 200) : (ALERT_TEXT[alert] ?? alert);
}

/** True for an answer in plain HTTP where TLS was spoken, or the other way round. */
export function isWrongProtocol(error: unknown): boolean {
  if (!(error instanceof EngineError)) return false;
  return error.detail['errno'] === 'EPROTO' || error.detail['errno'] === 'ENOTHTTP';
}

/**
 * A failed connection or exchange, in Go's words:
 * `Get "https://host/v2/": dial tcp 10.0.0.1:443: connect: connection refused`.
 */
export function errorOfConnection(method: string, url: URL, thrown: unknown): EngineError {
  const verb = method.slice(0, 1) + method.slice(1).toLowerCase();
  const shown = redactUrl(url);
  const first = (thrown as SocketError).errors;
  const error = (
    Array.isArray(first) && first[0] instanceof Error ? first[0] : thrown
  ) as SocketError;
  const code = typeof error.code === 'string' ? error.code : undefined;
  const make = (text: string, errno: string | undefined, transient: boolean): EngineError =>
    registryError(
      'unavailable',
      `${verb} "${shown}": ${text}`,
      { url: shown, transient, errno },
      thrown,
    );
  if (error instanceof EngineError) {
    const isHttp = error.detail['http'] !== 'notHttp';
    return make(error.message, isHttp ? undefined : 'ENOTHTTP', isHttp);
  }
  if (code === undefined) return make(messageOf(error), undefined, true);
  const trouble = tlsText(code, error);
  if (trouble !== undefined) {
    return make(`tls: failed to verify certificate: ${trouble}`, code, false);
  }
  if (code === 'EPROTO' || code.startsWith('ERR_SSL_')) {
    const isHttp = /wrong version number|packet length too long|http request/i.test(
      `${code.replaceAll('_', ' ')} ${error.message}`,
    );
    const text = isHttp
      ? 'http: server gave HTTP response to HTTPS client'
      : `remote error: tls: ${alertText(code, error.message)}`;
    return make(text, 'EPROTO', false);
  }
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN') {
    const why = code === 'ENOTFOUND' ? 'no such host' : 'Temporary failure in name resolution';
    return make(`dial tcp: lookup ${url.hostname}: ${why}`, code, true);
  }
  const where =
    typeof error.address === 'string' && typeof error.port === 'number'
      ? ` ${error.address.includes(':') ? `[${error.address}]` : error.address}:${error.port}`
      : '';
  const text = ERRNO_TEXT[code] ?? error.message;
  const dialed = text.startsWith('connect') ? `dial tcp${where}: ${text}` : `net/http: ${text}`;
  return make(dialed, code, true);
}

/**
 * The error of a pull as Docker words it for a reference: what is not there or not allowed names
 * the image. Other errors pass.
 */
export function pullError(error: unknown, reference: Reference): unknown {
  if (!(error instanceof EngineError) || error.detail['registry'] !== true) return error;
  if (error.kind === 'unauthorized') {
    // Docker answers 500: at a 401 its clients would ask for a password, of whoever runs them.
    return new EngineError('internal', error.message, { cause: error, detail: error.detail });
  }
  const text = pullErrorText(error, reference);
  if (text === undefined) return error;
  return new EngineError('notFound', text, { cause: error, detail: error.detail });
}

function pullErrorText(error: EngineError, reference: Reference): string | undefined {
  const code = String(error.detail['code'] ?? '');
  switch (code) {
    case 'DENIED':
      return `pull access denied for ${familiarRepository(reference)}, repository does not exist or may require 'docker login': ${error.message}`;
    case 'MANIFEST_UNKNOWN':
      return `manifest for ${familiarReference(reference)} not found: ${error.message}`;
    case 'NAME_UNKNOWN':
      return `repository ${familiarRepository(reference)} not found: ${error.message}`;
    default:
      return undefined;
  }
}
