import { humanSize } from '../../base/bytes.ts';
import { formatTimeMs } from '../../base/clock.ts';
import { familiarReference, repositoryOf } from '../../base/reference.ts';
import { balenaDeltaConfig } from '../../policy/balena-delta.ts';
import type { ProgressMessage } from '../../spec/docker/progress.ts';
import type { DeltaCreateInput, DeltaCreateResult } from '../../worker/delta-protocol.ts';
import type { ProgressCall } from '../call.ts';
import type { Engine } from '../engine.ts';
import { commitImage } from '../images/commit-image.ts';
import { imageEvent } from '../images/events.ts';
import { getImage } from '../images/resolve.ts';
import { targetReference } from '../images/tag.ts';
import { layerFolders } from './base.ts';

/** Arguments of `POST /images/delta`. */
export type ImageDeltaArgs = {
  readonly query: {
    /** The base, the target, and the delta's own name; '' for none. */
    readonly src: string;
    readonly dest: string;
    readonly t: string;
  };
};

/** What of the engine making a delta works with. */
export type DeltaEngine = Pick<Engine, 'clock' | 'workers' | 'layers' | 'store' | 'events'>;

/**
 * Makes an image that turns one image into another, as balenaEngine does: any registry and archive
 * carries it, and who has the base gets the target by pulling or loading it.
 *
 * @throws notFound for an image that is not here; invalidArgument for a bad name
 */
export async function imageDelta(
  engine: DeltaEngine,
  { query }: ImageDeltaArgs,
  call: ProgressCall,
): Promise<void> {
  const { layers, clock, workers } = engine;
  const { image: base } = getImage(engine, query.src);
  const { image: target } = getImage(engine, query.dest);
  const reference = query.t === '' ? undefined : targetReference(query.t, '');
  using _held = layers.hold([...base.diffIds, ...target.diffIds]);
  await using staging = layers.stage();
  const input: DeltaCreateInput = {
    staging: staging.directory,
    baseName: query.src,
    base: layerFolders(engine, base.diffIds),
    target: layerFolders(engine, target.diffIds),
  };
  await using job = await workers.start('delta-create', input, {
    signal: call.signal,
    onReport: (message) => call.progress(message as ProgressMessage),
  });
  const made = (await job.result) as DeltaCreateResult;
  const diffIds = made.layers.map((layer) => layer.diffId);
  const config = balenaDeltaConfig({
    created: formatTimeMs(clock.nowMs()),
    base: base.id,
    targetConfig: target.config,
    diffIds,
  });
  const tags =
    reference === undefined
      ? []
      : [{ repository: repositoryOf(reference), tag: reference.tag ?? '' }];
  const names = { tags, repoDigests: [], manifests: [] };
  const image = { staged: made.layers, config, diffIds, ...names, cause: 'delta' } as const;
  const id = await commitImage(engine, image);
  call.progress({ status: sizes(made) });
  call.progress({ status: `Created delta: ${id}` });
  if (reference === undefined) return;
  const name = familiarReference(reference);
  imageEvent(engine, 'tag', { id, config }, name);
  call.progress({ status: `Successfully tagged ${name}\n` });
}

/** balenaEngine's line; without anything to make, its ratio is 1. */
function sizes({ normalBytes, deltaBytes }: DeltaCreateResult): string {
  const ratio = normalBytes === 0 ? 1 : normalBytes / deltaBytes;
  return `Normal size: ${humanSize(normalBytes)}, Delta size: ${humanSize(deltaBytes)}, ${ratio.toFixed(2)}x improvement`;
}
