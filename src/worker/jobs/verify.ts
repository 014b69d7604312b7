import { readFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, isEngineError } from '../../base/errors.ts';
import { decodeLayerContents } from '../../formats/layer-contents.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { objectPlace } from '../../store/layers/object-place.ts';
import { CONTENTS } from '../../store/layers/objects.ts';
import type { JobContext } from '../job.ts';
import { verifyLayer } from '../layer-verify.ts';
import type { VerifiedLayer, VerifyInput, VerifyReport } from '../verify-protocol.ts';

/**
 * The job `verify`: reads layers one after the other and reports about each. What is damaged in one
 * may be a content that others share: those are read too, whatever image they are of.
 */
export async function verify(input: unknown, context: JobContext): Promise<null> {
  const { layers, others } = input as VerifyInput;
  const sys = openSyscalls();
  const isDamaged = async (layer: VerifiedLayer): Promise<boolean> => {
    const { diffId } = layer;
    const say = (report: VerifyReport): void => context.report(report);
    say({ diffId, state: 'begun' });
    const why = await verifyLayer({ sys, ...layer }, context.signal);
    say(why === undefined ? { diffId, state: 'whole' } : { diffId, state: 'damaged', why });
    return why !== undefined;
  };
  const suspect = new Set<string>();
  for (const layer of layers) {
    if (await isDamaged(layer)) for (const content of contentsOf(layer)) suspect.add(content);
  }
  if (suspect.size === 0) return null;
  for (const layer of others) {
    if (contentsOf(layer).some((content) => suspect.has(content))) await isDamaged(layer);
  }
  return null;
}

/** Where the contents lie that a layer lists; none when its list cannot be read. */
function contentsOf({ directory }: VerifiedLayer): string[] {
  try {
    const contents = decodeLayerContents(readFileSync(path.join(directory, CONTENTS)));
    return Array.from({ length: contents.count }, (_, i) => {
      const { group, number } = contents.at(i);
      return objectPlace({ group: group || path.basename(directory), number });
    });
  } catch (error) {
    if (errnoOf(error) !== undefined || isEngineError(error, 'dataLoss')) return [];
    throw error;
  }
}
