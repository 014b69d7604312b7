import { notFound } from '../../base/errors.ts';
import { familiarReference, parseReference, withDefaultTag } from '../../base/reference.ts';
import type { AuthConfig } from '../../spec/docker/auth.ts';
import type { DistributionInspect, ImagePlatform } from '../../spec/docker/image.ts';
import type { Platform } from '../../spec/oci/image.ts';
import type { DistributionResult, RegistryInput } from '../../worker/pull-protocol.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { registryAccess } from './registry-access.ts';

/**
 * `GET /distribution/{name}/json`: the descriptor that a registry has under a name, and the
 * platforms of what it describes.
 * @throws the registry's error; notFound for an image's ID, of which no registry knows
 */
export async function imageDistribution(
  engine: Pick<Engine, 'config' | 'workers'>,
  args: {
    readonly params: { readonly name: string };
    readonly headers: { readonly registryAuth: AuthConfig | undefined };
  },
  call: Call,
): Promise<DistributionInspect> {
  const { name } = args.params;
  if (/^(?:sha256:)?[0-9a-f]{64}$/.test(name)) {
    throw notFound('no manifest found for full image ID');
  }
  const named = parseReference(name);
  const reference = named.digest === undefined ? withDefaultTag(named) : named;
  const input: RegistryInput = {
    ask: 'manifest',
    access: registryAccess(engine, reference.domain, args.headers.registryAuth),
    path: reference.path,
    reference: reference.digest ?? reference.tag ?? '',
    familiar: familiarReference(reference),
    attempts: engine.config().maxDownloadAttempts,
  };
  await using job = await engine.workers.start('registry', input, { signal: call.signal });
  const { mediaType, digest, sizeBytes, annotations, platforms } =
    (await job.result) as DistributionResult;
  return {
    Descriptor: {
      mediaType,
      digest,
      size: sizeBytes,
      ...(annotations === null ? {} : { annotations }),
    },
    Platforms: platforms.map(shownPlatform),
  };
}

/** Without the fields that are empty. */
function shownPlatform(from: Platform): ImagePlatform {
  const { architecture, os, variant } = from;
  const [version, features] = [from['os.version'], from['os.features'] ?? []];
  return {
    architecture,
    os,
    ...(version === '' ? {} : { 'os.version': version }),
    ...(features.length === 0 ? {} : { 'os.features': features }),
    ...(variant === '' ? {} : { variant }),
  };
}
