import { readFileSync } from 'node:fs';
import type { TestDaemon } from '../../support/daemon.ts';
import type { Supplies } from './supplies.ts';

/** Draws from 0 (included) to 1 (not included). */
export type Draw = () => number;

/**
 * What exists: `image REFERENCE` and `container NAME`, both with an image's ID, and `volume NAME`.
 * After a cut all of it must be there and nothing else, but for what the operation that was cut
 * would have changed: each name of that is as before or as after.
 */
export type World = ReadonlyMap<string, string>;

/** One thing that a user does, and what it makes of the world when it succeeds. */
export type Operation = {
  /** As it is printed: `pull app:3`. */
  readonly name: string;
  readonly run: (daemon: TestDaemon) => Promise<void>;
  readonly after: (before: World) => World;
};

type Kind = {
  readonly make: (draw: Draw, world: World, supplies: Supplies) => Operation | undefined;
};

/** A progress stream answers 200 and tells of its failure inside. */
async function stream(daemon: TestDaemon, address: string, body?: Uint8Array): Promise<void> {
  const answer = await daemon.api('POST', address, body);
  if (answer.status >= 300 || answer.text.includes('"errorDetail"')) {
    throw new Error(`POST ${address}: ${answer.status} ${answer.text.slice(-500)}`);
  }
}

const withEntry = (world: World, key: string, value: string): World =>
  new Map([...world, [key, value]]);
const without = (world: World, ...keys: readonly string[]): World =>
  new Map([...world].filter(([key]) => !keys.includes(key)));

function pick<T>(draw: Draw, from: readonly T[]): T | undefined {
  return from[Math.floor(draw() * from.length)];
}

function keys(world: World, kind: string): string[] {
  return [...world.keys()].filter((key) => key.startsWith(`${kind} `));
}

const nameOf = (key: string): string => key.slice(key.indexOf(' ') + 1);

const pull: Kind = {
  make: (draw, _world, supplies) => {
    const image = pick(draw, supplies.images);
    if (image === undefined) return undefined;
    const { reference, id } = image;
    const [name, tag] = split(reference);
    return {
      name: `pull ${tag}`,
      run: (daemon) => stream(daemon, `/images/create?fromImage=${name}&tag=${tag}`),
      after: (before) => withEntry(before, `image ${reference}`, id),
    };
  },
};

/** `host:port/app:3` → name, tag. */
function split(reference: string): [string, string] {
  const colon = reference.lastIndexOf(':');
  return [reference.slice(0, colon), reference.slice(colon + 1)];
}

const load: Kind = {
  make: (draw, _world, supplies) => {
    const image = pick(draw, supplies.images);
    if (image === undefined) return undefined;
    const { loadedAs, archive, id } = image;
    return {
      name: `load ${loadedAs}`,
      run: (daemon) => stream(daemon, '/images/load', readFileSync(archive)),
      after: (before) => withEntry(before, `image ${loadedAs}`, id),
    };
  },
};

/** A delta, when its base is here: its name becomes the target's. */
const delta: Kind = {
  make: (draw, world, supplies) => {
    const isHere = new Set(keys(world, 'image').map((key) => world.get(key)));
    const usable = supplies.deltas.filter(({ baseId }) => isHere.has(baseId));
    const chosen = pick(draw, usable);
    if (chosen === undefined) return undefined;
    const { reference, targetId, archive } = chosen;
    const [name, tag] = split(reference);
    const isPull = draw() < 0.6;
    return {
      name: `${isPull ? 'pull' : 'load'} ${tag}`,
      run: (daemon) =>
        isPull
          ? stream(daemon, `/images/create?fromImage=${name}&tag=${tag}`)
          : stream(daemon, '/images/load', readFileSync(archive)),
      after: (before) => withEntry(before, `image ${reference}`, targetId),
    };
  },
};

const tag: Kind = {
  make: (draw, world) => {
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
  },
};

const removeImage: Kind = {
  make: (draw, world) => {
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
  },
};

const createContainer: Kind = {
  make: (draw, world) => {
    const image = pick(draw, keys(world, 'image'));
    if (image === undefined || keys(world, 'container').length >= 6) return undefined;
    const name = `box-${Math.floor(draw() * 1e9).toString(36)}`;
    const volume = `data-${name}`;
    return {
      name: `create ${name} of ${nameOf(image)}`,
      run: async (daemon) => {
        await daemon.json('POST', `/containers/create?name=${name}`, {
          Image: nameOf(image),
          Cmd: ['sh', '-c', 'test -e /etc/motd && echo kept > /data/mark'],
          HostConfig: { NetworkMode: 'none', Binds: [`${volume}:/data`] },
        });
      },
      after: (before) =>
        withEntry(
          withEntry(before, `container ${name}`, before.get(image) ?? ''),
          `volume ${volume}`,
          '',
        ),
    };
  },
};

const removeContainer: Kind = {
  make: (draw, world) => {
    const key = pick(draw, keys(world, 'container'));
    if (key === undefined) return undefined;
    return {
      name: `rm ${nameOf(key)}`,
      run: async (daemon) => {
        await daemon.json('DELETE', `/containers/${nameOf(key)}?force=true`);
      },
      after: (before) => without(before, key),
    };
  },
};

const createVolume: Kind = {
  make: (draw, world) => {
    if (keys(world, 'volume').length >= 12) return undefined;
    const name = `vol-${Math.floor(draw() * 1e9).toString(36)}`;
    return {
      name: `volume create ${name}`,
      run: async (daemon) => {
        await daemon.json('POST', '/volumes/create', { Name: name });
      },
      after: (before) => withEntry(before, `volume ${name}`, ''),
    };
  },
};

/** Takes containers, then volumes and images that nobody uses. */
const prune: Kind = {
  make: (draw) => {
    const kind = pick(draw, ['containers', 'volumes', 'images'] as const);
    if (kind === undefined) return undefined;
    const filters = kind === 'images' ? '{"dangling":["false"]}' : '{"all":["true"]}';
    return {
      name: `prune ${kind}`,
      run: async (daemon) => {
        await daemon.json(
          'POST',
          `/${kind}/prune?filters=${kind === 'containers' ? '{}' : filters}`,
        );
      },
      after: (before) => pruned(before, kind),
    };
  },
};

function pruned(world: World, kind: 'containers' | 'volumes' | 'images'): World {
  if (kind === 'containers') return without(world, ...keys(world, 'container'));
  if (kind === 'volumes') {
    const used = keys(world, 'container').map((key) => `volume data-${nameOf(key)}`);
    return without(world, ...keys(world, 'volume').filter((key) => !used.includes(key)));
  }
  const used = new Set(keys(world, 'container').map((key) => world.get(key)));
  return without(world, ...keys(world, 'image').filter((key) => !used.has(world.get(key))));
}

const KINDS: readonly Kind[] = [
  ...[pull, pull, pull, load, load, delta, delta, delta, createContainer, createContainer],
  ...[createVolume, removeImage, removeContainer, tag, prune],
];

/** The next operation that makes sense in this world. */
export function nextOperation(draw: Draw, world: World, supplies: Supplies): Operation {
  for (;;) {
    const operation = pick(draw, KINDS)?.make(draw, world, supplies);
    if (operation !== undefined) return operation;
  }
}
