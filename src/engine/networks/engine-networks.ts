import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { formatTimeNs } from '../../base/clock.ts';
import {
  conflict,
  type EngineError,
  errnoOf,
  forbidden,
  invalidArgument,
  messageOf,
  notFound,
} from '../../base/errors.ts';
import { newId } from '../../base/id.ts';
import { NetworkNamespaces } from '../../kernel/netns.ts';
import { RouteSocket } from '../../kernel/route-socket.ts';
import { type NetworkWish, networkWish } from '../../policy/network-options.ts';
import type { EndpointSettings, NetworkCreate } from '../../spec/docker/network.ts';
import { bridgeRulesOf } from './bridge-rules.ts';
import type { NetworkContext, NetworkEngine } from './context.ts';
import { loadPredefined } from './default-networks.ts';
import { bridgeDriver } from './drivers/bridge.ts';
import { type DriverContext, setNetSysctl } from './drivers/driver.ts';
import { hostDriver } from './drivers/host.ts';
import { ipvlanDriver } from './drivers/ipvlan.ts';
import { macvlanDriver } from './drivers/macvlan.ts';
import { noneDriver } from './drivers/none.ts';
import { checkWish } from './endpoints.ts';
import { networkEvent } from './events.ts';
import { Firewall } from './firewall.ts';
import { decodeNetwork, Network, type NetworkDocument, writeSubnet } from './network.ts';
import type { NetworkClient, Networks, Sandbox } from './networks.ts';
import { legacyLinks } from './sandbox-files.ts';
import { noWish, Sandboxes, type Wish } from './sandboxes.ts';
import { chooseSubnets, hostGateway } from './subnets.ts';

/** Highest MTU that is taken from the default route's link; Docker's default. */
const MTU_DEFAULT = 1500;

/** Name of the nftables table: one for each daemon, told apart by their exec roots. */
export function tableName(execRoot: string): string {
  if (execRoot === '/run/coracle') return 'coracle';
  return `coracle-${createHash('sha256').update(execRoot).digest('hex').slice(0, 8)}`;
}

/** {@link Networks} by rtnetlink and nftables. */
export class EngineNetworks implements Networks {
  readonly #context: NetworkContext;
  readonly #byId = new Map<string, Network>();
  readonly #sandboxes: Sandboxes;
  readonly #firewall: Firewall;
  #forwardingIsOurs = false;

  constructor(engine: NetworkEngine) {
    const route = new RouteSocket(engine.sys);
    const namespaces = new NetworkNamespaces(engine.sys, engine.execRoot.netns);
    const { sys, log, random } = engine;
    const parts: DriverContext = { sys, route, log, random, defaultMtu: () => this.#defaultMtu() };
    this.#context = {
      ...engine,
      route,
      namespaces,
      drivers: {
        bridge: bridgeDriver(parts),
        host: hostDriver(),
        null: noneDriver(),
        macvlan: macvlanDriver(parts),
        ipvlan: ipvlanDriver(parts),
      },
    };
    this.#sandboxes = new Sandboxes(this.#context, {
      wishesOf: (client) => this.#wishesOf(client),
      networkById: (id) => this.#byId.get(id),
      hostGateway: () => hostGateway(engine.config(), this.#defaultBridge()),
      publish: async (rules) => {
        if (engine.config().iptables) await this.#firewall.publish(rules);
      },
      unpublish: async (rules) => {
        if (engine.config().iptables) await this.#firewall.unpublish(rules);
      },
    });
    this.#firewall = new Firewall({
      sys,
      table: tableName(engine.execRoot.root),
      log,
      describe: () => ({
        bridges: bridgeRulesOf(this.list(), engine.config()),
        ports: this.#sandboxes.list().flatMap(({ rules }) => rules),
        dropOtherForwarding: this.#forwardingIsOurs,
      }),
    });
  }

  #defaultBridge(): Network | undefined {
    return this.list().find((each) => each.isDefaultBridge);
  }

  /** The configuration's, else that of the default route's link when it is lower than usual. */
  #defaultMtu(): number {
    const { config, route } = this.#context;
    if (config().mtu !== 0) return config().mtu;
    const way = route.routes().find((each) => each.destination === undefined && each.family === 4);
    const link = way && route.links().find(({ index }) => index === way.link);
    return Math.min(MTU_DEFAULT, link?.mtu ?? MTU_DEFAULT);
  }

  async restore(running: readonly NetworkClient[]): Promise<void> {
    const { store, config, drivers, log, tasks, clock } = this.#context;
    for (const { id, name, document } of store.networks.list()) {
      this.#byId.set(id, decodeNetwork(id, name, document));
    }
    loadPredefined(this.#context, this.#byId);
    this.#sandboxes.restore(running);
    for (const network of this.list()) {
      try {
        drivers[network.driver].restore(network, [...network.endpoints.values()]);
      } catch (error) {
        // One network whose parent is gone must not keep the others from working.
        log.error('cannot restore a network', { network: network.name, error: messageOf(error) });
      }
    }
    this.#allowForwarding();
    if (!config().iptables) return;
    try {
      await this.#firewall.rewrite();
    } catch (error) {
      log.error('containers have no way out', { error: messageOf(error) });
    }
    this.#firewall.watch(tasks, clock, () =>
      this.#sandboxes.list().some(({ kind }) => kind === 'own'),
    );
  }

  /**
   * Lets the host forward packets. A host that did not so far is no router for others: a mark in
   * the exec root says that it was the engine, and the rules keep it from being one.
   */
  #allowForwarding(): void {
    const { config, execRoot, log } = this.#context;
    const mark = path.join(execRoot.root, 'forwarding');
    this.#forwardingIsOurs = existsSync(mark);
    if (!config().ipForward) return;
    try {
      const families = this.list().some(({ document }) => document.enableIPv6)
        ? ['ipv4/ip_forward', 'ipv6/conf/all/forwarding']
        : ['ipv4/ip_forward'];
      for (const name of families) {
        if (readFileSync(`/proc/sys/net/${name}`, 'utf8').trim() !== '0') continue;
        mkdirSync(execRoot.root, { recursive: true, mode: 0o711 });
        writeFileSync(mark, '');
        this.#forwardingIsOurs = true;
        if (name.startsWith('ipv6')) keepRouterAdvertisements(this.#context);
        setNetSysctl(name, 1);
      }
    } catch (error) {
      log.warn('cannot let the host forward packets; containers have no way out', {
        errno: errnoOf(error),
        error: messageOf(error),
      });
    }
  }

  list(): readonly Network[] {
    return [...this.#byId.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  #find(reference: string): Network | undefined {
    const exact = this.#byId.get(reference) ?? this.list().find(({ name }) => name === reference);
    if (exact !== undefined || !/^[0-9a-f]{1,64}$/.test(reference)) return exact;
    const found = this.list().filter(({ id }) => id.startsWith(reference));
    if (found.length > 1) {
      throw invalidArgument(
        `network ${reference} is ambiguous (${found.length} matches found based on ID prefix)`,
      );
    }
    return found[0];
  }

  get(reference: string): Network {
    const network = this.#find(reference);
    if (network === undefined) throw notFound(`network ${reference} not found`);
    return network;
  }

  /** What a container wants to join, the network of its mode first. */
  #wishesOf(client: NetworkClient): Wish[] {
    const config = this.#context.config();
    const isOff = client.mode === 'bridge' && config.bridge === 'none';
    const modeNetwork = this.get(isOff ? 'none' : client.mode);
    const wishes = new Map<Network, EndpointSettings>();
    if (!client.disconnected.includes(modeNetwork.name)) wishes.set(modeNetwork, noWish());
    for (const [reference, settings] of Object.entries(client.endpoints)) {
      const network = this.get(reference === 'default' ? client.mode : reference);
      wishes.set(network, settings ?? noWish());
    }
    return [...wishes].map(([network, settings]) => ({
      network,
      settings: network === modeNetwork ? withModeWishes(network, settings, client) : settings,
    }));
  }

  check({ mode, endpoints }: Pick<NetworkClient, 'mode' | 'endpoints'>): void {
    const references = Object.entries(endpoints);
    if (mode.startsWith('container:')) {
      if (references.length > 0) throw sharedNamespace();
      return;
    }
    for (const [reference, settings] of references) {
      // A network that is not there yet may be there at start: Docker says so then.
      const network = this.#find(reference === 'default' ? mode : reference);
      if (network !== undefined && settings !== null) checkWish(network, settings);
      const isMode = network !== undefined && network === this.#find(mode);
      if (!isMode && network !== undefined) checkMix(mode, network);
    }
  }

  async open(client: NetworkClient): Promise<Sandbox> {
    const isNew = this.#sandboxes.byId(client.id) === undefined;
    const sandbox = await this.#sandboxes.open(client);
    if (isNew) this.#tell(client.id, 'connect');
    return sandbox;
  }

  /** One event for each network that a container joins or leaves with its run. */
  #tell(containerId: string, action: 'connect' | 'disconnect'): void {
    for (const { network } of this.#sandboxes.byId(containerId)?.joined ?? []) {
      networkEvent(this.#context, network, action, containerId);
    }
  }

  find(containerId: string): Sandbox | undefined {
    const sandbox = this.#sandboxes.byId(containerId);
    return sandbox === undefined ? undefined : this.#sandboxes.view(sandbox);
  }

  async close(containerId: string): Promise<void> {
    this.#tell(containerId, 'disconnect');
    await this.#sandboxes.close(containerId);
  }

  rename(containerId: string, name: string): void {
    this.#sandboxes.rename(containerId, name);
  }

  async create(body: NetworkCreate): Promise<Network> {
    const wish = networkWish(body);
    return await this.#context.locks.run('networks', async () => {
      if (this.list().some(({ name }) => name === wish.name)) {
        throw conflict(`network with name ${wish.name} already exists`);
      }
      const network = this.#plan(wish);
      const driver = this.#context.drivers[network.driver];
      try {
        driver.create(network);
        this.#byId.set(network.id, network);
        this.#allowForwarding();
        if (driver.usesFirewall) await this.#rewriteFirewall();
        const { store } = this.#context;
        store.networks.put(network.id, network.name, JSON.stringify(network.document));
        return network;
      } catch (error) {
        this.#byId.delete(network.id);
        await driver.remove(network);
        if (driver.usesFirewall) await this.#rewriteFirewall();
        throw error;
      }
    });
  }

  async #rewriteFirewall(): Promise<void> {
    if (this.#context.config().iptables) await this.#firewall.rewrite();
  }

  /** The network that a wish becomes: with an ID and subnets. Nothing is made. */
  #plan(wish: NetworkWish): Network {
    const { random, clock, route } = this.#context;
    const id = newId(random);
    const draft = new Network(id, wish.name, {
      ...documentOf(wish),
      created: formatTimeNs(clock.nowNs()),
    });
    const linkName = linkNameOf(draft);
    if (draft.driver !== 'bridge') checkParentIsFree(draft, this.list());
    else if (this.list().some((each) => each.driver === 'bridge' && each.linkName === linkName)) {
      throw forbidden(`network with bridge name ${linkName} already exists`);
    }
    const subnets = chooseSubnets(this.#context, wish, this.list(), linkName);
    return new Network(id, wish.name, {
      ...draft.document,
      linkIsForeign: route.link(linkName) !== undefined,
      subnets: subnets.map((each) =>
        writeSubnet(
          each,
          wish.ipam.subnets.some(
            ({ subnet }) => subnet?.address.family === each.subnet.address.family,
          ),
        ),
      ),
    });
  }

  async remove(network: Network): Promise<void> {
    if (network.isPredefined) {
      throw forbidden(`${network.name} is a pre-defined network and cannot be removed`);
    }
    await this.#context.locks.run('networks', async () => {
      const { drivers, store } = this.#context;
      const inUse = [...network.endpoints.values()];
      if (inUse.length > 0) {
        const list = inUse.map(
          (each) => `name:"${each.containerName}" id:"${each.id.slice(0, 12)}"`,
        );
        throw forbidden(
          `error while removing network: network ${network.name} id ${network.id} has active endpoints (${list.join(', ')})`,
        );
      }
      if (!this.#byId.has(network.id)) throw notFound(`network ${network.name} not found`);
      store.networks.remove(network.id);
      this.#byId.delete(network.id);
      const driver = drivers[network.driver];
      await driver.remove(network);
      if (driver.usesFirewall) await this.#rewriteFirewall();
    });
  }

  async connect(network: Network, containerId: string, wish: EndpointSettings): Promise<void> {
    const sandbox = this.#sandboxes.byId(containerId);
    if (sandbox === undefined) throw conflict(`container ${containerId} is not running`);
    await this.#sandboxes.connect(sandbox, network, wish);
    networkEvent(this.#context, network, 'connect', containerId);
  }

  async disconnect(network: Network, containerId: string): Promise<void> {
    const sandbox = this.#sandboxes.byId(containerId);
    if (sandbox === undefined) throw conflict(`container ${containerId} is not running`);
    await this.#sandboxes.disconnect(sandbox, network);
    networkEvent(this.#context, network, 'disconnect', containerId);
  }

  async stop(): Promise<void> {
    this.#sandboxes.stop();
    this.#firewall.close();
    this.#context.route[Symbol.dispose]();
    this.#context.namespaces[Symbol.dispose]();
  }
}

/** With forwarding on, the kernel stops listening to routers, unless told to go on. */
function keepRouterAdvertisements({ route }: NetworkContext): void {
  for (const { name } of route.links()) {
    const file = `/proc/sys/net/ipv6/conf/${name}/accept_ra`;
    if (existsSync(file) && readFileSync(file, 'utf8').trim() === '1') {
      setNetSysctl(`ipv6/conf/${name}/accept_ra`, 2);
    }
  }
}

function documentOf(wish: NetworkWish): NetworkDocument {
  return {
    created: '',
    driver: wish.driver,
    enableIPv4: wish.enableIPv4,
    enableIPv6: wish.enableIPv6,
    internal: wish.internal,
    attachable: wish.attachable,
    ipamDriver: wish.ipam.driver,
    ipamOptions: wish.ipam.options === null ? null : { ...wish.ipam.options },
    subnets: [],
    options: { ...wish.options },
    labels: { ...wish.labels },
    linkIsForeign: false,
  };
}

function linkNameOf(network: Network): string {
  return network.driver === 'bridge' ? network.linkName : network.parentName;
}

/** Two networks with their own subnets on one parent would mix. */
function checkParentIsFree(network: Network, others: readonly Network[]): void {
  for (const other of others) {
    if (other.driver !== 'macvlan' && other.driver !== 'ipvlan') continue;
    if (other.parentName === network.parentName) {
      throw forbidden(
        `network ${other.id.slice(0, 12)} is already using parent interface ${network.parentName}`,
      );
    }
  }
}

/** `--mac-address` and `--link` belong to the network of the container's mode. */
function withModeWishes(
  network: Network,
  settings: EndpointSettings,
  client: NetworkClient,
): EndpointSettings {
  const links = network.hasDns
    ? legacyLinks(client).map(({ target, alias }) => `${target}:${alias}`)
    : [];
  return {
    ...settings,
    MacAddress: settings.MacAddress || client.macAddress,
    Links: links.length > 0 ? [...new Set([...(settings.Links ?? []), ...links])] : settings.Links,
  };
}

function sharedNamespace(): EngineError {
  return invalidArgument(
    'container sharing network namespace with another container or host cannot be connected to any other network',
  );
}

/** Modes that leave no room for a second network. @throws invalidArgument in Docker's words */
export function checkMix(mode: string, network: Network): void {
  if (mode === 'host' || mode.startsWith('container:')) throw sharedNamespace();
  if (mode === 'none' || network.driver === 'null') {
    throw invalidArgument(
      'container cannot be connected to multiple networks with one of the networks in private (none) mode',
    );
  }
  if (network.driver === 'host') {
    throw invalidArgument(
      'container cannot be disconnected from host network or connected to host network',
    );
  }
}
