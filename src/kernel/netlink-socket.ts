import { closeSync, read, write } from 'node:fs';
import { promisify } from 'node:util';
import { EngineError, errnoOf } from '../base/errors.ts';
import {
  decodeError,
  decodeMessages,
  encodeMessage,
  type NetlinkMessage,
  type NetlinkRequest,
  NLM_F,
  NLMSG,
} from '../formats/netlink.ts';
import { AF, SO, SOCK, SOL_SOCKET } from './constants.ts';
import { ERRNO } from './errno.ts';
import { syscallError } from './syscall-error.ts';
import type { Syscalls } from './syscalls.ts';

/** Netlink protocols, linux/netlink.h. */
export const NETLINK = { ROUTE: 0, NETFILTER: 12 } as const;

const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const SO_RCVBUFFORCE = 33;

/** The kernel answers before send(2) returns; this only bounds a bug. */
const ANSWER_TIMEOUT_SEC = 5;
const DATAGRAM_BYTES_MAX = 64 << 10;
/** Room for a dump of many routes or links. */
const RECEIVE_BUFFER_BYTES = 1 << 20;
const DUMP_TRIES_MAX = 5;
/** Shared: a receive is copied out of it before anything else runs. */
const RECEIVE_BUFFER = Buffer.alloc(DATAGRAM_BYTES_MAX);

const writeInBackground = promisify(write);
const readInBackground = promisify(read);

/** A dump under way. */
type Dump = {
  readonly request: { readonly type: number; readonly flags: number };
  readonly sequence: number;
  readonly found: NetlinkMessage[];
  interrupted: boolean;
};

function timeval(seconds: number): Buffer {
  const wide = process.arch !== 'arm' && process.arch !== 'ia32';
  const bytes = Buffer.alloc(wide ? 16 : 8);
  bytes.writeUInt32LE(seconds, 0);
  return bytes;
}

/**
 * A netlink socket with blocking calls: the kernel carries a request out inside send(2), so that
 * waiting would only cost more. It stays in the network namespace it was opened in, wherever the
 * thread goes.
 */
export class NetlinkSocket implements Disposable {
  readonly #sys: Syscalls;
  readonly #fd: number;
  #sequence = 0;

  constructor(sys: Syscalls, protocol: number) {
    this.#sys = sys;
    this.#fd = sys.socket(AF.NETLINK, SOCK.RAW | SOCK.CLOEXEC, protocol);
    try {
      sys.setsockopt(this.#fd, SOL_SOCKET, SO.RCVTIMEO, timeval(ANSWER_TIMEOUT_SEC));
      sys.setsockopt(this.#fd, SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES);
      sys.setsockopt(this.#fd, SOL_NETLINK, NETLINK_CAP_ACK, 1);
      sys.setsockopt(this.#fd, SOL_NETLINK, NETLINK_EXT_ACK, 1);
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }

  /**
   * Carries out requests in order, all of them in one datagram.
   * @throws the first failure, with `detail.errno` and the kernel's words; later requests may have been done
   */
  run(...requests: NetlinkRequest[]): void {
    if (requests.length === 0) return;
    const first = this.#sequence + 1;
    this.#sys.send(this.#fd, this.#encode(requests), 0);
    this.#awaitAcknowledgements(first, requests);
  }

  /**
   * Like {@link run}, with the kernel's work done on another thread: for what the kernel takes its
   * time for (removing a link waits for an RCU grace period).
   */
  async runInBackground(...requests: NetlinkRequest[]): Promise<void> {
    const first = this.#sequence + 1;
    const bytes = this.#encode(requests);
    await writeInBackground(this.#fd, bytes);
    this.#awaitAcknowledgements(first, requests);
  }

  /** Everything that a get request with NLM_F_DUMP gives. */
  dump(type: number, payload: Uint8Array): NetlinkMessage[] {
    for (let tries = 1; ; tries += 1) {
      const dump = this.#startDump(type);
      this.#sys.send(this.#fd, encodeMessage({ ...dump.request, payload }, dump.sequence), 0);
      while (!this.#collect(dump, this.#receive()));
      // The table changed under the dump: ask again, but not for ever.
      if (!dump.interrupted || tries === DUMP_TRIES_MAX) return dump.found;
    }
  }

  /**
   * Like {@link dump}, with the kernel's work done on another thread: for tables that take long to
   * go through. What changes meanwhile may be missed.
   */
  async dumpInBackground(type: number, payload: Uint8Array): Promise<NetlinkMessage[]> {
    const dump = this.#startDump(type);
    await writeInBackground(this.#fd, encodeMessage({ ...dump.request, payload }, dump.sequence));
    const buffer = Buffer.alloc(DATAGRAM_BYTES_MAX);
    for (let done = false; !done; ) {
      const { bytesRead } = await readInBackground(this.#fd, buffer, 0, buffer.length, null);
      done = this.#collect(dump, decodeMessages(Buffer.from(buffer.subarray(0, bytesRead))));
    }
    return dump.found;
  }

  #startDump(type: number): Dump {
    const request = { type, flags: NLM_F.REQUEST | NLM_F.DUMP };
    return { request, sequence: this.#next(), found: [], interrupted: false };
  }

  /** Takes what belongs to a dump; true at its end. */
  #collect(dump: Dump, messages: readonly NetlinkMessage[]): boolean {
    let done = false;
    for (const message of messages) {
      if (message.sequence !== dump.sequence) continue;
      if ((message.flags & NLM_F.DUMP_INTR) !== 0) dump.interrupted = true;
      if (message.type === NLMSG.DONE) done = true;
      else if (message.type === NLMSG.ERROR) throw this.#failure(message, dump.request.type);
      else dump.found.push(message);
    }
    return done;
  }

  /** The one message that a get request gives. */
  get(type: number, payload: Uint8Array): NetlinkMessage {
    const sequence = this.#next();
    const bytes = encodeMessage({ type, flags: NLM_F.REQUEST, payload }, sequence);
    this.#sys.send(this.#fd, bytes, 0);
    for (;;) {
      for (const message of this.#receive()) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG.ERROR) throw this.#failure(message, type);
        return message;
      }
    }
  }

  /**
   * Sends a netfilter batch: what lies between `begin` and `end` is carried out wholly or not at all.
   * @throws the first failure
   */
  runBatch(begin: NetlinkRequest, requests: readonly NetlinkRequest[], end: NetlinkRequest): void {
    if (requests.length === 0) return;
    const first = this.#sequence + 2;
    const all = [begin, ...requests, end].map((request) => encodeMessage(request, this.#next()));
    this.#sys.send(this.#fd, Buffer.concat(all), 0);
    this.#awaitAcknowledgements(first, requests);
  }

  #next(): number {
    this.#sequence = (this.#sequence + 1) >>> 0;
    return this.#sequence;
  }

  #encode(requests: readonly NetlinkRequest[]): Buffer {
    return Buffer.concat(
      requests.map((request) =>
        encodeMessage(
          { ...request, flags: request.flags | NLM_F.REQUEST | NLM_F.ACK },
          this.#next(),
        ),
      ),
    );
  }

  #receive(): NetlinkMessage[] {
    const bytes = this.#sys.recv(this.#fd, RECEIVE_BUFFER, 0);
    return decodeMessages(Buffer.from(RECEIVE_BUFFER.subarray(0, bytes)));
  }

  /** Waits for the answer to each request that asked for one, then throws the first failure. */
  #awaitAcknowledgements(first: number, requests: readonly NetlinkRequest[]): void {
    const last = first + requests.length - 1;
    let failure: EngineError | undefined;
    let open = requests.length;
    while (open > 0) {
      for (const message of this.#receive()) {
        if (message.type !== NLMSG.ERROR) continue;
        if (message.sequence < first || message.sequence > last) {
          // A batch that fails as a whole is answered under its first or last line.
          const { errno } = decodeError(message);
          if (message.sequence < first - 1 || errno === 0) continue;
        }
        open -= 1;
        const request = requests[message.sequence - first];
        const { errno } = decodeError(message);
        if (errno !== 0) failure ??= this.#failure(message, request?.type ?? 0);
      }
      if (failure !== undefined) break; // what else comes is skipped by its sequence number
    }
    if (failure !== undefined) throw failure;
  }

  #failure(message: NetlinkMessage, requestType: number): EngineError {
    const { errno, text } = decodeError(message);
    const plain = syscallError(`netlink request ${requestType}`, errno);
    if (text === '') return plain;
    return new EngineError('internal', `${text} (${ERRNO[errno]?.[1] ?? errno})`, {
      detail: { ...plain.detail, errno: errnoOf(plain) ?? '' },
    });
  }
}
