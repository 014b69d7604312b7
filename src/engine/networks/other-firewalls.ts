import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { errnoOf, messageOf } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import { NFPROTO } from '../../formats/nft.ts';
import { NftSocket } from '../../kernel/nft.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';

/**
 * Other firewalls on the host. In nftables a packet must be accepted by every table that looks at
 * it, so rules of ours cannot help where another's forward chain drops: a host with Docker or ufw
 * (iptables, `FORWARD` with policy DROP) or firewalld. There, and only there, the engine asks that
 * firewall to let its bridges through; what containers may do is decided in our table all the same.
 */

const COMMAND_TIMEOUT_MS = 10_000;
const run = promisify(execFile);

async function command(file: string, args: readonly string[], input = ''): Promise<string> {
  const started = run(file, [...args], { timeout: COMMAND_TIMEOUT_MS });
  // A program that ends without reading is told by its exit status.
  started.child.stdin?.on('error', () => undefined);
  started.child.stdin?.end(input);
  return (await started).stdout;
}

/** A kind of iptables on this host: its commands, and whether its filter table is there. */
type Variant = {
  readonly commands: readonly string[];
  readonly isThere: (nft: NftSocket) => boolean;
};

function legacyTable(file: string): boolean {
  try {
    return readFileSync(file, 'utf8').split('\n').includes('filter');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false; // the module is not loaded
    throw error;
  }
}

const VARIANTS: readonly Variant[] = [
  {
    commands: ['iptables-nft', 'iptables'],
    isThere: (nft) => nft.tableUse('filter', NFPROTO.IPV4) > 0,
  },
  {
    commands: ['ip6tables-nft', 'ip6tables'],
    isThere: (nft) => nft.tableUse('filter', NFPROTO.IPV6) > 0,
  },
  {
    commands: ['iptables-legacy', 'iptables'],
    isThere: () => legacyTable('/proc/net/ip_tables_names'),
  },
  {
    commands: ['ip6tables-legacy', 'ip6tables'],
    isThere: () => legacyTable('/proc/net/ip6_tables_names'),
  },
];

/** True when the chain, as `iptables -S FORWARD` shows it, does not let everything through. */
export function dropsForwarded(rules: string): boolean {
  return /^-P FORWARD DROP$|^-A FORWARD -j (?:DROP|REJECT)\b/m.test(rules);
}

function accepts(chain: string, bridges: readonly string[]): string[] {
  return bridges.flatMap((bridge) => [
    `-A ${chain} -i ${bridge} -j ACCEPT`,
    `-A ${chain} -o ${bridge} -j ACCEPT`,
  ]);
}

/** What `iptables -S CHAIN` shows of a chain that lets these bridges through. */
function acceptedRules(chain: string, bridges: readonly string[]): string {
  return [`-N ${chain}`, ...accepts(chain, bridges), ''].join('\n');
}

/** Input for iptables-restore --noflush: a chain of ours that accepts what comes from and to bridges. */
export function acceptScript(chain: string, bridges: readonly string[], isLinked: boolean): string {
  const link = isLinked ? [] : [`-I FORWARD 1 -j ${chain}`];
  const lines = ['*filter', `:${chain} - [0:0]`, ...accepts(chain, bridges), ...link, 'COMMIT', ''];
  return lines.join('\n');
}

export class OtherFirewalls {
  readonly #sys: Syscalls;
  readonly #log: Logger;
  readonly #chain: string;

  /** `table` names the daemon's own nftables table, and so its chain in others'. */
  constructor(sys: Syscalls, log: Logger, table: string) {
    this.#sys = sys;
    this.#log = log;
    this.#chain = table.toUpperCase();
  }

  /** Has them let the bridges through. A failure is told and no more: the rules may do without. */
  async admit(bridges: readonly string[]): Promise<void> {
    using nft = new NftSocket(this.#sys);
    for (const variant of VARIANTS) {
      if (variant.isThere(nft)) await this.#admitByIptables(variant.commands, bridges);
    }
    if (nft.tableUse('firewalld') > 0) await this.#admitByFirewalld(bridges);
  }

  async #admitByIptables(commands: readonly string[], bridges: readonly string[]): Promise<void> {
    for (const iptables of commands) {
      try {
        const rules = await command(iptables, ['-w', '-S', 'FORWARD']);
        const isLinked = rules.split('\n').includes(`-A FORWARD -j ${this.#chain}`);
        if (!isLinked && !dropsForwarded(rules)) return;
        const present = isLinked ? await command(iptables, ['-w', '-S', this.#chain]) : '';
        if (isLinked && present === acceptedRules(this.#chain, bridges)) return;
        const script = acceptScript(this.#chain, bridges, isLinked);
        await command(`${iptables}-restore`, ['-w', '--noflush'], script);
        return;
      } catch (error) {
        if (errnoOf(error) === 'ENOENT') continue; // no such program: the next name
        this.#log.warn('cannot have iptables let the bridges through', { error: messageOf(error) });
        return;
      }
    }
  }

  async #admitByFirewalld(bridges: readonly string[]): Promise<void> {
    for (const bridge of bridges) {
      try {
        await command('firewall-cmd', ['--zone=trusted', `--change-interface=${bridge}`]);
      } catch (error) {
        this.#log.warn('cannot put a bridge into the trusted zone of firewalld', {
          bridge,
          error: messageOf(error),
        });
      }
    }
  }
}
