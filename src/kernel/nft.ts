import { spawn } from 'node:child_process';
import { errnoOf, internal, unavailable } from '../base/errors.ts';
import type { Ip } from '../base/ip.ts';
import type { NetlinkRequest } from '../formats/netlink.ts';
import {
  batchBegin,
  batchEnd,
  type DnsPorts,
  decodeGeneration,
  decodeTableUse,
  dnsRedirect,
  getGeneration,
  getTable,
  NFPROTO,
} from '../formats/nft.ts';
import { NETLINK, NetlinkSocket } from './netlink-socket.ts';
import type { Syscalls } from './syscalls.ts';

const STDERR_BYTES_MAX = 4096;

/** nftables of the network namespace it was opened in. */
export class NftSocket implements Disposable {
  readonly #socket: NetlinkSocket;

  constructor(sys: Syscalls) {
    this.#socket = new NetlinkSocket(sys, NETLINK.NETFILTER);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  /** Carries out all of it or nothing. */
  run(requests: readonly NetlinkRequest[]): void {
    this.#socket.runBatch(batchBegin, requests, batchEnd);
  }

  /** Changes with every change to the ruleset, whoever makes it. */
  generation(): number {
    const { type, payload } = getGeneration;
    return decodeGeneration(this.#socket.get(type, payload)) ?? 0;
  }

  /** Number of chains, sets and maps in a table; 0 when there is no such table. */
  tableUse(table: string, family: number = NFPROTO.INET): number {
    const { type, payload } = getTable(table, family);
    try {
      return decodeTableUse(this.#socket.get(type, payload)) ?? 0;
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return 0;
      throw error;
    }
  }
}

/** Redirects `address`:53 in the namespace of the calling thread; see {@link dnsRedirect}. */
export function redirectDns(sys: Syscalls, table: string, address: Ip, ports: DnsPorts): void {
  using nft = new NftSocket(sys);
  nft.run(dnsRedirect(table, address, ports));
}

/**
 * Has nft(8) carry out a script, as one transaction.
 * @throws unavailable when there is no nft or the kernel lacks it, internal with its words when it refuses
 */
export async function runNft(script: string): Promise<void> {
  const child = spawn('nft', ['-f', '-'], { stdio: ['pipe', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    if (said.length < STDERR_BYTES_MAX) said += text;
  });
  // A write that fails because nft gave up early is told by its exit status.
  child.stdin.on('error', () => undefined);
  child.stdin.end(script);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  }).catch((cause: unknown) => {
    throw unavailable(
      'cannot write firewall rules: nft is not installed. Install nftables, or start the daemon with --iptables=false',
      { cause },
    );
  });
  if (code !== 0) {
    if (/(?:Operation|Protocol) not supported/.test(said)) {
      throw unavailable(
        'cannot write firewall rules: this kernel has no nftables with NAT in the inet family ' +
          '(CONFIG_NF_TABLES, NF_TABLES_INET, NFT_NAT, NFT_MASQ). Give it these, or start the ' +
          'daemon with --iptables=false',
      );
    }
    throw internal(`cannot write firewall rules: nft: ${said.trim() || `exit status ${code}`}`);
  }
}
