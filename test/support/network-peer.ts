/**
 * A program in a network namespace that a test speaks to by IPC: it serves, asks and resolves with
 * Node's own sockets. Started by `network-host.ts`.
 */
import dgram from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import net from 'node:net';

/** What a peer can be asked to do. */
export type PeerRequest =
  /** Answers each connection with `word` and the client's address; resolves when it listens. */
  | {
      readonly op: 'serve';
      readonly protocol: 'tcp' | 'udp';
      readonly ip: string;
      readonly port: number;
      readonly word: string;
    }
  /** Connects and gives what it is told: `word address`. */
  | {
      readonly op: 'ask';
      readonly protocol: 'tcp' | 'udp';
      readonly ip: string;
      readonly port: number;
      readonly timeoutMs?: number;
    }
  | {
      readonly op: 'resolve';
      readonly name: string;
      readonly type: string;
      readonly server: string;
    }
  | { readonly op: 'reverse'; readonly ip: string; readonly server: string }
  /** Sends a datagram every few ms from one socket, for ever; `heard` gives the last answer. */
  | { readonly op: 'stream'; readonly ip: string; readonly port: number }
  | { readonly op: 'heard' }
  /** Opens a connection that stays; later `say` sends on it and gives the answer. */
  | { readonly op: 'open'; readonly ip: string; readonly port: number }
  | { readonly op: 'say'; readonly text: string };

/** A fresh IPv6 address is not spoken for at first, and a SYN is sent again after 1 and 3 s. */
const PATIENCE_MS = 5000;

let kept: net.Socket | undefined;
let heard = '';

function once<T>(start: (done: (value: T) => void, fail: (error: Error) => void) => void) {
  return new Promise<T>(start);
}

async function serve(request: PeerRequest & { op: 'serve' }): Promise<string> {
  const { protocol, ip, port, word } = request;
  if (protocol === 'udp') {
    const socket = dgram.createSocket(net.isIPv6(ip) ? 'udp6' : 'udp4');
    socket.on('message', (_, from) =>
      socket.send(`${word} ${from.address}`, from.port, from.address),
    );
    await once<void>((done, fail) => socket.once('error', fail).bind(port, ip, () => done()));
    return 'serving';
  }
  const server = net.createServer((client) => {
    client.on('error', () => client.destroy());
    client.write(`${word} ${client.remoteAddress ?? ''}\n`);
    client.on('data', (bytes) => client.write(`echo ${bytes.toString()}`));
  });
  await once<void>((done, fail) => server.once('error', fail).listen(port, ip, () => done()));
  return 'serving';
}

function ask({ protocol, ip, port, timeoutMs }: PeerRequest & { op: 'ask' }): Promise<string> {
  return once<string>((done, fail) => {
    const timer = setTimeout(() => fail(new Error('timed out')), timeoutMs ?? PATIENCE_MS);
    const settle = (body: () => void): void => {
      clearTimeout(timer);
      body();
    };
    if (protocol === 'udp') {
      const socket = dgram.createSocket(net.isIPv6(ip) ? 'udp6' : 'udp4');
      socket.on('error', (error) => settle(() => fail(error)));
      socket.on('message', (text) => {
        socket.close();
        settle(() => done(text.toString()));
      });
      socket.send('hello', port, ip);
      return;
    }
    const socket = net.connect({ host: ip, port });
    socket.on('error', (error) => settle(() => fail(error)));
    socket.on('data', (text) =>
      settle(() => {
        socket.destroy();
        done(text.toString().trim());
      }),
    );
    setTimeout(() => socket.destroy(), timeoutMs ?? PATIENCE_MS).unref();
  });
}

async function answer(request: PeerRequest): Promise<unknown> {
  switch (request.op) {
    case 'serve':
      return await serve(request);
    case 'ask':
      return await ask(request);
    case 'resolve': {
      const resolver = new Resolver({ timeout: 5000, tries: 1 });
      resolver.setServers([request.server]);
      return await resolver.resolve(request.name, request.type as 'A');
    }
    case 'reverse': {
      const resolver = new Resolver({ timeout: 5000, tries: 1 });
      resolver.setServers([request.server]);
      return await resolver.reverse(request.ip);
    }
    case 'stream': {
      const socket = dgram.createSocket('udp4');
      socket.on('message', (text) => {
        heard = text.toString();
      });
      setInterval(() => socket.send('tick', request.port, request.ip), 20);
      return 'streaming';
    }
    case 'heard': {
      const last = heard;
      heard = '';
      return last;
    }
    case 'open': {
      const socket = net.connect({ host: request.ip, port: request.port });
      kept = socket;
      return await once<string>((done, fail) =>
        socket.once('error', fail).once('data', (text) => done(text.toString().trim())),
      );
    }
    case 'say': {
      const socket = kept;
      if (socket === undefined) throw new Error('nothing is open');
      socket.write(request.text);
      return await once<string>((done, fail) => {
        const timer = setTimeout(() => fail(new Error('timed out')), 2000);
        socket.once('error', fail).once('data', (text) => {
          clearTimeout(timer);
          done(text.toString().trim());
        });
      });
    }
  }
}

process.on('message', ({ id, request }: { id: number; request: PeerRequest }) => {
  answer(request).then(
    (value) => process.send?.({ id, value }),
    (error: Error & { code?: string }) =>
      process.send?.({ id, error: error.code ?? error.message }),
  );
});
