import { EngineError, invalidArgument } from '../base/errors.ts';
import type { ImagePlatform } from '../policy/platform.ts';
import { chooseManifest } from '../policy/pull-plan.ts';
import { type FetchedManifest, fetchManifest } from '../registry/manifests.ts';
import type { RegistrySession } from '../registry/session.ts';
import { decodeJson } from '../spec/decode.ts';
import { type ImageConfig, imageConfig, type Manifest } from '../spec/oci/image.ts';

/** Lists inside lists are followed so deep. */
const INDEX_DEPTH_MAX = 3;

/**
 * From what a reference names to the manifest of one image: the chain of lists that leads to it,
 * itself last.
 * @throws the registry's error; notFound when no image of a list fits the platform; invalidArgument
 */
export async function resolveImage(
  session: RegistrySession,
  path: string,
  named: FetchedManifest,
  want: ImagePlatform,
): Promise<{ chain: FetchedManifest[]; manifest: Manifest }> {
  const chain = [named];
  let current = named;
  while (current.content.kind === 'index') {
    if (chain.length > INDEX_DEPTH_MAX) {
      throw invalidArgument('the manifest list has lists inside lists inside lists');
    }
    const { digest, size } = chooseManifest(current.content.index, want);
    current = await fetchManifest(session, path, digest);
    if (current.bytes.length !== size) {
      throw invalidArgument(
        `the manifest list says that ${digest} has ${size} bytes, but it has ${current.bytes.length}`,
      );
    }
    chain.push(current);
  }
  return { chain, manifest: current.content.manifest };
}

/** @throws invalidArgument when it is not valid */
export function decodeImageConfig(bytes: Buffer): ImageConfig {
  try {
    return decodeJson(imageConfig, bytes.toString('utf8'));
  } catch (cause) {
    const why = cause instanceof EngineError ? cause.message : String(cause);
    throw invalidArgument(`the image config is not valid: ${why}`, { cause });
  }
}
