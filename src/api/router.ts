import { invalidArgument, notFound, notImplemented, unavailable } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { ApiVersion, EndpointSpec, Method } from './contract/endpoint.ts';
import {
  API_VERSION_MAX,
  checkApiVersion,
  compareApiVersions,
  parseApiVersion,
} from './contract/versions.ts';

/**
 * Finds the operation that a request line names. Paths are few and known, so a route is found by
 * its first segment and then by comparing segments: no pattern is ever run over what a client sent.
 */

/** A found operation. */
export type Route<Name extends string = string> = {
  readonly name: Name;
  readonly endpoint: EndpointSpec;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
  readonly version: ApiVersion;
};

/** What a path led to, with the methods that it knows when the request's is none of them. */
type Found<Name extends string> = Route<Name> | { readonly allow: readonly Method[] };

type Entry<Name extends string> = {
  readonly name: Name;
  readonly endpoint: EndpointSpec;
  readonly segments: readonly string[];
  /** Index of the `{name...}` segment; -1 for none. */
  readonly rest: number;
};

export type Router<Name extends string = string> = {
  /**
   * @param target of the request line: a path with query, or an absolute URL
   * @throws notFound, invalidArgument (version, escapes), or what Docker says of swarm and others
   */
  readonly find: (method: string, target: string) => Found<Name>;
};

/** A router over a table of endpoints. Literal segments go before parameters. */
export function createRouter<Name extends string>(
  table: Readonly<Record<Name, EndpointSpec>>,
): Router<Name> {
  const byFirst = new Map<string, Entry<Name>[]>();
  for (const [name, endpoint] of Object.entries<EndpointSpec>(table)) {
    for (const path of [endpoint.path, ...(endpoint.aliases ?? [])]) {
      const segments = path.split('/').slice(1);
      const first = segments[0] ?? '';
      const entry = {
        name: name as Name,
        endpoint,
        segments,
        rest: segments.findIndex((each) => each.endsWith('...}')),
      };
      byFirst.set(first, [...(byFirst.get(first) ?? []), entry]);
    }
  }
  for (const entries of byFirst.values()) entries.sort((a, b) => literals(b) - literals(a));

  const find = (method: string, target: string): Found<Name> => {
    const { version, segments, query } = splitTarget(target);
    const allow: Method[] = [];
    for (const entry of byFirst.get(segments[0] ?? '') ?? []) {
      const { endpoint, name } = entry;
      const params = match(entry, segments);
      if (params === undefined) continue;
      if (endpoint.since !== undefined && compareApiVersions(version, endpoint.since) < 0) continue;
      if (endpoint.when !== undefined && (query.get(endpoint.when) ?? '') === '') continue;
      if (endpoint.method === method) return { name, endpoint, params, query, version };
      allow.push(endpoint.method);
    }
    if (allow.length > 0) return { allow };
    refuse(segments);
    throw notFound('page not found');
  };
  return { find };
}

function literals(entry: { segments: readonly string[] }): number {
  return entry.segments.filter((each) => !each.startsWith('{')).length;
}

function match(
  { segments, rest }: Pick<Entry<string>, 'segments' | 'rest'>,
  given: readonly string[],
): Record<string, string> | undefined {
  const extra = given.length - segments.length;
  if (rest < 0 ? extra !== 0 : extra < 0) return undefined;
  const params: Record<string, string> = {};
  for (const [i, segment] of segments.entries()) {
    const at = rest >= 0 && i > rest ? i + extra : i;
    if (i === rest) params[segment.slice(1, -4)] = given.slice(i, i + extra + 1).join('/');
    else if (segment.startsWith('{')) params[segment.slice(1, -1)] = given[at] ?? '';
    else if (segment !== given[at]) return undefined;
  }
  return params;
}

function splitTarget(target: string): {
  version: ApiVersion;
  segments: readonly string[];
  query: URLSearchParams;
} {
  if (target.length > LIMITS.requestTargetBytesMax) {
    throw invalidArgument('the request target is too long');
  }
  let path = target;
  // A proxy's form, `http://host/path`.
  if (!path.startsWith('/')) path = path.replace(/^https?:\/\/[^/?#]*/i, '');
  const mark = path.indexOf('?');
  const query = new URLSearchParams(mark < 0 ? '' : path.slice(mark + 1));
  if (mark >= 0) path = path.slice(0, mark);
  const segments = decodePath(path)
    .split('/')
    .filter((each) => each !== '');
  const prefix = /^v([0-9.]+)$/.exec(segments[0] ?? '');
  if (prefix === null) return { version: API_VERSION_MAX, segments, query };
  const version = parseApiVersion(prefix[1] ?? '');
  if (version === undefined) throw invalidArgument(`invalid API version "${prefix[1]}"`);
  checkApiVersion(version);
  return { version, segments: segments.slice(1), query };
}

function decodePath(path: string): string {
  let decoded: string;
  try {
    decoded = decodeURIComponent(path);
  } catch (cause) {
    throw invalidArgument('invalid URL escape in the path', { cause });
  }
  if (decoded.includes('\0')) throw invalidArgument('invalid NUL in the path');
  return decoded;
}

const SWARM = new Set(['swarm', 'nodes', 'services', 'tasks', 'secrets', 'configs']);

/** What other engines do and this one does not, said plainly in Docker's shape. */
function refuse(segments: readonly string[]): void {
  const [noun, , verb] = segments;
  if (noun === undefined) return;
  if (SWARM.has(noun)) {
    if (noun === 'swarm' && (segments[1] === 'init' || segments[1] === 'join')) {
      throw notImplemented('cannot join a swarm: Coracle runs containers on this machine only');
    }
    throw unavailable(
      'This node is not a swarm manager. Coracle runs containers on this machine only.',
    );
  }
  if (noun === 'plugins') {
    throw notImplemented('plugins are not supported: Coracle has its drivers built in');
  }
  if (noun === 'containers' && verb === 'checkpoints') {
    throw notImplemented('checkpoint and restore of containers are not supported');
  }
  if (noun === 'session' || noun === 'grpc') {
    throw notFound('page not found: BuildKit is not part of Coracle. Build with DOCKER_BUILDKIT=0');
  }
}

/** Names of parameters and headers may be secret; a path is not. Cuts it to what a log line bears. */
export function shownTarget(target: string): string {
  const path = target.split('?', 1)[0] ?? '';
  return path.length > 200 ? `${path.slice(0, 200)}…` : path;
}
