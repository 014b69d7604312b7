import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import path from 'node:path';
import { temporaryFolder } from './temp.ts';

/** One request as it came. */
export type RecordedRequest = {
  readonly method: string;
  /** Without the version. */
  readonly path: string;
  readonly query: Readonly<Record<string, readonly string[]>>;
  readonly body: unknown;
  readonly headers: IncomingMessage['headers'];
};

/** What is answered to `METHOD /path`; a function gives one for each request. */
export type CannedAnswer =
  | {
      readonly status?: number;
      readonly json?: unknown;
      readonly text?: string;
      readonly bytes?: Buffer;
    }
  | ((request: RecordedRequest) => CannedAnswer);

/** A daemon that does nothing: it writes requests down and gives the answers it was told to give. */
export type RecordingDaemon = AsyncDisposable & {
  /** For `-H`. */
  readonly host: string;
  readonly requests: RecordedRequest[];
};

const API_VERSION = '1.50';

async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString();
  if (text === '') return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function send(
  response: ServerResponse,
  answer: Exclude<CannedAnswer, (r: never) => unknown>,
): void {
  const body =
    answer.bytes ?? (answer.text === undefined ? JSON.stringify(answer.json ?? {}) : answer.text);
  const status = answer.status ?? 200;
  response.writeHead(status, {
    'Content-Type': answer.bytes === undefined ? 'application/json' : 'application/octet-stream',
    'Api-Version': API_VERSION,
    Ostype: 'linux',
    'Docker-Experimental': 'false',
  });
  response.end(status === 204 || status === 304 ? undefined : body);
}

/** Starts one on a socket of its own. Answers are found by `METHOD /path`; else `{}`. */
export async function recordingDaemon(
  answers: Readonly<Record<string, CannedAnswer>> = {},
): Promise<RecordingDaemon> {
  const folder = temporaryFolder('recording');
  const socket = path.join(folder.path, 'daemon.sock');
  const requests: RecordedRequest[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://daemon');
    const recorded: RecordedRequest = {
      method: request.method ?? '',
      path: url.pathname.replace(/^\/v\d+\.\d+/, ''),
      query: Object.fromEntries(
        [...url.searchParams.keys()].map((key) => [key, url.searchParams.getAll(key)]),
      ),
      body: await readBody(request),
      headers: request.headers,
    };
    requests.push(recorded);
    let canned: CannedAnswer = answers[`${recorded.method} ${recorded.path}`] ?? {};
    while (typeof canned === 'function') canned = canned(recorded);
    send(response, canned);
  };
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error as Error));
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return {
    host: `unix://${socket}`,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      folder[Symbol.dispose]();
    },
  };
}
