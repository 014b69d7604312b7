import { parseTimeNs } from '../../base/clock.ts';
import {
  conflict,
  forbidden,
  invalidArgument,
  isEngineError,
  notFound,
} from '../../base/errors.ts';
import type {
  EndpointSettings,
  NetworkConnect,
  NetworkCreate,
  NetworkDisconnect,
} from '../../spec/docker/network.ts';
import { endpointSettings } from '../../spec/docker/network.ts';
import type {
  NetworkCreateResult,
  NetworkPruneResult,
  NetworkView,
} from '../../spec/docker/network-view.ts';
import {
  booleanFilter,
  checkFilterKeys,
  type Filters,
  matchLabels,
  pruneUntilNs,
} from '../../spec/filters.ts';
import { atLeast, type Call } from '../call.ts';
import type { Container } from '../containers/container.ts';
import { saveDocument } from '../containers/persistence.ts';
import type { Engine } from '../engine.ts';
import { checkWish } from './endpoints.ts';
import { checkMix } from './engine-networks.ts';
import { networkEvent } from './events.ts';
import { type Network, viewOf } from './network.ts';

/** The network calls of the API. Shapes: Engine API v1.51, Network*. */

/** Containers that were told to join a network, running or not. */
function isUsed(engine: Engine, network: Network): boolean {
  if (network.endpoints.size > 0) return true;
  return engine.containers.list().some(({ document }) => {
    const { NetworkMode } = document.hostConfig;
    const names = [...Object.keys(document.networking.EndpointsConfig), NetworkMode];
    return names.some((name) => name === network.name || name === network.id);
  });
}

function matches(engine: Engine, network: Network, filters: Filters): boolean {
  const any = (key: string, test: (value: string) => boolean): boolean => {
    const values = filters[key];
    return values === undefined || values.length === 0 || values.some(test);
  };
  const dangling = booleanFilter(filters, 'dangling');
  return (
    any('driver', (value) => network.driver === value) &&
    any('id', (value) => network.id.startsWith(value)) &&
    any('name', (value) => network.name.includes(value)) &&
    any('scope', (value) => value === 'local') &&
    any('type', (value) => value === (network.isPredefined ? 'builtin' : 'custom')) &&
    (dangling === undefined || dangling === (!network.isPredefined && !isUsed(engine, network))) &&
    matchLabels(filters['label'], network.document.labels)
  );
}

/** Lists networks; their containers only when `GET /networks/ID` asks for one. */
export async function networkList(
  engine: Engine,
  args: { query: { filters: Filters } },
  call: Call,
): Promise<NetworkView[]> {
  const { filters } = args.query;
  checkFilterKeys(filters, ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type']);
  for (const type of filters['type'] ?? []) {
    if (type !== 'builtin' && type !== 'custom') {
      throw invalidArgument(`invalid filter: 'type'='${type}'`);
    }
  }
  // Before v1.28 a list had the containers too.
  const withContainers = !atLeast(call, 1, 28);
  return engine.networks
    .list()
    .filter((network) => matches(engine, network, filters))
    .map((network) => viewOf(network, withContainers));
}

/** @throws notFound */
export async function networkInspect(
  engine: Engine,
  args: { params: { id: string }; query: { verbose: boolean; scope: string } },
): Promise<NetworkView> {
  const { scope } = args.query;
  const network = engine.networks.get(args.params.id);
  if (scope !== '' && scope !== 'local') throw notFound(`network ${args.params.id} not found`);
  return viewOf(network, true);
}

/** @throws conflict, forbidden, invalidArgument, notImplemented in Docker's words */
export async function networkCreate(
  engine: Engine,
  args: { body: NetworkCreate },
): Promise<NetworkCreateResult> {
  const network = await engine.networks.create(args.body);
  networkEvent(engine, network, 'create');
  return { Id: network.id, Warning: '' };
}

/** @throws notFound; forbidden while containers are connected */
export async function networkRemove(
  engine: Engine,
  args: { params: { id: string } },
): Promise<void> {
  const network = engine.networks.get(args.params.id);
  await engine.networks.remove(network);
  networkEvent(engine, network, 'destroy');
}

/** Removes networks that no container uses. Filters: `until`, `label`, `label!`. */
export async function networkPrune(
  engine: Engine,
  args: { query: { filters: Filters } },
): Promise<NetworkPruneResult> {
  const { filters } = args.query;
  checkFilterKeys(filters, ['label', 'label!', 'until']);
  const nowNs = engine.clock.nowNs();
  const untilNs = pruneUntilNs(filters, nowNs);
  const deleted: string[] = [];
  for (const network of engine.networks.list()) {
    if (network.isPredefined || isUsed(engine, network)) continue;
    const { labels, created } = network.document;
    const createdNs = parseTimeNs(created) ?? nowNs;
    if (untilNs !== undefined && createdNs > untilNs) continue;
    if (!matchLabels(filters['label'], labels)) continue;
    const unwanted = filters['label!'];
    if (unwanted !== undefined && matchLabels(unwanted, labels)) continue;
    try {
      await engine.networks.remove(network);
    } catch (error) {
      if (isEngineError(error, 'forbidden', 'notFound')) continue; // joined or removed meanwhile
      throw error;
    }
    networkEvent(engine, network, 'destroy');
    deleted.push(network.name);
  }
  engine.events.publish({
    type: 'network',
    action: 'prune',
    id: '',
    attributes: { reclaimed: '0' },
  });
  return { NetworksDeleted: deleted.length > 0 ? deleted : null };
}

/** Changes the networks that a container was told to join, and stores it. */
function setEndpoints(
  engine: Engine,
  container: Container,
  change: {
    readonly network: Network;
    readonly settings: EndpointSettings | undefined;
  },
): void {
  const { document } = container;
  const { network, settings } = change;
  const endpoints = Object.entries(document.networking.EndpointsConfig).filter(
    ([reference]) => !isReference(engine, reference, document.hostConfig.NetworkMode, network),
  );
  if (settings !== undefined) endpoints.push([network.name, settings]);
  const isMode = isReference(engine, document.hostConfig.NetworkMode, '', network);
  const disconnected = document.disconnected.filter((name) => name !== network.name);
  if (isMode && settings === undefined) disconnected.push(network.name);
  saveDocument(engine, container, {
    ...document,
    networking: { EndpointsConfig: Object.fromEntries(endpoints) },
    disconnected,
  });
}

function isReference(engine: Engine, reference: string, mode: string, network: Network): boolean {
  const wanted = reference === 'default' ? mode : reference;
  if (wanted === network.name || wanted === network.id) return true;
  if (wanted.startsWith('container:')) return false;
  try {
    return engine.networks.get(wanted) === network;
  } catch (error) {
    if (isEngineError(error, 'notFound')) return false;
    throw error;
  }
}

/** True when a container that does not run would join the network at its next start. */
function isTold(engine: Engine, { document }: Container, network: Network): boolean {
  const { NetworkMode } = document.hostConfig;
  const isMode =
    isReference(engine, NetworkMode, '', network) && !document.disconnected.includes(network.name);
  return (
    isMode ||
    Object.keys(document.networking.EndpointsConfig).some((reference) =>
      isReference(engine, reference, NetworkMode, network),
    )
  );
}

/**
 * Connects a container to one more network, now when it runs, else at its next start.
 * @throws notFound, forbidden, invalidArgument, conflict in Docker's words
 */
export async function networkConnect(
  engine: Engine,
  args: { params: { id: string }; body: NetworkConnect },
): Promise<void> {
  const network = engine.networks.get(args.params.id);
  const container = engine.containers.get(args.body.Container);
  const settings = args.body.EndpointConfig ?? endpointSettings.zero();
  await engine.locks.run(`container/${container.id}`, async () => {
    const { NetworkMode } = container.document.hostConfig;
    if (container.removing || container.dead) {
      throw conflict(`container ${container.id} is marked for removal and cannot be connected`);
    }
    if (isTold(engine, container, network)) {
      throw forbidden(
        `endpoint with name ${container.name} already exists in network ${network.name}`,
      );
    }
    checkMix(NetworkMode, network);
    checkWish(network, settings);
    if (container.run === undefined) networkEvent(engine, network, 'connect', container.id);
    else await engine.networks.connect(network, container.id, settings);
    setEndpoints(engine, container, { network, settings });
  });
}

/** The reverse. With `force` a container that is not there, or not connected, is fine. */
export async function networkDisconnect(
  engine: Engine,
  args: { params: { id: string }; body: NetworkDisconnect },
): Promise<void> {
  const network = engine.networks.get(args.params.id);
  const container = engine.containers.find(args.body.Container);
  if (container === undefined) {
    if (args.body.Force) return;
    throw notFound(`No such container: ${args.body.Container}`);
  }
  await engine.locks.run(`container/${container.id}`, async () => {
    engine.containers.checkThere(container);
    if (network.driver === 'host') {
      throw invalidArgument(
        'container cannot be disconnected from host network or connected to host network',
      );
    }
    if (!isTold(engine, container, network)) {
      if (args.body.Force) return;
      throw forbidden(`container ${container.id} is not connected to network ${network.name}`);
    }
    if (container.run === undefined) networkEvent(engine, network, 'disconnect', container.id);
    else await engine.networks.disconnect(network, container.id);
    setEndpoints(engine, container, { network, settings: undefined });
  });
}
