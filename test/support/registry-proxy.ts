import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';

/** A request as a registry gets it, its body read. */
export type ProxiedRequest = {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly body: Buffer;
};

/** What the proxy answers in the registry's place. */
export type ProxyAnswer = { readonly status: number; readonly body: string };

/** Stands before a registry on a port of its own. */
export type RegistryProxy = AsyncDisposable & {
  /** `127.0.0.1:PORT`. */
  readonly host: string;
};

/**
 * Starts one. `answer` may answer for the registry; `headers` are added to what the registry answers.
 */
export async function startRegistryProxy(
  registryUrl: string,
  ways: {
    readonly answer?: (request: ProxiedRequest) => ProxyAnswer | undefined;
    readonly headers?: (request: ProxiedRequest) => Readonly<Record<string, string>>;
  },
): Promise<RegistryProxy> {
  const handle = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const { method = '', url = '', headers } = incoming;
    const asked = { method, url, body: await buffer(incoming) };
    const own = ways.answer?.(asked);
    if (own !== undefined) {
      response.writeHead(own.status).end(own.body);
      return;
    }
    const onward = request(new URL(url, registryUrl), { method, headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 500, { ...answer.headers, ...ways.headers?.(asked) });
      answer.pipe(response);
    });
    onward.on('error', () => response.destroy());
    onward.end(asked.body);
  };
  const server = createServer((incoming, response) => void handle(incoming, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
