import { type Digest, isSha256, parseDigest } from './digest.ts';
import { invalidArgument } from './errors.ts';

/**
 * Image references as users write them. Grammar and texts of errors: distribution/reference
 * (`reference.go`, `normalize.go`).
 *
 *   [domain[:port]/]path[:tag][@digest]
 *
 * `debian` means `docker.io/library/debian:latest`.
 */
export type Reference = {
  /** `docker.io`, `registry.example:5000`. */
  readonly domain: string;
  /** `library/debian`. */
  readonly path: string;
  readonly tag: string | undefined;
  readonly digest: Digest | undefined;
};

const DEFAULT_DOMAIN = 'docker.io';
const LEGACY_DOMAIN = 'index.docker.io';
const OFFICIAL = 'library/';
export const DEFAULT_TAG = 'latest';

const DOMAIN =
  /^(?:(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*|\[[0-9a-fA-F:]+\])(?::[0-9]+)?$/;
const COMPONENT = '[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*';
const PATH = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[\w][\w.-]{0,127}$/;
const PATH_CHARS_MAX = 255;

function invalidFormat(): Error {
  return invalidArgument('invalid reference format');
}

function splitDomain(name: string): { domain: string; path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isDomain =
    slash >= 0 && (/[.:]/.test(first) || first === 'localhost' || first.toLowerCase() !== first);
  let domain = isDomain ? first : DEFAULT_DOMAIN;
  let path = isDomain ? name.slice(slash + 1) : name;
  if (domain === LEGACY_DOMAIN) domain = DEFAULT_DOMAIN;
  if (domain === DEFAULT_DOMAIN && !path.includes('/')) path = OFFICIAL + path;
  return { domain, path };
}

/**
 * Parses what a user typed; the tag stays undefined when none was given.
 * @throws invalidArgument with distribution's texts
 */
export function parseReference(text: string): Reference {
  if (/^[a-f0-9]{64}$/.test(text)) {
    throw invalidArgument(
      `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`,
    );
  }
  let rest = text;
  let digest: Digest | undefined;
  const at = rest.indexOf('@');
  if (at >= 0) {
    const digestText = rest.slice(at + 1);
    if (!isSha256(digestText)) {
      if (
        /^[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}$/.test(digestText)
      ) {
        parseDigest(digestText);
      }
      throw invalidFormat();
    }
    digest = parseDigest(digestText);
    rest = rest.slice(0, at);
  }
  let tag: string | undefined;
  const colon = rest.lastIndexOf(':');
  if (colon > rest.lastIndexOf('/')) {
    tag = rest.slice(colon + 1);
    rest = rest.slice(0, colon);
    if (!TAG.test(tag)) throw invalidFormat();
  }
  const { domain, path } = splitDomain(rest);
  if (path.toLowerCase() !== path && PATH.test(path.toLowerCase())) {
    throw invalidArgument(`invalid reference format: repository name (${path}) must be lowercase`);
  }
  if (!DOMAIN.test(domain) || !PATH.test(path)) throw invalidFormat();
  if (path.length > PATH_CHARS_MAX) {
    throw invalidArgument('repository name must not be more than 255 characters');
  }
  return { domain, path, tag, digest };
}

/** The reference with `latest` where neither tag nor digest was given. */
export function withDefaultTag(reference: Reference): Reference {
  if (reference.tag !== undefined || reference.digest !== undefined) return reference;
  return { ...reference, tag: DEFAULT_TAG };
}

/** True for a well-formed tag. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** `docker.io/library/debian`: the repository in full. */
export function repositoryOf(reference: Pick<Reference, 'domain' | 'path'>): string {
  return `${reference.domain}/${reference.path}`;
}

/** The repository as a user reads it: `debian`, `user/app`, `registry:5000/app`. */
export function familiarRepository(reference: Pick<Reference, 'domain' | 'path'>): string {
  if (reference.domain !== DEFAULT_DOMAIN) return repositoryOf(reference);
  return reference.path.startsWith(OFFICIAL) && !reference.path.slice(8).includes('/')
    ? reference.path.slice(OFFICIAL.length)
    : reference.path;
}

/** The whole reference as a user reads it: `debian:12`, `app@sha256:…`. */
export function familiarReference(reference: Reference): string {
  let text = familiarRepository(reference);
  if (reference.tag !== undefined) text += `:${reference.tag}`;
  if (reference.digest !== undefined) text += `@${reference.digest}`;
  return text;
}

/** The whole reference in full: `docker.io/library/debian:12`. */
export function fullReference(reference: Reference): string {
  let text = repositoryOf(reference);
  if (reference.tag !== undefined) text += `:${reference.tag}`;
  if (reference.digest !== undefined) text += `@${reference.digest}`;
  return text;
}
