import dgram from 'node:dgram';
import net from 'node:net';
import { LIMITS } from '../../../base/limits.ts';
import {
  type DnsAnswer,
  type DnsQuery,
  encodeAnswer,
  isStandardQuery,
  parseQuery,
  RCODE,
} from '../../../formats/dns.ts';
import type { Forwarder, Upstream } from './forwarder.ts';

/** As Docker: names of containers are looked up anew each time anyhow. */
const TTL_SEC = 600;
const TCP_BYTES_MAX = 65_535;

/** What is known of a question here: an answer, or `forward` when others have to be asked. */
export type LocalAnswer =
  | { readonly rcode: number; readonly answers: readonly DnsAnswer[] }
  | 'forward';

/** What a server knows: the names of one container's networks, and whom to ask else. */
export type DnsZone = {
  readonly lookUp: (query: DnsQuery) => LocalAnswer;
  /** None: questions for the world outside are refused. */
  readonly upstreams: () => readonly Upstream[];
};

/**
 * The embedded DNS server of one container, on sockets that were made in its network namespace.
 * What is not a question is dropped without an answer.
 */
export class DnsServer {
  readonly #zone: DnsZone;
  readonly #forwarder: Forwarder;
  readonly #udp: dgram.Socket;
  readonly #tcp: net.Server;
  readonly #connections = new Set<net.Socket>();
  #pending = 0;
  #closed = false;

  /** Takes over the descriptors: UDP bound, TCP listening, both non-blocking. */
  constructor(options: {
    udpFd: number;
    tcpFd: number;
    zone: DnsZone;
    forwarder: Forwarder;
    onError: (error: Error) => void;
  }) {
    this.#zone = options.zone;
    this.#forwarder = options.forwarder;
    this.#udp = dgram.createSocket('udp4');
    this.#udp.on('error', options.onError);
    this.#udp.on('message', (message, from) => this.#onDatagram(message, from));
    this.#udp.bind({ fd: options.udpFd });
    this.#tcp = net.createServer((socket) => this.#onConnection(socket));
    this.#tcp.maxConnections = LIMITS.dnsTcpConnectionsMax;
    this.#tcp.on('error', options.onError);
    this.#tcp.listen({ fd: options.tcpFd });
  }

  #onDatagram(message: Buffer, from: dgram.RemoteInfo): void {
    const query = parseQuery(message);
    if (query === undefined) return;
    const bytesMax = Math.min(query.udpBytes, LIMITS.dnsUdpBytesMax);
    const local = this.#answerHere(query, bytesMax);
    if (local !== undefined) this.#reply(local, from);
    else void this.#forward(query, message, 'udp', bytesMax).then((r) => this.#reply(r, from));
  }

  #reply(reply: Buffer | undefined, to: dgram.RemoteInfo): void {
    if (reply === undefined || this.#closed) return;
    // A reply that cannot be sent (the client is gone) is one that got lost.
    this.#udp.send(reply, to.port, to.address, () => undefined);
  }

  #onConnection(socket: net.Socket): void {
    this.#connections.add(socket);
    socket.on('close', () => this.#connections.delete(socket));
    socket.on('error', () => socket.destroy());
    socket.setTimeout(LIMITS.dnsTcpIdleMs, () => socket.destroy());
    let got = Buffer.alloc(0);
    let busy = false;
    const next = async (): Promise<void> => {
      busy = true;
      while (got.length >= 2 && got.length >= 2 + got.readUInt16BE(0)) {
        const end = 2 + got.readUInt16BE(0);
        const message = got.subarray(2, end);
        got = got.subarray(end);
        const reply = await this.#answerTcp(message);
        if (reply === undefined) {
          socket.destroy();
          return;
        }
        const frame = Buffer.alloc(2);
        frame.writeUInt16BE(reply.length);
        socket.write(Buffer.concat([frame, reply]));
      }
      busy = false;
    };
    socket.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      if (got.length > 2 * TCP_BYTES_MAX) socket.destroy();
      else if (!busy) void next();
    });
  }

  async #answerTcp(message: Buffer): Promise<Buffer | undefined> {
    const query = parseQuery(message);
    if (query === undefined) return undefined;
    return (
      this.#answerHere(query, TCP_BYTES_MAX) ??
      (await this.#forward(query, message, 'tcp', TCP_BYTES_MAX))
    );
  }

  /** Undefined: somebody else has to be asked. */
  #answerHere(query: DnsQuery, bytesMax: number): Buffer | undefined {
    if (!isStandardQuery(query)) return plain(query, RCODE.NOTIMP);
    const local = this.#zone.lookUp(query);
    if (local === 'forward') return undefined;
    return encodeAnswer(query, { ...local, ttlSec: TTL_SEC, bytesMax });
  }

  async #forward(
    query: DnsQuery,
    message: Uint8Array,
    transport: 'udp' | 'tcp',
    bytesMax: number,
  ): Promise<Buffer> {
    const upstreams = this.#zone.upstreams();
    if (upstreams.length === 0 || this.#pending >= LIMITS.dnsPendingPerContainerMax) {
      return plain(query, RCODE.SERVFAIL);
    }
    this.#pending += 1;
    try {
      const reply = await this.#forwarder.ask(query, message, upstreams, transport);
      return reply === undefined || reply.length > Math.max(bytesMax, LIMITS.dnsUdpBytesMax)
        ? plain(query, RCODE.SERVFAIL)
        : reply;
    } finally {
      this.#pending -= 1;
    }
  }

  close(): void {
    this.#closed = true;
    this.#udp.close();
    this.#tcp.close();
    for (const socket of this.#connections) socket.destroy();
  }
}

function plain(query: DnsQuery, rcode: number): Buffer {
  return encodeAnswer(query, { rcode, answers: [], ttlSec: 0, bytesMax: TCP_BYTES_MAX });
}
