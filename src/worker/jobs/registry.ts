import { parseDigest } from '../../base/digest.ts';
import { LIMITS } from '../../base/limits.ts';
import { parseReference } from '../../base/reference.ts';
import { fetchBlob } from '../../registry/blobs.ts';
import { login } from '../../registry/login.ts';
import { fetchManifest } from '../../registry/manifests.ts';
import { pullError } from '../../registry/registry-error.ts';
import { searchRepositories } from '../../registry/search.ts';
import type { RegistrySession } from '../../registry/session.ts';
import { listTags } from '../../registry/tags.ts';
import { decodeJson } from '../../spec/decode.ts';
import { type Descriptor, MEDIA_TYPE, type Platform, platform } from '../../spec/oci/image.ts';
import type { JobContext } from '../job.ts';
import type {
  DistributionResult,
  LoginResult,
  RegistryInput,
  SearchResult,
} from '../pull-protocol.ts';
import { openWorkerSession } from '../registry-session.ts';

/** The job `registry`: small questions to a registry. */
export async function registry(
  input: unknown,
  context: JobContext,
): Promise<string[] | DistributionResult | LoginResult | SearchResult[]> {
  const job = input as RegistryInput;
  await using session = await openWorkerSession(job.access, context.signal);
  switch (job.ask) {
    case 'tags':
      return await asPull(job.familiar, () => listTags(session, job.path));
    case 'manifest':
      return await asPull(job.familiar, () => distributionOf(session, job));
    case 'login': {
      const { credentials } = job.access;
      if (credentials === null) return { identityToken: '' };
      return { identityToken: await login(session, credentials) };
    }
    case 'search':
      return await searchRepositories(session, job.term, job.limit);
  }
}

/** A failure in the words that a pull of the same name would get. */
async function asPull<T>(familiar: string, body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    throw pullError(error, parseReference(familiar));
  }
}

async function distributionOf(
  session: RegistrySession,
  job: RegistryInput & { readonly ask: 'manifest' },
): Promise<DistributionResult> {
  const { path, reference, attempts } = job;
  const { digest, mediaType, bytes, content } = await fetchManifest(session, path, reference);
  const about = { mediaType, digest, sizeBytes: bytes.length };
  if (content.kind === 'index') {
    const { annotations, manifests } = content.index;
    const platforms = manifests.map((each) => each.platform).filter((each) => each !== null);
    return { ...about, annotations, platforms };
  }
  const { annotations, config } = content.manifest;
  const place = { session, path, attempts };
  return { ...about, annotations, platforms: await platformsOf(place, config) };
}

/** An image says in its config what it is for; an artifact has no config that would. */
async function platformsOf(
  place: {
    readonly session: RegistrySession;
    readonly path: string;
    readonly attempts: number;
  },
  config: Descriptor,
): Promise<Platform[]> {
  const isImage = [MEDIA_TYPE.ociConfig, MEDIA_TYPE.dockerConfig].some(
    (type) => type === config.mediaType,
  );
  if (!isImage) return [];
  const text = await fetchBlob(place.session, {
    path: place.path,
    digest: parseDigest(config.digest),
    sizeBytes: config.size,
    attempts: place.attempts,
    bytesMax: LIMITS.imageConfigBytesMax,
    what: 'image config',
  });
  return [decodeJson(platform, text.toString('utf8'))];
}
