import path from 'node:path';
import { type DiffId, shortId } from '../../base/digest.ts';
import { dataLoss, isEngineError } from '../../base/errors.ts';
import type { VerifyInput, VerifyReport } from '../../worker/verify-protocol.ts';
import type { ProgressCall } from '../call.ts';
import type { Engine } from '../engine.ts';
import { getImage } from './resolve.ts';

/** What of the engine verifying works with. */
export type VerifyEngine = Pick<Engine, 'workers' | 'layers' | 'store' | 'log'>;

const WORDS = { begun: 'Verifying', whole: 'Verified', damaged: 'Damaged' } as const;

/**
 * `POST /images/NAME/verify`: reads every layer of an image again. What is found is remembered: a
 * damaged layer counts as missing for the next pull or load, which brings it anew. So it is for
 * layers of other images that share contents with a damaged one.
 *
 * @throws notFound; dataLoss naming the damaged layers
 */
export async function imageVerify(
  engine: VerifyEngine,
  args: { readonly params: { readonly name: string } },
  call: ProgressCall,
): Promise<void> {
  const { name } = args.params;
  const { image } = getImage(engine, name);
  const { layers } = engine;
  const all = [...new Set(Object.values(layers.knownDigests()))];
  using _held = layers.hold([...image.diffIds, ...all]);
  const own = new Set(image.diffIds);
  const at = (diffId: DiffId) => {
    try {
      layers.show(diffId);
    } catch (error) {
      // Why it cannot be seen is found out by who looks at it.
      if (!isEngineError(error, 'unavailable')) throw error;
    }
    return { diffId, directory: path.dirname(layers.directoryOf(diffId)) };
  };
  const input: VerifyInput = {
    layers: [...own].map(at),
    others: all.filter((diffId) => !own.has(diffId)).map(at),
  };
  const damaged: DiffId[] = [];
  const take = (report: VerifyReport): void => {
    const { diffId, state } = report;
    const why = state === 'damaged' ? report.why : undefined;
    const text = why === undefined ? WORDS[state] : `${WORDS[state]}: ${why}`;
    call.progress({ status: text, progressDetail: {}, id: shortId(diffId) });
    if (state === 'begun') return;
    // A layer that is as it was before is not written about.
    if (layers.isWhole(diffId) !== (why === undefined)) layers.setDamaged(diffId, why);
    if (why === undefined) return;
    if (own.has(diffId)) damaged.push(diffId);
    engine.log.error('a layer is damaged', { layer: diffId, why });
  };
  await using job = await engine.workers.start('verify', input, {
    signal: call.signal,
    onReport: (report) => take(report as VerifyReport),
  });
  job.stdin.end();
  job.stdout.resume();
  await job.result;
  if (damaged.length > 0) {
    throw dataLoss(
      `image ${name} is damaged in ${damaged.join(', ')}: pull or load it again to repair it`,
    );
  }
  call.progress({ status: `Image ${name} is whole` });
}
