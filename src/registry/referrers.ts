import { type Digest, hexOf } from '../base/digest.ts';
import { EngineError, isEngineError, unavailable } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type Descriptor, index, MEDIA_TYPE } from '../spec/oci/image.ts';
import { decodeAnswer, fetchManifest, pullScope, readAll } from './manifests.ts';
import type { RegistrySession } from './session.ts';
import { nextPageOf } from './tags.ts';
import { putManifest } from './upload.ts';

/**
 * Artifacts that refer to a manifest (OCI distribution-spec v1.1, "Listing Referrers"). Registries
 * without that endpoint have the same list under a tag that clients keep.
 */

/** What is put into a list of referrers, and found there. */
export type Referrer = Pick<Descriptor, 'mediaType' | 'digest' | 'size' | 'artifactType'> & {
  readonly annotations: Readonly<Record<string, string>>;
};

/** What a list keeps of each entry. */
type Listed = Pick<Descriptor, 'mediaType' | 'digest' | 'size' | 'artifactType' | 'annotations'>;

/** How registries say that they have no such endpoint. */
const NO_ENDPOINT = [400, 404, 405, 501];

/** `sha256-HEX`, the tag that holds the list where there is no endpoint. */
function fallbackTag(subject: Digest): string {
  return `sha256-${hexOf(subject)}`;
}

/**
 * The artifacts of one type that refer to a manifest; none where the registry knows of none.
 * @throws the registry's error; invalidArgument for a list that is none
 */
export async function findReferrers(
  session: RegistrySession,
  path: string,
  subject: Digest,
  artifactType: string,
): Promise<Referrer[]> {
  const query = new URLSearchParams({ artifactType });
  const answer = await session.send({
    method: 'GET',
    target: `/v2/${path}/referrers/${subject}?${query.toString()}`,
    headers: { Accept: MEDIA_TYPE.ociIndex },
    scopes: [pullScope(path)],
    accept: NO_ENDPOINT,
  });
  let manifests: readonly Descriptor[];
  if (answer.status === 200) manifests = await allPages(session, path, answer);
  else {
    await answer.discard();
    manifests = await fallbackList(session, path, subject);
  }
  return manifests
    .slice(0, LIMITS.indexEntriesMax)
    .filter((each) => each.artifactType === artifactType)
    .map((each) => ({ ...each, annotations: each.annotations ?? {} }));
}

/** The list that a registry gives, which may come in pages. */
async function allPages(
  session: RegistrySession,
  path: string,
  first: Awaited<ReturnType<RegistrySession['send']>>,
): Promise<Descriptor[]> {
  const what = 'list of referrers';
  const all: Descriptor[] = [];
  for (let answer = first; ; ) {
    const text = (await readAll(answer.body, LIMITS.manifestBytesMax, what)).toString('utf8');
    const contentType = answer.headers.get('content-type');
    const { manifests } = decodeAnswer(index, { text, contentType, what });
    all.push(...manifests.slice(0, LIMITS.indexEntriesMax - all.length));
    const target = nextPageOf(answer);
    if (target === undefined || manifests.length === 0) return all;
    if (all.length === LIMITS.indexEntriesMax) return all;
    const headers = { Accept: MEDIA_TYPE.ociIndex };
    answer = await session.send({ method: 'GET', target, headers, scopes: [pullScope(path)] });
  }
}

/** The list under the fallback tag; empty when there is none. */
async function fallbackList(
  session: RegistrySession,
  path: string,
  subject: Digest,
): Promise<readonly Descriptor[]> {
  try {
    const { content } = await fetchManifest(session, path, fallbackTag(subject));
    return content.kind === 'index' ? content.index.manifests : [];
  } catch (error) {
    if (isEngineError(error, 'notFound') || statusOf(error) === 404) return [];
    throw error;
  }
}

function statusOf(error: unknown): unknown {
  return error instanceof EngineError ? error.detail['status'] : undefined;
}

/**
 * Sends an artifact's manifest, and sees to it that it is found by its subject. Where the registry
 * keeps no list of its own, another client that does this for the same subject may write its list
 * over ours: the specification has nothing against that but to look whether the entry is there.
 * @throws the registry's error; unavailable when the list is written over again and again
 */
export async function putReferrer(
  session: RegistrySession,
  path: string,
  subject: Digest,
  artifact: { readonly referrer: Referrer; readonly bytes: Uint8Array },
): Promise<void> {
  const { referrer, bytes } = artifact;
  const { mediaType } = referrer;
  const isListed = await putManifest(session, path, referrer.digest, { mediaType, bytes });
  if (isListed) return;
  for (let attempt = 0; ; attempt += 1) {
    const before = await fallbackList(session, path, subject);
    if (before.some(({ digest }) => digest === referrer.digest)) return;
    if (attempt === LIMITS.referrerListAttempts) {
      throw unavailable(
        `cannot add to the list ${fallbackTag(subject)} of ${path}: others write it at the same time; push it again`,
      );
    }
    await putFallbackList(session, path, { subject, manifests: [...before, referrer] });
  }
}

async function putFallbackList(
  session: RegistrySession,
  path: string,
  { subject, manifests }: { readonly subject: Digest; readonly manifests: readonly Listed[] },
): Promise<void> {
  const list = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociIndex,
    manifests: manifests.map(({ mediaType, digest, size, artifactType, annotations }) => ({
      ...{ mediaType, digest, size, artifactType, annotations: annotations ?? {} },
    })),
  };
  await putManifest(session, path, fallbackTag(subject), {
    mediaType: MEDIA_TYPE.ociIndex,
    bytes: Buffer.from(JSON.stringify(list)),
  });
}
