import { notFound } from '../../base/errors.ts';
import { formatPlatform, platformRank } from '../../policy/platform.ts';
import type { PlatformWish } from '../../spec/docker/image.ts';
import type { ImageRecord } from '../../store/images.ts';
import { platformOf } from './manifests.ts';

/**
 * A name stands for one platform's image here; a client that asks for another is told so.
 * @throws notFound
 */
export function checkPlatform(image: ImageRecord, name: string, wish: PlatformWish | null): void {
  if (wish === null) return;
  const have = platformOf(image);
  const shown = { os: have.os, architecture: have.architecture, variant: have.variant ?? '' };
  if (platformRank(wish, shown) !== undefined) return;
  throw notFound(
    `image with reference ${name} was found but does not provide the specified platform (${formatPlatform(wish)}): its platform is ${formatPlatform(shown)}`,
  );
}
