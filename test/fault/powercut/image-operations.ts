import assert from 'node:assert/strict';
import { closeSync, existsSync, openSync, readFileSync, readSync, writeSync } from 'node:fs';
import path from 'node:path';
import { LAYER_IMAGE } from '../../../src/store/layers/layer-images.ts';
import type { TestDaemon } from '../../support/daemon.ts';
import { layerTar } from '../../support/images.ts';
import type { Supplies } from './supplies.ts';
import {
  type Draw,
  type Kind,
  keys,
  nameOf,
  pick,
  SOME_ID,
  type World,
  withEntry,
  without,
} from './world.ts';

/** A progress stream answers 200 and tells of its failure inside. */
async function stream(daemon: TestDaemon, address: string, body?: Uint8Array): Promise<string> {
  const answer = await daemon.api('POST', address, body);
  if (answer.status >= 300 || answer.text.includes('"errorDetail"')) {
    throw new Error(`POST ${address}: ${answer.status} ${answer.text.slice(-500)}`);
  }
  return answer.text;
}

/** `host:port/app:3` → name, tag. */
function split(reference: string): [string, string] {
  const colon = reference.lastIndexOf(':');
  return [reference.slice(0, colon), reference.slice(colon + 1)];
}

async function pullImage(daemon: TestDaemon, reference: string, more = ''): Promise<void> {
  const [name, tag] = split(reference);
  const said = await stream(daemon, `/images/create?fromImage=${name}&tag=${tag}${more}`);
  // What a checkpoint speaks of was on the disk before it: else it would only cost a second pull.
  assert.doesNotMatch(said, /is of no use/);
}

/** One that is not here, mostly: of the others there is little to be done. */
function pickImage(draw: Draw, world: World, { images }: Supplies): Supplies['images'][number] {
  const here = new Set(world.values());
  const absent = images.filter(({ id }) => !here.has(id));
  const image = pick(draw, draw() < 0.15 || absent.length === 0 ? images : absent);
  if (image === undefined) throw new Error('there are no images');
  return image;
}

export const pull: Kind = (draw, world, supplies) => {
  const { reference, id } = pickImage(draw, world, supplies);
  return {
    name: `pull ${split(reference)[1]}`,
    run: (daemon) => pullImage(daemon, reference),
    after: (before) => withEntry(before, `image ${reference}`, id),
  };
};

/** A layer over a link so slow that it has checkpoints, which the next pull goes on from. */
export const pullLarge: Kind = (_draw, world, { large }) => {
  const { reference, id } = large;
  if (world.has(`image ${reference}`)) return undefined;
  return {
    name: `pull-slowly ${split(reference)[1]}`,
    run: (daemon) => pullImage(daemon, reference, '&limitRate=2m'),
    after: (before) => withEntry(before, `image ${reference}`, id),
    isResumable: true,
  };
};

export const load: Kind = (draw, world, supplies) => {
  const image = pickImage(draw, world, supplies);
  const { loadedAs, archive, id } = image;
  return {
    name: `load ${loadedAs}`,
    run: async (daemon) => void (await stream(daemon, '/images/load', readFileSync(archive))),
    after: (before) => withEntry(before, `image ${loadedAs}`, id),
  };
};

/**
 * A delta whose base is here: one as balenaEngine has them, whose name becomes the target's, or one
 * of ours, which a pull of the target finds.
 */
export const delta: Kind = (draw, world, supplies) => {
  const isHere = new Set(keys(world, 'image').map((key) => world.get(key)));
  const usable = supplies.deltas.filter(({ baseId }) => isHere.has(baseId));
  const useful = usable.filter(({ targetId }) => !isHere.has(targetId));
  const chosen = pick(draw, useful.length > 0 ? useful : usable);
  if (chosen === undefined) return undefined;
  const { reference, targetId, archive, isOurs } = chosen;
  const isPull = isOurs || draw() < 0.6;
  const word = isOurs ? 'delta-ours' : isPull ? 'delta-pull' : 'delta-load';
  return {
    name: `${word} ${split(reference)[1]}`,
    run: async (daemon) => {
      if (isPull) await pullImage(daemon, reference, isOurs ? '&delta=require' : '');
      else await stream(daemon, '/images/load', readFileSync(archive));
    },
    after: (before) => withEntry(before, `image ${reference}`, targetId),
  };
};

/** Two layers and a step without one upon an image that is here, which may be cached in part. */
export const build: Kind = (draw, world) => {
  const from = pick(draw, keys(world, 'image'));
  if (from === undefined) return undefined;
  const name = `built:${Math.floor(draw() * 3)}`;
  const content = `file ${Math.floor(draw() * 4)}\n`;
  const lines = [`FROM ${nameOf(from)}`, 'COPY f /root/', 'RUN cp /root/f /root/g', 'LABEL a=b'];
  return {
    name: `build ${nameOf(from)} ${name}`,
    run: async (daemon) => {
      const context = await layerTar([
        { name: 'Dockerfile', content: lines.join('\n') },
        { name: 'f', content: content.repeat(5000) },
      ]);
      await stream(daemon, `/build?networkmode=none&t=${name}`, context);
    },
    after: (before) => withEntry(before, `image ${name}`, SOME_ID),
  };
};

export const tag: Kind = (draw, world) => {
  const from = pick(draw, keys(world, 'image'));
  if (from === undefined) return undefined;
  const to = `tagged:${Math.floor(draw() * 4)}`;
  const [repo, name] = split(to);
  return {
    name: `tag ${nameOf(from)} ${to}`,
    run: async (daemon) => {
      await daemon.json('POST', `/images/${nameOf(from)}/tag?repo=${repo}&tag=${name}`);
    },
    after: (before) => withEntry(before, `image ${to}`, before.get(from) ?? ''),
  };
};

/** To another repository: what the registry has then is remembered, and its name for the image. */
export const push: Kind = (draw, world, supplies) => {
  const from = pick(draw, keys(world, 'image'));
  const [host] = supplies.large.reference.split('/', 1);
  if (from === undefined) return undefined;
  const repo = `${host}/pushed`;
  const name = String(Math.floor(draw() * 3));
  return {
    name: `push ${nameOf(from)} pushed:${name}`,
    run: async (daemon) => {
      await daemon.json('POST', `/images/${nameOf(from)}/tag?repo=${repo}&tag=${name}`);
      await stream(daemon, `/images/${repo}/push?tag=${name}`);
    },
    after: (before) => withEntry(before, `image ${repo}:${name}`, before.get(from) ?? ''),
  };
};

export const removeImage: Kind = (draw, world) => {
  const key = pick(draw, keys(world, 'image'));
  if (key === undefined) return undefined;
  return {
    name: `rmi ${nameOf(key)}`,
    // Without force it is refused while a container uses its last name.
    run: async (daemon) => {
      await daemon.json('DELETE', `/images/${nameOf(key)}?force=true`);
    },
    after: (before) => without(before, key),
  };
};

export const pruneImages: Kind = () => ({
  name: 'prune images',
  run: async (daemon) => {
    await daemon.json('POST', '/images/prune?filters={"dangling":["false"]}');
  },
  after: (before) => {
    const used = new Set(keys(before, 'container').map((key) => before.get(key)));
    return without(before, ...keys(before, 'image').filter((key) => !used.has(before.get(key))));
  },
});

/** A file that no other image has is damaged, verified, and repaired by a pull. */
export const repair: Kind = (draw, world, supplies) => {
  const here = supplies.images.filter(({ reference }) => world.has(`image ${reference}`));
  const image = pick(draw, here);
  if (image === undefined) return undefined;
  const { reference } = image;
  const verify = async (daemon: TestDaemon): Promise<string> =>
    (await daemon.api('POST', `/images/${reference}/verify`)).text;
  const pullAgain = async (daemon: TestDaemon): Promise<void> => {
    await pullImage(daemon, reference);
    assert.match(await verify(daemon), /is whole"/);
  };
  return {
    name: `repair ${split(reference)[1]}`,
    run: async (daemon) => {
      const { GraphDriver } = (await daemon.json('GET', `/images/${reference}/json`)) as {
        GraphDriver: { Data: { UpperDir?: string } };
      };
      const { UpperDir = '' } = GraphDriver.Data;
      // The names of what shares most with the versions before are an image.
      const names = path.join(path.dirname(UpperDir), LAYER_IMAGE);
      flipByte(existsSync(names) ? names : path.join(UpperDir, supplies.ownFile));
      assert.match(await verify(daemon), /is damaged in/);
      await pullAgain(daemon);
    },
    after: (before) => before,
    settle: async (daemon) => {
      if (!/is whole"/.test(await verify(daemon))) await pullAgain(daemon);
    },
  };
};

function flipByte(file: string): void {
  const at = 1000;
  const byte = Buffer.alloc(1);
  const fd = openSync(file, 'r+');
  try {
    readSync(fd, byte, 0, 1, at);
    writeSync(fd, Buffer.from([(byte[0] ?? 0) ^ 0x40]), 0, 1, at);
  } finally {
    closeSync(fd);
  }
}
