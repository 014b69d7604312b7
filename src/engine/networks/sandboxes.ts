import { closeSync, readdirSync } from 'node:fs';
import { conflict, internal, messageOf } from '../../base/errors.ts';
import { setLink } from '../../formats/netlink-route.ts';
import type { DnsPorts } from '../../formats/nft.ts';
import { LOOPBACK_INDEX, RouteSocket } from '../../kernel/route-socket.ts';
import type { PortRule } from '../../policy/nft-ruleset.ts';
import { type PublishedPort, parsePortBindings, portMapOf } from '../../policy/ports.ts';
import type { EndpointSettings } from '../../spec/docker/network.ts';
import { endpointSettings } from '../../spec/docker/network.ts';
import { containerPaths } from '../containers/paths.ts';
import type { NetworkContext } from './context.ts';
import { Forwarder } from './dns/forwarder.ts';
import { HostResolver } from './dns/host-resolver.ts';
import type { Joined } from './dns/zone.ts';
import { type Namespace, setNetSysctl } from './drivers/driver.ts';
import {
  addEndpoint,
  endpointSettingsOf,
  gatewayEndpoint,
  linkPrefix,
  readdEndpoint,
} from './endpoints.ts';
import { joinNetwork, retireLink, setDefaultRoutes } from './namespace-links.ts';
import type { Network } from './network.ts';
import type { NetworkClient, Sandbox } from './networks.ts';
import { defaultBindIp, PortBook } from './port-book.ts';
import {
  forgetSandbox,
  type LiveSandbox,
  portEndpoint,
  portRulesOf,
  readSandbox,
  writeSandbox,
} from './sandbox.ts';
import {
  closeDnsSockets,
  type DnsSockets,
  makeDnsSockets,
  remakeDnsSockets,
  serveDns,
} from './sandbox-dns.ts';
import { hostsOf, legacyLinks, resolvConfOf, rewriteMounted } from './sandbox-files.ts';

/** The kernel takes the links of a namespace away within 0.1 s of the last process in it. */
const LINKS_GONE_MS = 1000;

/** A network that a container wants to join, and how. */
export type Wish = { readonly network: Network; readonly settings: EndpointSettings };

/** What the sandboxes ask of the networks. */
export type SandboxHost = {
  readonly wishesOf: (client: NetworkClient) => readonly Wish[];
  readonly networkById: (id: string) => Network | undefined;
  readonly hostGateway: () => string;
  readonly publish: (rules: readonly PortRule[]) => Promise<void>;
  readonly unpublish: (rules: readonly PortRule[]) => Promise<void>;
};

/**
 * The networks of running containers: made at start, changed by connect and disconnect, taken over
 * from an earlier daemon. Making one is synchronous up to its firewall rules, so that nothing comes
 * between the parts.
 */
export class Sandboxes {
  readonly #context: NetworkContext;
  readonly #host: SandboxHost;
  readonly #live = new Map<string, LiveSandbox>();
  readonly #ports: PortBook;
  readonly #resolver: HostResolver;
  readonly #forwarder: Forwarder;

  constructor(context: NetworkContext, host: SandboxHost) {
    this.#context = context;
    this.#host = host;
    this.#ports = new PortBook(context.sys, context.log, () => context.config().iptables);
    this.#forwarder = new Forwarder(context.clock);
    this.#resolver = new HostResolver(context.clock.monotonicMs, () => this.#forwarder.clear());
  }

  list(): LiveSandbox[] {
    return [...this.#live.values()];
  }

  byId(containerId: string): LiveSandbox | undefined {
    return this.#live.get(containerId);
  }

  /** By exact ID, name, or the beginning of an ID. */
  #byReference(reference: string): LiveSandbox | undefined {
    const exact = this.#live.get(reference);
    if (exact !== undefined) return exact;
    const all = this.list();
    return (
      all.find(({ client }) => client.name === reference) ??
      all.find(({ client }) => reference.length >= 12 && client.id.startsWith(reference))
    );
  }

  #stateFile(containerId: string): string {
    return `${this.#context.namespaces.pathOf(containerId)}.json`;
  }

  /** What the rest of the engine sees of it. */
  view(sandbox: LiveSandbox): Sandbox {
    const donor = sandbox.kind === 'shared' ? this.#live.get(sandbox.donor) : undefined;
    const files = donor ?? sandbox;
    const hasNamespace = files.kind === 'own';
    return {
      netnsPath: hasNamespace ? this.#context.namespaces.pathOf(files.client.id) : undefined,
      endpoints: Object.fromEntries(
        sandbox.joined.map(({ network, endpoint }) => [
          network.name,
          endpointSettingsOf(network, endpoint),
        ]),
      ),
      ports: portMapOf(sandbox.ports),
      hosts: this.#hostsOf(files),
      resolvConf: resolvConfOf(files, this.#context.config(), this.#resolver),
    };
  }

  #hostsOf(sandbox: LiveSandbox): string {
    return hostsOf(sandbox, {
      hostGateway: this.#host.hostGateway(),
      findRunning: (reference) => this.#byReference(reference),
    });
  }

  async open(client: NetworkClient): Promise<Sandbox> {
    const before = this.#live.get(client.id);
    if (before !== undefined) return this.view(before);
    const sandbox = client.mode.startsWith('container:')
      ? this.#openShared(client)
      : this.#openOwn(client);
    this.#live.set(client.id, sandbox);
    try {
      const view = this.view(sandbox);
      sandbox.rules = portRulesOf(sandbox.ports, sandbox.joined);
      await this.#host.publish(sandbox.rules);
      this.#refreshLinkers(client);
      return view;
    } catch (error) {
      await this.close(client.id);
      throw error;
    }
  }

  #donorOf({ mode }: NetworkClient): LiveSandbox | undefined {
    return this.#byReference(mode.slice('container:'.length));
  }

  #openShared(client: NetworkClient): LiveSandbox {
    const donor = this.#donorOf(client);
    if (donor === undefined) {
      const reference = client.mode.slice('container:'.length);
      throw conflict(`cannot join network of a non running container: ${reference}`);
    }
    const id = donor.kind === 'shared' ? donor.donor : donor.client.id;
    return { ...emptySandbox(client), kind: 'shared', donor: id };
  }

  /** Takes addresses and ports first, in memory; only when all are to be had is anything made. */
  #openOwn(client: NetworkClient): LiveSandbox {
    const sandbox = emptySandbox(client);
    const joined: Joined[] = [];
    try {
      for (const { network, settings } of this.#host.wishesOf(client)) {
        joined.push({ network, endpoint: this.#addEndpoint(sandbox, network, settings, joined) });
      }
      sandbox.joined = joined;
      if (joined.some(({ network }) => network.driver === 'host'))
        return { ...sandbox, kind: 'host' };
      sandbox.ports = this.#takePorts(client, joined);
      this.#makeNamespace(sandbox);
      return sandbox;
    } catch (error) {
      this.#drop(sandbox, joined);
      throw error;
    }
  }

  #addEndpoint(
    { client }: LiveSandbox,
    network: Network,
    wish: EndpointSettings,
    joined: readonly Joined[],
  ) {
    const prefix = linkPrefix(network);
    const taken = new Set(joined.map(({ endpoint }) => endpoint.link));
    let number = 0;
    while (taken.has(`${prefix}${number}`)) number += 1;
    const { random } = this.#context;
    return addEndpoint({ network, client, wish, link: `${prefix}${number}`, random });
  }

  #takePorts(client: NetworkClient, joined: readonly Joined[]): readonly PublishedPort[] {
    const target = portEndpoint(joined);
    const wishes = parsePortBindings(client.portBindings);
    if (target === undefined || wishes.length === 0) return [];
    const { endpoint, network } = target;
    const own = network.document.options['com.docker.network.bridge.host_binding_ipv4'];
    return this.#ports.take(client.id, wishes, {
      families: [
        ...(endpoint.ipv4 === null ? [] : ([4] as const)),
        ...(endpoint.ipv6 === null ? [] : ([6] as const)),
      ],
      endpoint: `${client.name} (${endpoint.id})`,
      defaultIp: defaultBindIp(own ?? this.#context.config().defaultBindIp),
    });
  }

  #makeNamespace(sandbox: LiveSandbox): void {
    const { namespaces, sys, log, drivers } = this.#context;
    const { client, joined } = sandbox;
    const wantsDns = joined.some(({ network }) => network.hasDns);
    const body = (): { inside: RouteSocket; sockets: DnsSockets | undefined } => {
      const inside = new RouteSocket(sys);
      // Links that come later have no IPv6 unless an endpoint asks for it; lo keeps its ::1.
      setNetSysctl('ipv6/conf/default/disable_ipv6', 1);
      inside.run(setLink(LOOPBACK_INDEX, { up: true }));
      return { inside, sockets: wantsDns ? makeDnsSockets(sys, log) : undefined };
    };
    if (client.namespaceOf !== undefined) namespaces.adopt(client.id, client.namespaceOf);
    const made =
      client.namespaceOf === undefined
        ? namespaces.create(client.id, body)
        : namespaces.enter(client.id, body);
    try {
      using namespace = this.#enterable(client.id, made.inside);
      for (const { network, endpoint } of joined) {
        const driver = drivers[network.driver];
        if (driver.hasLinks) joinNetwork(driver, network, endpoint, namespace);
      }
      this.#setDefaultRoutes(namespace, joined, true);
      if (made.sockets !== undefined) sandbox.dnsPorts = made.sockets.ports;
      writeSandbox(this.#stateFile(client.id), sandbox);
    } catch (error) {
      if (made.sockets !== undefined) closeDnsSockets(made.sockets);
      throw error;
    }
    if (made.sockets !== undefined) this.#serveDns(sandbox, made.sockets);
  }

  #serveDns(sandbox: LiveSandbox, sockets: DnsSockets): void {
    sandbox.dnsPorts = sockets.ports;
    sandbox.dns = serveDns(sandbox, sockets, {
      context: this.#context,
      forwarder: this.#forwarder,
      host: this.#resolver,
    });
  }

  /** Opens the namespace for drivers; disposing closes the descriptor and the socket. */
  #enterable(name: string, inside?: RouteSocket): Namespace & Disposable {
    const { namespaces, sys } = this.#context;
    const socket = inside ?? namespaces.enter(name, () => new RouteSocket(sys));
    const fd = namespaces.open(name);
    return {
      fd,
      inside: socket,
      enter: (body) => namespaces.enter(name, body),
      [Symbol.dispose]: () => {
        socket[Symbol.dispose]();
        closeSync(fd);
      },
    };
  }

  #setDefaultRoutes(namespace: Namespace, joined: readonly Joined[], isNew = false): void {
    const { drivers } = this.#context;
    const how = (network: Network) => drivers[network.driver].defaultRoute(network);
    const chosen = gatewayEndpoint(joined, (network) => how(network) !== 'none');
    const way = chosen === undefined ? 'none' : how(chosen.network);
    setDefaultRoutes(
      namespace,
      chosen === undefined || way === 'none' ? undefined : { endpoint: chosen.endpoint, how: way },
      { isNew },
    );
  }

  /** Takes everything of a sandbox back; what is missing is fine. */
  #drop(sandbox: LiveSandbox, joined: readonly Joined[]): void {
    const { namespaces } = this.#context;
    const { id } = sandbox.client;
    sandbox.dns?.close();
    this.#ports.release(id);
    for (const { network, endpoint } of joined) network.detach(endpoint);
    if (sandbox.kind !== 'own') return;
    namespaces.remove(id);
    forgetSandbox(this.#stateFile(id));
  }

  async close(containerId: string): Promise<void> {
    const sandbox = this.#live.get(containerId);
    if (sandbox === undefined) return;
    this.#live.delete(containerId);
    const rules = sandbox.rules;
    const isShared = this.list().some((each) => each.donor === containerId);
    this.#drop(sandbox, sandbox.joined);
    await this.#host.unpublish(rules);
    const links = sandbox.joined.flatMap(({ endpoint }) => endpoint.hostLink || []);
    if (links.length === 0) return;
    // Others keep the namespace alive, so its links do not go by themselves.
    if (isShared) await this.#deleteLinks(links);
    else this.#context.tasks.spawn('see that links are gone', (s) => this.#expectGone(links, s));
  }

  /**
   * Links go with their namespace, soon; not when a program of the host is in it (`nsenter --net`).
   * Such a link would go on answering for an address that another container has now.
   */
  async #expectGone(links: readonly string[], signal: AbortSignal): Promise<void> {
    await this.#context.clock.sleep(LINKS_GONE_MS, { signal, unref: true });
    await this.#deleteLinks(links);
  }

  async #deleteLinks(links: readonly string[]): Promise<void> {
    for (const link of links) await this.#context.route.deleteLink(link);
  }

  /** Joins a running container to one more network. */
  async connect(sandbox: LiveSandbox, network: Network, wish: EndpointSettings): Promise<void> {
    const { drivers, namespaces, sys, log } = this.#context;
    const { id } = sandbox.client;
    const endpoint = this.#addEndpoint(sandbox, network, wish, sandbox.joined);
    const before = sandbox.joined;
    try {
      using namespace = this.#enterable(id);
      joinNetwork(drivers[network.driver], network, endpoint, namespace);
      sandbox.joined = [...before, { network, endpoint }];
      this.#setDefaultRoutes(namespace, sandbox.joined);
      if (network.hasDns && sandbox.dns === undefined) {
        this.#serveDns(
          sandbox,
          namespaces.enter(id, () => makeDnsSockets(sys, log)),
        );
      }
      writeSandbox(this.#stateFile(id), sandbox);
    } catch (error) {
      sandbox.joined = before;
      network.detach(endpoint);
      await this.#leave(sandbox, { network, endpoint });
      throw error;
    }
    await this.#republish(sandbox);
    this.#refreshFiles(sandbox);
  }

  /** Takes a running container out of a network. */
  async disconnect(sandbox: LiveSandbox, network: Network): Promise<void> {
    const gone = sandbox.joined.find((each) => each.network === network);
    if (gone === undefined) throw internal(`container is not connected to ${network.name}`);
    sandbox.joined = sandbox.joined.filter((each) => each !== gone);
    let { link } = gone.endpoint;
    {
      using namespace = this.#enterable(sandbox.client.id);
      this.#setDefaultRoutes(namespace, sandbox.joined);
      link = retireLink(namespace, link);
    }
    writeSandbox(this.#stateFile(sandbox.client.id), sandbox);
    network.detach(gone.endpoint);
    this.#context.tasks.spawn('remove a link', () =>
      this.#leave(sandbox, { network, endpoint: { ...gone.endpoint, link } }),
    );
    await this.#republish(sandbox);
    this.#refreshFiles(sandbox);
  }

  async #leave({ client }: LiveSandbox, { network, endpoint }: Joined): Promise<void> {
    using namespace = this.#enterable(client.id);
    await this.#context.drivers[network.driver].leave(network, endpoint, namespace);
  }

  /** Lets the published ports lead to where the container now has its default route. */
  async #republish(sandbox: LiveSandbox): Promise<void> {
    const before = sandbox.rules;
    const target = portEndpoint(sandbox.joined);
    if (target === undefined) {
      this.#ports.release(sandbox.client.id);
      sandbox.ports = [];
    } else if (sandbox.ports.length === 0) {
      sandbox.ports = this.#takePorts(sandbox.client, sandbox.joined);
    }
    writeSandbox(this.#stateFile(sandbox.client.id), sandbox);
    const after = portRulesOf(sandbox.ports, sandbox.joined);
    if (JSON.stringify(after, bigintText) === JSON.stringify(before, bigintText)) return;
    sandbox.rules = after;
    await this.#host.unpublish(before);
    await this.#host.publish(after);
  }

  #refreshFiles(sandbox: LiveSandbox): void {
    const paths = containerPaths(this.#context, sandbox.client.id);
    const { hosts, resolvConf } = this.view(sandbox);
    rewriteMounted(paths.hosts, hosts);
    rewriteMounted(paths.resolvConf, resolvConf);
  }

  /** Containers on the default bridge that are linked to this one learn its new address. */
  #refreshLinkers({ id, name }: NetworkClient): void {
    for (const each of this.list()) {
      const isLinked = legacyLinks(each.client).some(({ target }) => [id, name].includes(target));
      if (!isLinked || each.kind !== 'own') continue;
      try {
        this.#refreshFiles(each);
      } catch (error) {
        // Another of its links leads nowhere just now.
        this.#context.log.debug('left a hosts file as it was', { cause: messageOf(error) });
      }
    }
  }

  rename(containerId: string, name: string): void {
    const sandbox = this.#live.get(containerId);
    if (sandbox === undefined) return;
    sandbox.client = { ...sandbox.client, name };
    sandbox.joined = sandbox.joined.map(({ network, endpoint }) => {
      const renamed = { ...endpoint, containerName: name };
      network.attach(renamed);
      return { network, endpoint: renamed };
    });
    if (sandbox.kind === 'own') writeSandbox(this.#stateFile(containerId), sandbox);
  }

  /** Takes over what an earlier daemon left, and drops what is nobody's. */
  restore(running: readonly NetworkClient[]): void {
    const { namespaces, log } = this.#context;
    const ids = new Set(running.map(({ id }) => id));
    for (const name of [...namespaces.list(), ...this.#stateNames()]) {
      if (ids.has(name)) continue;
      log.info('dropped the network of a container that is gone', { container: name });
      namespaces.remove(name);
      forgetSandbox(this.#stateFile(name));
    }
    for (const client of running) {
      if (client.mode.startsWith('container:')) continue;
      this.#live.set(client.id, this.#takeOver(client));
    }
    this.#takeOverShared(running.filter(({ mode }) => mode.startsWith('container:')));
  }

  /**
   * Those that are in a namespace of another's, donors before their borrowers. A donor may have ended
   * since: then who borrowed runs on in what is left of it.
   */
  #takeOverShared(clients: readonly NetworkClient[]): void {
    const waiting = new Set(clients);
    for (let before = -1; before !== waiting.size; ) {
      before = waiting.size;
      for (const client of waiting) {
        if (this.#donorOf(client) === undefined) continue;
        this.#live.set(client.id, this.#openShared(client));
        waiting.delete(client);
      }
    }
    for (const client of waiting) {
      this.#live.set(client.id, { ...emptySandbox(client), kind: 'shared' });
    }
  }

  #stateNames(): string[] {
    const folder = this.#context.execRoot.netns;
    return readdirSync(folder).flatMap((name) =>
      name.endsWith('.json') ? [name.slice(0, -'.json'.length)] : [],
    );
  }

  #takeOver(client: NetworkClient): LiveSandbox {
    const { namespaces, log } = this.#context;
    const sandbox = emptySandbox(client);
    const state = readSandbox(this.#stateFile(client.id));
    if (state === undefined) {
      const joined = this.#host.wishesOf(client);
      const isHost = joined.some(({ network }) => network.driver === 'host');
      if (!isHost) log.error('lost the network of a running container', { container: client.id });
      for (const { network, settings } of isHost ? joined : []) {
        const endpoint = this.#addEndpoint(sandbox, network, settings, []);
        sandbox.joined = [{ network, endpoint }];
      }
      return { ...sandbox, kind: isHost ? 'host' : 'own' };
    }
    sandbox.joined = state.endpoints.flatMap((endpoint): Joined[] => {
      const network = this.#host.networkById(endpoint.networkId);
      if (network === undefined) return [];
      readdEndpoint(network, endpoint);
      return [{ network, endpoint }];
    });
    sandbox.ports = state.ports;
    this.#ports.retake(client.id, state.ports);
    sandbox.rules = portRulesOf(sandbox.ports, sandbox.joined);
    const { dns } = state;
    if (dns !== undefined && namespaces.exists(client.id)) this.#takeOverDns(sandbox, dns);
    return sandbox;
  }

  /** Its ports were free while no daemon was there: the container may have taken them. */
  #takeOverDns(sandbox: LiveSandbox, ports: DnsPorts): void {
    const { namespaces, log, sys } = this.#context;
    const { id } = sandbox.client;
    try {
      this.#serveDns(
        sandbox,
        namespaces.enter(id, () => remakeDnsSockets(sys, ports)),
      );
    } catch (error) {
      log.error('no names are resolved in a container until it is started again', {
        container: id,
        error: messageOf(error),
      });
    }
  }

  /** Lets go of descriptors; containers keep their namespaces. */
  stop(): void {
    for (const { dns } of this.#live.values()) dns?.close();
    this.#ports.close();
    this.#forwarder.close();
  }
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value;
}

function emptySandbox(client: NetworkClient): LiveSandbox {
  return {
    client,
    kind: 'own',
    donor: '',
    joined: [],
    ports: [],
    rules: [],
    dnsPorts: undefined,
    dns: undefined,
  };
}

/** Settings of an endpoint that nobody wished anything for. */
export function noWish(): EndpointSettings {
  return endpointSettings.zero();
}
