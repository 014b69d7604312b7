import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';

/** An HTTP proxy that notes what it is asked for; disposing it stops it. */
export type RecordingProxy = AsyncDisposable & {
  readonly host: string;
  /** `GET http://…` or `CONNECT host:port`, and the `Proxy-Authorization`. */
  readonly asked: { readonly what: string; readonly authorization: string | undefined }[];
};

/** Starts it on a free port of an address; `resolve` tells where a host name leads. */
export async function startRecordingProxy(
  address: string,
  resolve: (host: string) => string,
): Promise<RecordingProxy> {
  const asked: { what: string; authorization: string | undefined }[] = [];
  const sockets = new Set<Duplex>();
  const note = (request: http.IncomingMessage): void => {
    const what = `${request.method} ${request.url}`;
    asked.push({ what, authorization: request.headers['proxy-authorization'] });
  };
  const server = http.createServer((request, answer) => {
    note(request);
    const target = new URL(request.url ?? '');
    const { method, headers } = request;
    const options = { host: resolve(target.hostname), port: target.port || 80, method, headers };
    const onward = http.request({ ...options, path: target.pathname + target.search }, (back) => {
      answer.writeHead(back.statusCode ?? 500, back.headers);
      back.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    request.pipe(onward);
  });
  server.on('connect', (request, client: Duplex, head: Buffer) => {
    note(request);
    const { hostname, port } = new URL(`http://${request.url}`);
    const upstream = net.connect({ host: resolve(hostname), port: Number(port) }, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.write(head);
      client.pipe(upstream).pipe(client);
    });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => socket.destroy());
    }
  });
  await new Promise<void>((done) => server.listen(0, address, done));
  const { port } = server.address() as AddressInfo;
  return {
    host: `${address}:${port}`,
    asked,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((done) => server.close(done));
    },
  };
}
