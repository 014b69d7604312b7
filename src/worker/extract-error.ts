import { errnoOf, internal } from '../base/errors.ts';
import { toText } from '../formats/byte-string.ts';
import { cleanLayerPath } from '../formats/layer-path.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { errnoText } from '../kernel/errno.ts';

/** What went wrong, with the entry's own path instead of the staging folder's. */
export function explain(error: unknown, entry: TarEntry): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  const place = toText(cleanLayerPath(entry.path));
  const what =
    entry.kind === 'hardlink'
      ? `link /${toText(cleanLayerPath(entry.link))} /${place}`
      : `${entry.storedBytes > 0 ? 'write' : entry.kind} /${place}`;
  return internal(`failed to register layer: ${what}: ${errnoText(errno)}`, {
    cause: error,
    detail: { errno },
  });
}
