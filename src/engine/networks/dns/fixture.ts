import dgram from 'node:dgram';
import net from 'node:net';
import { openSyscalls } from '../../../kernel/ffi.ts';
import { boundSocket, localPort4 } from '../../../kernel/ip-sockets.ts';
import { DnsServer, type DnsZone } from './dns-server.ts';
import { Forwarder, type Upstream } from './forwarder.ts';

/** For tests: servers and clients of DNS on the loopback, on ports that the kernel chooses. */

const LOOPBACK = { family: 4, value: 0x7f000001n } as const;

/** An embedded server and the forwarder behind it. */
export function serveZone(zone: DnsZone): {
  readonly udp: number;
  readonly tcp: number;
  readonly forwarder: Forwarder;
  readonly errors: Error[];
} & Disposable {
  const sys = openSyscalls();
  const options = { ip: LOOPBACK, port: 0, nonBlocking: true, backlog: 16 };
  const udpFd = boundSocket(sys, { ...options, protocol: 'udp' });
  const tcpFd = boundSocket(sys, { ...options, protocol: 'tcp' });
  const ports = { udp: localPort4(sys, udpFd), tcp: localPort4(sys, tcpFd) };
  const forwarder = new Forwarder({ monotonicMs: () => performance.now() });
  const errors: Error[] = [];
  const onError = (error: Error): void => void errors.push(error);
  const server = new DnsServer({ udpFd, tcpFd, zone, forwarder, onError });
  return {
    ...ports,
    forwarder,
    errors,
    [Symbol.dispose]: () => {
      server.close();
      forwarder.close();
    },
  };
}

/** A resolver of the world outside that answers with what `answer` gives: several replies or none. */
export async function serveUpstream(
  answer: (query: Buffer) => readonly Uint8Array[],
): Promise<{ readonly upstream: Upstream; readonly asked: Buffer[] } & Disposable> {
  const asked: Buffer[] = [];
  const udp = dgram.createSocket('udp4');
  udp.on('message', (query, from) => {
    asked.push(query);
    for (const reply of answer(query)) udp.send(reply, from.port, from.address);
  });
  await new Promise<void>((done) => udp.bind(0, '127.0.0.1', done));
  const { port } = udp.address();
  const tcp = net.createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', (bytes: Buffer) => {
      const query = bytes.subarray(2);
      asked.push(query);
      for (const reply of answer(query)) {
        const frame = Buffer.alloc(2);
        frame.writeUInt16BE(reply.length);
        socket.write(Buffer.concat([frame, reply]));
      }
    });
  });
  await new Promise<void>((done) => tcp.listen(port, '127.0.0.1', done));
  return {
    upstream: { address: '127.0.0.1', port },
    asked,
    [Symbol.dispose]: () => {
      udp.close();
      tcp.close();
    },
  };
}

/** Sends datagrams and gives the first reply; undefined when none comes in time. */
export async function askUdp(
  port: number,
  messages: readonly Uint8Array[],
  timeoutMs = 3000,
): Promise<Buffer | undefined> {
  const socket = dgram.createSocket('udp4');
  try {
    return await new Promise<Buffer | undefined>((done) => {
      const timer = setTimeout(() => done(undefined), timeoutMs);
      socket.on('message', (reply) => {
        clearTimeout(timer);
        done(reply);
      });
      for (const message of messages) socket.send(message, port, '127.0.0.1');
    });
  } finally {
    socket.close();
  }
}

/** Sends bytes over TCP; all that came back until the other side closed or time was up. */
export async function askTcp(port: number, bytes: Uint8Array, timeoutMs = 3000): Promise<Buffer> {
  const socket = net.connect({ host: '127.0.0.1', port });
  const got: Buffer[] = [];
  return await new Promise<Buffer>((done) => {
    const end = (): void => {
      clearTimeout(timer);
      socket.destroy();
      done(Buffer.concat(got));
    };
    const timer = setTimeout(end, timeoutMs);
    socket.on('data', (chunk: Buffer) => {
      got.push(chunk);
      const all = Buffer.concat(got);
      if (all.length >= 2 && all.length >= 2 + all.readUInt16BE(0)) end();
    });
    socket.on('error', end);
    socket.on('close', end);
    socket.write(bytes);
  });
}
