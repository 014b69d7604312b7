import { compareTimes } from '../../base/clock.ts';
import { invalidArgument } from '../../base/errors.ts';
import { booleanFilter, checkFilterKeys, type Filters, matchLabels } from '../../spec/filters.ts';
import type { Engine } from '../engine.ts';
import { findImage } from '../images/resolve.ts';
import type { Container } from './container.ts';

/** Filters of `docker ps`. Values of one key are alternatives, keys add up. Source: moby `daemon/list.go`. */

const KEYS = [
  'ancestor',
  'before',
  'expose',
  'exited',
  'health',
  'id',
  'isolation',
  'is-task',
  'label',
  'name',
  'network',
  'publish',
  'since',
  'status',
  'volume',
];
const STATUSES = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'];
const HEALTH = ['starting', 'healthy', 'unhealthy', 'none'];

type Predicate = (container: Container) => boolean;

/** Whether a container matches. @throws invalidArgument for unknown keys and bad values; notFound */
export function listFilter(engine: Engine, filters: Filters): Predicate {
  checkFilterKeys(filters, KEYS);
  const predicates = [
    ...statePredicates(filters),
    ...namePredicates(filters),
    ...portPredicates(filters),
    ...relationPredicates(engine, filters),
  ];
  return (container) => predicates.every((predicate) => predicate(container));
}

/** A predicate for a key that has values: true when `test` holds for one of them. */
function some(
  filters: Filters,
  key: string,
  test: (container: Container, value: string) => boolean,
): Predicate[] {
  const values = filters[key];
  if (values === undefined || values.length === 0) return [];
  return [(container) => values.some((value) => test(container, value))];
}

function checkValues(filters: Filters, key: string, known: readonly string[], what: string): void {
  for (const value of filters[key] ?? []) {
    if (!known.includes(value)) {
      throw invalidArgument(
        `invalid filter '${key}=${value}': invalid value for ${what} (${value}): must be one of ${known.join(', ')}`,
      );
    }
  }
}

function statePredicates(filters: Filters): Predicate[] {
  checkValues(filters, 'status', STATUSES, 'state');
  checkValues(filters, 'health', HEALTH, 'health');
  for (const value of filters['exited'] ?? []) {
    if (!/^-?\d+$/.test(value)) throw invalidArgument(`invalid filter 'exited=${value}'`);
  }
  const isTask = booleanFilter(filters, 'is-task');
  return [
    ...some(filters, 'status', (container, value) => container.status === value),
    ...some(
      filters,
      'health',
      (container, value) => (container.health?.status ?? 'none') === value,
    ),
    ...some(
      filters,
      'exited',
      (container, value) =>
        container.kept.finishedAt !== '' &&
        !container.isRunning &&
        container.kept.exitCode === Number(value),
    ),
    ...some(filters, 'isolation', (container, value) => {
      const own = container.document.hostConfig.Isolation || 'default';
      return own === value;
    }),
    // Tasks belong to swarm, which is not here.
    () => isTask !== true,
  ];
}

function patternOf(text: string): RegExp | undefined {
  try {
    return new RegExp(text);
  } catch {
    return undefined; // then it is compared as it is
  }
}

function namePredicates(filters: Filters): Predicate[] {
  const patterns = new Map((filters['name'] ?? []).map((value) => [value, patternOf(value)]));
  return [
    ...some(filters, 'id', (container, value) => container.id.startsWith(value)),
    ...some(filters, 'name', (container, value) => {
      const pattern = patterns.get(value);
      const withSlash = `/${container.name}`;
      if (pattern === undefined) return container.name === value || withSlash === value;
      return pattern.test(container.name) || pattern.test(withSlash);
    }),
    (container) => matchLabels(filters['label'], container.document.config.Labels),
  ];
}

/** Ports of `80`, `80/udp`, `8000-8010/tcp` as `number/protocol`. @throws invalidArgument */
function portsOf(value: string, key: string): Set<string> {
  const m = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(value);
  const first = Number(m?.[1]);
  const last = Number(m?.[2] ?? m?.[1]);
  if (m === null || last > 65_535 || last < first) {
    throw invalidArgument(`invalid filter '${key}=${value}'`);
  }
  const ports = new Set<string>();
  for (let port = first; port <= last; port += 1) ports.add(`${port}/${m[3] ?? 'tcp'}`);
  return ports;
}

function portPredicates(filters: Filters): Predicate[] {
  return ['expose', 'publish'].flatMap((key) => {
    const sets = new Map((filters[key] ?? []).map((value) => [value, portsOf(value, key)]));
    return some(filters, key, ({ document }, value) => {
      const wanted = sets.get(value);
      const { config, hostConfig } = document;
      const published = Object.keys(hostConfig.PortBindings);
      const ports =
        key === 'publish' ? published : [...Object.keys(config.ExposedPorts), ...published];
      return ports.some((port) => wanted?.has(port.includes('/') ? port : `${port}/tcp`) === true);
    });
  });
}

function relationPredicates(engine: Engine, filters: Filters): Predicate[] {
  const created = (value: string): string => engine.containers.get(value).document.created;
  const before = (filters['before'] ?? []).map(created);
  const since = (filters['since'] ?? []).map(created);
  const ancestors = new Map(
    (filters['ancestor'] ?? []).map((value) => [value, findImage(engine, value)?.image]),
  );
  return [
    ({ document }) => before.every((time) => compareTimes(document.created, time) < 0),
    ({ document }) => since.every((time) => compareTimes(document.created, time) > 0),
    ...some(filters, 'ancestor', ({ document }, value) => {
      const image = ancestors.get(value);
      if (image === undefined) return false;
      if (image.id === document.imageId) return true;
      const isBelow = image.diffIds.every((diffId, i) => document.layers[i] === diffId);
      return image.diffIds.length > 0 && isBelow;
    }),
    ...some(filters, 'network', (container, value) => {
      const { hostConfig, networking } = container.document;
      const sandbox = engine.networks.find(container.id);
      const names = [hostConfig.NetworkMode, ...Object.keys(networking.EndpointsConfig)];
      const endpoints = Object.entries(sandbox?.endpoints ?? {});
      return (
        names.includes(value) ||
        endpoints.some(([name, { NetworkID }]) => name === value || NetworkID.startsWith(value))
      );
    }),
    ...some(filters, 'volume', ({ document }, value) =>
      document.mounts.some(
        (mount) => mount.name === value || mount.source === value || mount.destination === value,
      ),
    ),
  ];
}
