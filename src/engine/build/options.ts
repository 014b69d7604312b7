import { invalidArgument } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { familiarReference, type Reference, repositoryOf } from '../../base/reference.ts';
import type { AuthConfig } from '../../spec/docker/auth.ts';
import type { Ulimit } from '../../spec/docker/container.ts';
import { targetReference } from '../images/tag.ts';

/** What `POST /build` is asked, decoded. */
export type BuildQuery = {
  readonly dockerfile: string;
  readonly t: readonly string[];
  readonly extrahosts: readonly string[];
  readonly remote: string;
  readonly q: boolean;
  readonly nocache: boolean;
  readonly cachefrom: readonly string[];
  readonly pull: boolean;
  readonly rm: boolean;
  readonly forcerm: boolean;
  readonly memory: number | undefined;
  readonly memswap: number | undefined;
  readonly cpushares: number | undefined;
  readonly cpusetcpus: string;
  readonly cpusetmems: string;
  readonly cpuperiod: number | undefined;
  readonly cpuquota: number | undefined;
  readonly cgroupparent: string;
  readonly ulimits: readonly Ulimit[];
  readonly buildargs: Readonly<Record<string, string | null>>;
  readonly shmsize: number | undefined;
  readonly squash: boolean;
  readonly labels: Readonly<Record<string, string>>;
  readonly networkmode: string;
  readonly platform: string;
  readonly target: string;
  readonly outputs: string;
  readonly version: string;
};

/** How to build. */
export type BuildOptions = Omit<BuildQuery, 't'> & {
  readonly tags: readonly Reference[];
  /** Credentials by registry. */
  readonly registries: Readonly<Record<string, AuthConfig>>;
};

const GIT = /^(?:git:\/\/|git@|github\.com\/)|^https?:\/\/.*\.git(?:#.*)?$/i;

/**
 * Checks what is asked for before anything is done.
 * @throws invalidArgument; also for what belongs to other builders
 */
export function buildOptions(
  query: BuildQuery,
  registries: Readonly<Record<string, AuthConfig>> | undefined,
): BuildOptions {
  const { t, version, outputs, remote } = query;
  if (version === '2') {
    throw invalidArgument(
      'BuildKit is not supported: set DOCKER_BUILDKIT=0 to build with the classic builder',
    );
  }
  if (version !== '' && version !== '1') {
    throw invalidArgument(`invalid version of the builder: ${JSON.stringify(version)}`);
  }
  if (query.squash) throw invalidArgument('squash is only supported with experimental mode');
  if (!['', '[]', 'null'].includes(outputs)) {
    throw invalidArgument('outputs require BuildKit: the result of a build is an image');
  }
  if (GIT.test(remote)) {
    throw invalidArgument(
      'git repositories are no build context here: clone it and build the folder',
    );
  }
  if (remote !== '' && !/^https?:\/\//i.test(remote)) {
    throw invalidArgument(
      `cannot build from ${JSON.stringify(remote)}: send a tar, or the http:// or https:// URL of one`,
    );
  }
  const names = t.filter((each) => each !== '');
  if (names.length > LIMITS.buildTagsMax) {
    throw invalidArgument(`more than ${LIMITS.buildTagsMax} names for one image`);
  }
  return { ...query, tags: uniqueTags(names), registries: registries ?? {} };
}

function uniqueTags(names: readonly string[]): Reference[] {
  const tags = names.map((name) => targetReference(name, ''));
  return [...new Map(tags.map((tag) => [familiarReference(tag), tag])).values()];
}

/** A reference as a tag of an image. */
export function tagOf(reference: Reference): { repository: string; tag: string } {
  return { repository: repositoryOf(reference), tag: reference.tag ?? '' };
}

/** Credentials for a registry, by the names that clients know it by. */
export function authOf(
  registries: Readonly<Record<string, AuthConfig>>,
  domain: string,
): AuthConfig | undefined {
  const names =
    domain === 'docker.io'
      ? ['https://index.docker.io/v1/', 'index.docker.io', 'docker.io', 'https://index.docker.io']
      : [domain, `https://${domain}`, `http://${domain}`];
  const name = names.find((each) => Object.hasOwn(registries, each));
  return name === undefined ? undefined : registries[name];
}
