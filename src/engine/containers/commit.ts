import { pipeline } from 'node:stream/promises';
import { isDeepStrictEqual } from 'node:util';
import { formatTimeMs } from '../../base/clock.ts';
import { conflict } from '../../base/errors.ts';
import { familiarReference, repositoryOf } from '../../base/reference.ts';
import { mergeConfig } from '../../policy/container-config.ts';
import { applyChanges } from '../../policy/image-changes.ts';
import { decodeJson } from '../../spec/decode.ts';
import { type ContainerConfig, containerConfig } from '../../spec/docker/container.ts';
import type { IdResult } from '../../spec/docker/container-view.ts';
import { type ImageConfig, imageConfig } from '../../spec/oci/image.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import type { ImportInput, ImportResult } from '../../worker/archive-protocol.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { commitImage } from '../images/commit-image.ts';
import { imageEvent } from '../images/events.ts';
import { hostOf } from '../images/pull.ts';
import { targetReference } from '../images/tag.ts';
import type { Container } from './container.ts';
import { containerEvent } from './events.ts';
import { withDiff } from './filesystem.ts';
import { freeze, thaw } from './freeze.ts';

export type ContainerCommitArgs = {
  readonly query: {
    readonly container: string;
    readonly repo: string;
    readonly tag: string;
    readonly comment: string;
    readonly author: string;
    readonly pause: boolean;
    readonly changes: readonly string[];
  };
  readonly body: ContainerConfig;
};

/**
 * Makes an image of a container: its image's layers, and its changes as one more. A running one is
 * held still meanwhile, unless asked not to.
 */
export async function containerCommit(
  engine: Engine,
  args: ContainerCommitArgs,
  call: Call,
): Promise<IdResult> {
  const { query, body } = args;
  const container = engine.containers.get(query.container);
  const reference = query.repo === '' ? undefined : targetReference(query.repo, query.tag);
  const own = container.document.config;
  // A client that sends no config, as docker's, changes that of the container.
  const base = isDeepStrictEqual(body, containerConfig.zero()) ? own : body;
  const config = mergeConfig(applyChanges(base, query.changes), own);
  if (container.removing || container.dead) {
    throw conflict(`You cannot commit container ${container.id} which is being removed`);
  }
  using _held = engine.layers.hold(container.document.layers);
  await using staging = engine.layers.stage();
  const layer = await whileStill(engine, container, query.pause, () =>
    layerOfChanges(engine, container, staging.directory, call),
  );
  const content = imageOf(engine, container, { config, query, layer });
  const id = await commitImage(engine, {
    staged: [layer],
    config: content,
    diffIds: [...container.document.layers, layer.diffId],
    tags:
      reference === undefined
        ? []
        : [{ repository: repositoryOf(reference), tag: reference.tag ?? '' }],
    repoDigests: [],
    manifests: [],
    cause: 'commit',
    parent: container.document.imageId,
  });
  const name = reference === undefined ? '' : familiarReference(reference);
  containerEvent(engine, container, 'commit', {
    comment: query.comment,
    imageID: id,
    imageRef: name,
  });
  if (reference !== undefined) imageEvent(engine, 'tag', { id, config: content }, name);
  return { Id: id };
}

async function whileStill<T>(
  engine: Engine,
  container: Container,
  pause: boolean,
  body: () => Promise<T>,
): Promise<T> {
  const { run } = container;
  if (!pause || run === undefined || run.paused) return await body();
  await freeze(engine, container);
  try {
    return await body();
  } finally {
    if (container.run === run && run.paused) await thaw(engine, container, run);
  }
}

/** The container's changes as a staged layer: one worker packs them, another takes them in. */
async function layerOfChanges(
  engine: Engine,
  container: Container,
  staging: string,
  call: Call,
): Promise<StagedLayer> {
  const { signal } = call;
  return await withDiff(engine, container, async (diff) => {
    await using packing = await engine.workers.start('tree-diff', diff, { signal });
    packing.stdin.end();
    const input: ImportInput = { staging, url: '' };
    await using taking = await engine.workers.start('import', input, { signal });
    taking.stdout.resume();
    const [packed, sent, taken] = await Promise.allSettled([
      packing.result,
      pipeline(packing.stdout, taking.stdin, { signal }),
      taking.result,
    ]);
    for (const each of [packed, taken, sent]) if (each.status === 'rejected') throw each.reason;
    return ((taken as PromiseFulfilledResult<unknown>).value as ImportResult).layer;
  });
}

function imageOf(
  engine: Engine,
  container: Container,
  of: {
    readonly config: ContainerConfig;
    readonly query: ContainerCommitArgs['query'];
    readonly layer: StagedLayer;
  },
): Buffer {
  const { document } = container;
  const { author, comment } = of.query;
  const base = baseOf(engine, container);
  const host = hostOf();
  const created = formatTimeMs(engine.clock.nowMs());
  const made_by = (document.config.Cmd ?? []).join(' ');
  return Buffer.from(
    JSON.stringify({
      architecture: base?.architecture || host.architecture,
      ...(base?.variant ? { variant: base.variant } : {}),
      os: base?.os || host.os,
      created,
      author,
      comment,
      container: container.id,
      // What named this container says nothing of others.
      config: { ...of.config, Hostname: '', Domainname: '', Image: document.config.Image },
      rootfs: { type: 'layers', diff_ids: [...document.layers, of.layer.diffId] },
      history: [...(base?.history ?? []), { created, created_by: made_by, author, comment }],
    }),
  );
}

/** The image it was made from; undefined when that was removed. */
function baseOf(engine: Engine, container: Container): ImageConfig | undefined {
  const image = engine.store.images.find(container.document.imageId);
  if (image === undefined) return undefined;
  return decodeJson(imageConfig, Buffer.from(image.config).toString('utf8'));
}
