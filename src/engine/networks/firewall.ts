import type { TaskGroup } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import { isUnspecified } from '../../base/ip.ts';
import type { Logger } from '../../base/log.ts';
import { addElements, deleteElements, type MapElement } from '../../formats/nft.ts';
import { forgetUdpFlows } from '../../kernel/conntrack.ts';
import { NftSocket, runNft } from '../../kernel/nft.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import {
  type PortRule,
  publishMap,
  type Ruleset,
  renderRuleset,
} from '../../policy/nft-ruleset.ts';
import { OtherFirewalls } from './other-firewalls.ts';

/** How often the engine looks whether somebody flushed its table. */
const WATCH_INTERVAL_MS = 5_000;

function elementOf(port: PortRule): MapElement {
  return {
    protocol: port.protocol,
    hostPort: port.hostPort,
    ...(isUnspecified(port.hostIp) ? {} : { hostIp: port.hostIp }),
    target: { ip: port.containerIp, port: port.containerPort },
  };
}

/**
 * The engine's nftables table. Networks are rules: a change writes the whole table anew, in one
 * transaction. Published ports are elements of its maps: a change is one short message.
 */
export class Firewall {
  readonly #sys: Syscalls;
  readonly #table: string;
  readonly #log: Logger;
  readonly #describe: () => Omit<Ruleset, 'table'>;
  readonly #others: OtherFirewalls;
  #socket: NftSocket | undefined;
  /** The rewrite under way, if any. */
  #rewriting: Promise<void> | undefined;
  #again = false;
  #generation = 0;
  #use = 0;

  constructor(options: {
    sys: Syscalls;
    table: string;
    log: Logger;
    /** What the table should say now. */
    describe: () => Omit<Ruleset, 'table'>;
  }) {
    this.#sys = options.sys;
    this.#table = options.table;
    this.#log = options.log;
    this.#describe = options.describe;
    this.#others = new OtherFirewalls(options.sys, options.log, options.table);
  }

  get table(): string {
    return this.#table;
  }

  #nft(): NftSocket {
    this.#socket ??= new NftSocket(this.#sys);
    return this.#socket;
  }

  /** Makes the table say what `describe` says. Calls that come meanwhile share one more pass. */
  async rewrite(): Promise<void> {
    if (this.#rewriting !== undefined) {
      this.#again = true;
      return await this.#rewriting;
    }
    this.#rewriting = this.#rewriteUntilQuiet();
    try {
      await this.#rewriting;
    } finally {
      this.#rewriting = undefined;
    }
  }

  async #rewriteUntilQuiet(): Promise<void> {
    do {
      this.#again = false;
      await runNft(renderRuleset({ table: this.#table, ...this.#describe() }));
      await this.#admit();
      this.#remember();
    } while (this.#again);
  }

  async #admit(): Promise<void> {
    await this.#others.admit(this.#describe().bridges.map(({ bridge }) => bridge));
  }

  #remember(): void {
    this.#generation = this.#nft().generation();
    this.#use = this.#nft().tableUse(this.#table);
  }

  /** A change of our own, which the watch need not look into. */
  #change(body: () => void): void {
    const quiet = this.#nft().generation() === this.#generation;
    body();
    if (quiet) this.#generation = this.#nft().generation();
  }

  /** Lets ports lead to a container. They must be in what `describe` says already. */
  async publish(ports: readonly PortRule[]): Promise<void> {
    if (ports.length === 0) return;
    await this.#add(ports);
    await this.#forgetFlows(ports);
  }

  async #add(ports: readonly PortRule[]): Promise<void> {
    if (this.#rewriting !== undefined) return await this.rewrite();
    try {
      this.#change(() =>
        this.#nft().run(
          ports.map((port) => addElements(this.#table, publishMap(port.hostIp), [elementOf(port)])),
        ),
      );
    } catch (error) {
      // The table is gone (a firewall was reloaded) or holds a stale element: write it anew.
      this.#log.info('rewriting the firewall table', { cause: messageOf(error) });
      await this.rewrite();
    }
  }

  /** The reverse; never fails. They must be gone from what `describe` says already. */
  async unpublish(ports: readonly PortRule[]): Promise<void> {
    if (ports.length === 0) return;
    await this.#remove(ports);
    await this.#forgetFlows(ports);
  }

  /** UDP flows of before lead where they led, until they are forgotten. */
  async #forgetFlows(ports: readonly PortRule[]): Promise<void> {
    const udp = ports.filter(({ protocol }) => protocol === 'udp');
    for (const family of [4, 6] as const) {
      const mine = udp.filter(({ hostIp }) => hostIp.family === family);
      if (mine.length === 0) continue;
      try {
        await forgetUdpFlows(this.#sys, family, new Set(mine.map(({ hostPort }) => hostPort)));
      } catch (error) {
        this.#log.debug('cannot forget UDP flows', { error: messageOf(error) });
      }
    }
  }

  async #remove(ports: readonly PortRule[]): Promise<void> {
    if (this.#rewriting !== undefined) return await this.rewrite();
    const requests = ports.map((port) => {
      const { target: _target, ...key } = elementOf(port);
      return deleteElements(this.#table, publishMap(port.hostIp), [key]);
    });
    try {
      this.#change(() => this.#nft().run(requests));
    } catch (error) {
      // Some are gone already, which undid the whole batch.
      this.#log.debug('rewriting the firewall table', { cause: messageOf(error) });
      await this.rewrite().catch((cause: unknown) =>
        this.#log.error('cannot take rules back', { error: messageOf(cause) }),
      );
    }
  }

  /**
   * Looks every few seconds whether the ruleset changed and our table with it, and mends it. The
   * look is one short message; nothing happens while `isNeeded` says no.
   */
  watch(tasks: TaskGroup, clock: Clock, isNeeded: () => boolean): void {
    tasks.spawn('firewall watch', async (signal) => {
      for (;;) {
        await clock.sleep(WATCH_INTERVAL_MS, { signal, unref: true });
        if (!isNeeded() || this.#rewriting !== undefined) continue;
        try {
          await this.#mend();
        } catch (error) {
          this.#log.error('cannot repair the firewall table', { error: messageOf(error) });
        }
      }
    });
  }

  async #mend(): Promise<void> {
    const generation = this.#nft().generation();
    if (generation === this.#generation) return;
    this.#generation = generation;
    if (this.#nft().tableUse(this.#table) === this.#use) {
      // Another's rules changed: they may have lost what lets ours through.
      await this.#admit();
      this.#remember();
      return;
    }
    this.#log.warn('somebody changed the firewall table; repairing it', { table: this.#table });
    await this.rewrite();
  }

  close(): void {
    this.#socket?.[Symbol.dispose]();
    this.#socket = undefined;
  }
}
