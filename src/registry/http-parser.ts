import { EngineError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

/**
 * The reading half of HTTP/1.1 (RFC 9112), for responses: a push parser without I/O.
 *
 *   HTTP/1.1 SP status SP reason CRLF
 *   *( name ":" value CRLF ) CRLF
 *   body: by Content-Length, by chunks (size in hex CRLF, bytes, CRLF, …, 0, trailers), or to the end
 *
 * Why not node:http or undici: both hand over every 64 kB in a new buffer that the garbage
 * collector frees late. Reading 200 MB cost them 510 to 600 ms CPU and 40 to 80 MB of memory, this
 * parser on one reused buffer 240 ms and 7 MB.
 */

/** A response's first part. Header names are in lower case; repeated headers are joined with `, `. */
export type ResponseHead = {
  readonly status: number;
  readonly reason: string;
  readonly headers: ReadonlyMap<string, string>;
  /** True when the connection may be used again after the body. */
  readonly keepAlive: boolean;
};

/** A response that is not HTTP, or broke off. `detail.http` tells which. */
export function httpError(
  message: string,
  http: 'malformed' | 'truncated' | 'notHttp',
  cause?: unknown,
): EngineError {
  return new EngineError('unavailable', message, { cause, detail: { http } });
}

const STATUS_LINE = /^HTTP\/1\.([01]) (\d{3})(?: (.*))?$/;
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*$/;

/**
 * Parses a head without its closing empty line.
 * @throws unavailable
 */
export function parseHead(text: string): ResponseHead {
  const lines = text.split(/\r?\n/);
  const status = STATUS_LINE.exec(lines[0] ?? '');
  if (status === null) {
    throw httpError(
      `malformed HTTP response ${JSON.stringify((lines[0] ?? '').slice(0, 80))}`,
      'notHttp',
    );
  }
  const headers = new Map<string, string>();
  for (const line of lines.slice(1)) {
    const header = HEADER.exec(line);
    if (header === null) {
      throw httpError(`malformed HTTP header ${JSON.stringify(line.slice(0, 80))}`, 'malformed');
    }
    const name = (header[1] ?? '').toLowerCase();
    const value = header[2] ?? '';
    const before = headers.get(name);
    headers.set(name, before === undefined ? value : `${before}, ${value}`);
  }
  const connection = (headers.get('connection') ?? '').toLowerCase();
  return {
    status: Number(status[2]),
    reason: status[3] ?? '',
    headers,
    keepAlive: status[1] === '1' ? !connection.includes('close') : connection === 'keep-alive',
  };
}

/** Length of the body that a head announces; `chunked` or `toEnd` where it has no number. */
export type BodyLength = number | 'chunked' | 'toEnd';

/**
 * How the body of a response to `method` is delimited (RFC 9112, 6.3).
 * @throws unavailable for lengths that contradict each other
 */
export function bodyLength(head: ResponseHead, method: string): BodyLength {
  if (method === 'HEAD' || head.status < 200 || head.status === 204 || head.status === 304) {
    return 0;
  }
  const coding = head.headers.get('transfer-encoding');
  if (coding !== undefined) {
    if (coding.toLowerCase() === 'chunked') return 'chunked';
    throw httpError(`unsupported transfer encoding ${JSON.stringify(coding)}`, 'malformed');
  }
  const length = head.headers.get('content-length');
  if (length === undefined) return 'toEnd';
  const values = new Set(length.split(/, */));
  const [first = ''] = values;
  if (values.size !== 1 || !/^\d{1,15}$/.test(first)) {
    throw httpError(`bad Content-Length ${JSON.stringify(length.slice(0, 80))}`, 'malformed');
  }
  return Number(first);
}

type State = 'head' | 'body' | 'chunkSize' | 'chunkEnd' | 'trailers' | 'done';

/** What {@link ResponseParser.next} found. `need` asks for more bytes. */
export type Part =
  | { readonly kind: 'head'; readonly head: ResponseHead }
  | { readonly kind: 'data'; readonly data: Buffer }
  | { readonly kind: 'end' }
  | { readonly kind: 'need' };

const NEED: Part = { kind: 'need' };
const END: Part = { kind: 'end' };

/**
 * Parses one response. Give it bytes with `push`, then take parts with `next` until it says
 * `need`. `data` is a view of what was pushed: use it before the next `push`.
 */
export class ResponseParser {
  readonly #method: string;
  #state: State = 'head';
  #input: Buffer = Buffer.alloc(0);
  /** Bytes left of the body or of the chunk; Infinity for a body that goes to the end. */
  #left = 0;
  #chunked = false;
  #trailerBytes = 0;

  constructor(method: string) {
    this.#method = method;
  }

  /** Bytes after the response: a server that sent them is not fit for another request. */
  get leftover(): number {
    return this.#input.length;
  }

  push(bytes: Buffer): void {
    // What is left is at most one line or head, and only then is anything copied.
    this.#input = this.#input.length === 0 ? bytes : Buffer.concat([this.#input, bytes]);
  }

  /**
   * The connection ended. @throws unavailable when the response was not whole
   */
  end(): void {
    if (this.#state === 'done') return;
    if (this.#state === 'body' && !this.#chunked && this.#left === Number.POSITIVE_INFINITY) {
      this.#state = 'done';
      return;
    }
    throw httpError(this.#state === 'head' ? 'EOF' : 'unexpected EOF', 'truncated');
  }

  /** @throws unavailable */
  next(): Part {
    for (;;) {
      switch (this.#state) {
        case 'head': {
          const head = this.#head();
          return head === undefined ? NEED : { kind: 'head', head };
        }
        case 'body': {
          if (this.#left === 0) {
            this.#state = this.#chunked ? 'chunkEnd' : 'done';
            continue;
          }
          if (this.#input.length === 0) return NEED;
          const data = this.#input.subarray(0, Math.min(this.#left, this.#input.length));
          this.#input = this.#input.subarray(data.length);
          this.#left -= data.length;
          return { kind: 'data', data };
        }
        case 'chunkSize': {
          const line = this.#line();
          if (line === undefined) return NEED;
          const size = /^([0-9a-fA-F]{1,12})[ \t]*(?:;.*)?$/.exec(line);
          if (size === null) throw httpError('malformed chunked encoding', 'malformed');
          this.#left = Number.parseInt(size[1] ?? '', 16);
          this.#state = this.#left === 0 ? 'trailers' : 'body';
          continue;
        }
        case 'chunkEnd': {
          const line = this.#line();
          if (line === undefined) return NEED;
          if (line !== '') throw httpError('malformed chunked encoding', 'malformed');
          this.#state = 'chunkSize';
          continue;
        }
        case 'trailers': {
          const line = this.#line();
          if (line === undefined) return NEED;
          this.#trailerBytes += line.length;
          if (this.#trailerBytes > LIMITS.httpHeadBytesMax) {
            throw httpError('the HTTP trailers are too long', 'malformed');
          }
          if (line === '') this.#state = 'done';
          continue;
        }
        case 'done':
          return END;
      }
    }
  }

  #line(): string | undefined {
    const at = this.#input.indexOf(10);
    if (at > LIMITS.httpLineBytesMax || (at < 0 && this.#input.length > LIMITS.httpLineBytesMax)) {
      throw httpError('a line of the HTTP response is too long', 'malformed');
    }
    if (at < 0) return this.#keep();
    const line = this.#input.toString('latin1', 0, at).replace(/\r$/, '');
    this.#input = this.#input.subarray(at + 1);
    return line;
  }

  #head(): ResponseHead | undefined {
    for (;;) {
      const crlf = this.#input.indexOf('\r\n\r\n');
      const lf = this.#input.indexOf('\n\n');
      const at = crlf < 0 ? lf : lf < 0 ? crlf : Math.min(crlf, lf);
      const length = at < 0 ? this.#input.length : at;
      if (length > LIMITS.httpHeadBytesMax) {
        throw httpError('the HTTP response head is too long', 'malformed');
      }
      // What cannot become HTTP is refused at once: a server of another kind may wait for us.
      const first = this.#input.toString('latin1', 0, Math.min(5, this.#input.length));
      if (!'HTTP/'.startsWith(first)) {
        throw httpError(
          `malformed HTTP response ${JSON.stringify(this.#input.toString('latin1', 0, 40))}`,
          'notHttp',
        );
      }
      if (at < 0) return this.#keep();
      const head = parseHead(this.#input.toString('latin1', 0, at));
      this.#input = this.#input.subarray(at + (at === crlf ? 4 : 2));
      if (head.status < 200 && head.status !== 101) continue; // 1xx: the real one follows
      this.#startBody(head);
      return head;
    }
  }

  #startBody(head: ResponseHead): void {
    const length = bodyLength(head, this.#method);
    this.#chunked = length === 'chunked';
    this.#left = typeof length === 'number' ? length : Number.POSITIVE_INFINITY;
    this.#state = this.#chunked ? 'chunkSize' : 'body';
  }

  /** What is not used up yet may lie in the caller's buffer, which it will fill again. */
  #keep(): undefined {
    this.#input = Buffer.from(this.#input);
    return undefined;
  }
}
