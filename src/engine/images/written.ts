import { humanSize } from '../../base/bytes.ts';
import type { DiffId } from '../../base/digest.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import type { Engine } from '../engine.ts';

/**
 * What an operation wrote for its images, and what of them it did not have to write because it was
 * here: `Wrote 3.1MB, shared 309MB`. `staged` are the layers that it brought, as they were staged.
 */
export function writtenLine(
  { layers }: Pick<Engine, 'layers'>,
  diffIds: readonly DiffId[],
  staged: readonly StagedLayer[],
): string {
  const brought = new Map(staged.map((layer) => [layer.diffId, layer]));
  let written = 0;
  for (const { writtenBytes } of brought.values()) written += writtenBytes;
  let shared = 0;
  for (const diffId of new Set(diffIds)) {
    shared += brought.get(diffId)?.sharedBytes ?? layers.find(diffId)?.diskBytes ?? 0;
  }
  return `Wrote ${humanSize(written, 3)}, shared ${humanSize(shared, 3)}`;
}
