import type { TestDaemon } from '../../support/daemon.ts';
import { type Draw, type Kind, keys, nameOf, pick, SOME_ID, withEntry, without } from './world.ts';

const fresh = (draw: Draw, word: string): string =>
  `${word}-${Math.floor(draw() * 1e9).toString(36)}`;

export const createContainer: Kind = (draw, world, supplies) => {
  const image = pick(draw, keys(world, 'image'));
  if (image === undefined || keys(world, 'container').length >= 6) return undefined;
  const name = fresh(draw, 'box');
  const volume = `data-${name}`;
  const id = world.get(image);
  const isOurs = [...supplies.images, supplies.large].some((each) => each.id === id);
  // What it writes to /root is for `commit`.
  const script =
    'test -e /etc/motd && test -e /.dockerenv || exit 11; ' +
    `test "$(stat -c %a:%u /)" = ${isOurs ? supplies.rootFolder : '755:0'} || exit 12; ` +
    'echo kept > /data/mark && date > /root/mark';
  return {
    name: `create ${name} of ${nameOf(image)}`,
    run: async (daemon) => {
      await daemon.json('POST', `/containers/create?name=${name}`, {
        Image: nameOf(image),
        Cmd: ['sh', '-c', script],
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
};

/** `run --rm`: nothing of it is left, its anonymous volume neither. */
export const runOnce: Kind = (draw, world) => {
  const image = pick(draw, keys(world, 'image'));
  if (image === undefined) return undefined;
  return {
    name: `run --rm ${nameOf(image)}`,
    run: async (daemon) => {
      const { Id } = (await daemon.json('POST', '/containers/create', {
        Image: nameOf(image),
        Cmd: ['sh', '-c', 'echo here > /cache/mark'],
        Volumes: { '/cache': {} },
        HostConfig: { NetworkMode: 'none', AutoRemove: true },
      })) as { Id: string };
      const removed = daemon.json('POST', `/containers/${Id}/wait?condition=removed`);
      removed.catch(() => undefined); // the power may go first
      await daemon.json('POST', `/containers/${Id}/start`);
      await removed;
    },
    after: (before) => before,
  };
};

/** An image of a container and what it wrote. */
export const commit: Kind = (draw, world) => {
  const container = pick(draw, keys(world, 'container'));
  if (container === undefined) return undefined;
  const name = `committed:${Math.floor(draw() * 3)}`;
  return {
    name: `commit ${nameOf(container)} ${name}`,
    run: async (daemon) => {
      const [repo, tag] = name.split(':');
      await daemon.json(
        'POST',
        `/commit?container=${nameOf(container)}&repo=${repo}&tag=${tag}`,
        {},
      );
    },
    after: (before) => withEntry(before, `image ${name}`, SOME_ID),
  };
};

export const removeContainer: Kind = (draw, world) => {
  const key = pick(draw, keys(world, 'container'));
  if (key === undefined) return undefined;
  return {
    name: `rm ${nameOf(key)}`,
    run: async (daemon) => {
      await daemon.json('DELETE', `/containers/${nameOf(key)}?force=true`);
    },
    after: (before) => without(before, key),
  };
};

export const pruneContainers: Kind = () => ({
  name: 'prune containers',
  run: async (daemon) => {
    await daemon.json('POST', '/containers/prune');
  },
  after: (before) => without(before, ...keys(before, 'container')),
});

export const createVolume: Kind = (draw, world) => {
  if (keys(world, 'volume').length >= 12) return undefined;
  const name = fresh(draw, 'vol');
  return {
    name: `volume create ${name}`,
    run: async (daemon) => {
      await daemon.json('POST', '/volumes/create', { Name: name });
    },
    after: (before) => withEntry(before, `volume ${name}`, ''),
  };
};

export const removeVolume: Kind = (draw, world) => {
  const key = pick(draw, unusedVolumes(world));
  if (key === undefined) return undefined;
  return {
    name: `volume rm ${nameOf(key)}`,
    run: async (daemon) => {
      await daemon.json('DELETE', `/volumes/${nameOf(key)}`);
    },
    after: (before) => without(before, key),
  };
};

export const pruneVolumes: Kind = () => ({
  name: 'prune volumes',
  run: async (daemon) => {
    await daemon.json('POST', '/volumes/prune?filters={"all":["true"]}');
  },
  after: (before) => without(before, ...unusedVolumes(before)),
});

function unusedVolumes(world: ReadonlyMap<string, string>): string[] {
  const used = keys(world, 'container').map((key) => `volume data-${nameOf(key)}`);
  return keys(world, 'volume').filter((key) => !used.includes(key));
}

/** The only one there is at a time. */
export const networkBridge = ({ bridge }: TestDaemon): string => `${bridge}n`;

export const createNetwork: Kind = (draw, world) => {
  if (keys(world, 'network').length > 0) return undefined;
  const name = fresh(draw, 'net');
  return {
    name: `network create ${name}`,
    run: async (daemon) => {
      const Options = { 'com.docker.network.bridge.name': networkBridge(daemon) };
      // The default pools are the machine's, and few.
      const Config = [{ Subnet: `10.199.${process.pid % 256}.0/28` }];
      const wish = { Name: name, Internal: true, Options, IPAM: { Config } };
      await daemon.json('POST', '/networks/create', wish);
    },
    after: (before) => withEntry(before, `network ${name}`, ''),
  };
};

export const removeNetwork: Kind = (draw, world) => {
  const key = pick(draw, keys(world, 'network'));
  if (key === undefined) return undefined;
  return {
    name: `network rm ${nameOf(key)}`,
    run: async (daemon) => {
      await daemon.json('DELETE', `/networks/${nameOf(key)}`);
    },
    after: (before) => without(before, key),
  };
};
