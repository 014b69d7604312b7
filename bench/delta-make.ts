/**
 * Makes a delta in Coracle's format between images of which each layer is a tar in a file, in a
 * process of its own, so that its CPU and memory can be measured beside those of other tools.
 *
 *   delta-make.ts FOLDER OLD.tar[,…] NEW.tar[,…]
 *
 * Writes the parts into FOLDER, and prints the bytes of all of them.
 */
import { createHash } from 'node:crypto';
import { parseDiffId, parseImageId } from '../src/base/digest.ts';
import { makeDeltas } from '../src/worker/deltas/delta-maker.ts';
import type { DeltaImage } from '../src/worker/deltas/delta-source.ts';
import { TarFiles } from '../src/worker/deltas/tar-files.ts';

function imageOf(files: readonly string[], stack: DisposableStack): DeltaImage {
  const entries = stack.use(new TarFiles(files));
  const diffIds = files.map((_, position) => {
    const hash = createHash('sha256');
    for (const chunk of entries.tar(position)) hash.update(chunk);
    return parseDiffId(`sha256:${hash.digest('hex')}`);
  });
  const config = Buffer.from(JSON.stringify({ rootfs: { type: 'layers', diff_ids: diffIds } }));
  const id = parseImageId(`sha256:${createHash('sha256').update(config).digest('hex')}`);
  return { id, config, diffIds, entries, tar: (position) => entries.tar(position) };
}

async function main([folder = '', old = '', target = '']: readonly string[]): Promise<void> {
  using stack = new DisposableStack();
  const [made] = await makeDeltas({
    target: imageOf(target.split(','), stack),
    bases: [imageOf(old.split(','), stack)],
    folder,
    signal: new AbortController().signal,
    onProgress: () => undefined,
  });
  const parts = made?.parts ?? [];
  console.log(parts.reduce((sum, part) => sum + (part?.sizeBytes ?? 0), 0));
}

await main(process.argv.slice(2));
