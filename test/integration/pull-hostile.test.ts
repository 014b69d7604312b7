import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, statfsSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { ContainerInspect } from '../../src/spec/docker/container-view.ts';
import { type FaultyRegistry, startFaultyRegistry } from '../fault/registry.ts';
import { coracle } from '../support/cli.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import {
  type BuiltImage,
  buildImage,
  busyboxImage,
  digestOf,
  type LayerEntry,
  layerTar,
} from '../support/images.ts';
import { emptied, eventually, runOk } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/**
 * A registry's tag is moved to something bad while a container of the image that it was runs: each
 * pull is one clear error, nothing of it stays, and the image and the container are as they were.
 */

let registry: FaultyRegistry;
let good: BuiltImage;

before(async () => {
  registry = await startFaultyRegistry();
  good = await busyboxImage();
});

after(async () => {
  await registry[Symbol.asyncDispose]();
});

/** A daemon with a container of `app:v1` that runs, and what must not change. */
class Device implements AsyncDisposable {
  readonly daemon: TestDaemon;
  readonly name: string;
  readonly #container: string;
  readonly #startedAt: string;

  private constructor(daemon: TestDaemon, name: string, container: ContainerInspect) {
    this.daemon = daemon;
    this.name = name;
    this.#container = container.Id;
    this.#startedAt = container.State.StartedAt;
  }

  static async start(dataRoot?: string): Promise<Device> {
    restore();
    const daemon = await startDaemon(dataRoot === undefined ? {} : { dataRoot });
    try {
      const name = `${registry.host}/app`;
      const pulled = await daemon.api('POST', `/images/create?fromImage=${name}&tag=v1`);
      assert.doesNotMatch(pulled.text, /"error"/);
      const body = {
        Image: `${name}:v1`,
        Cmd: ['sh', '-c', 'while :; do date >/tmp/now; sleep 1; done'],
        HostConfig: { NetworkMode: 'none' },
      };
      const { Id } = (await daemon.json('POST', '/containers/create', body)) as { Id: string };
      await daemon.json('POST', `/containers/${Id}/start`);
      const view = (await daemon.json('GET', `/containers/${Id}/json`)) as ContainerInspect;
      return new Device(daemon, name, view);
    } catch (error) {
      await daemon[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The error of a pull; an early one has a status, a late one is the last line. */
  async refused(query: string): Promise<string> {
    const answer = await this.daemon.api('POST', `/images/create?${query}`);
    const lines = answer.text.split('\r\n').filter((line) => line !== '');
    const errors = lines
      .map((line) => JSON.parse(line) as { error?: string; message?: string })
      .flatMap(({ error, message }) => error ?? (answer.status >= 400 ? message : undefined) ?? []);
    assert.equal(errors.length, 1, `one error: ${answer.text.slice(0, 2000)}`);
    return errors[0] ?? '';
  }

  /** The image is the old one, the container runs on, and there is nothing else. */
  async assertUnharmed(what: string): Promise<void> {
    const { daemon } = this;
    const images = (await daemon.json('GET', '/images/json?all=1')) as { Id: string }[];
    assert.deepEqual(
      images.map(({ Id }) => Id),
      [good.config.digest],
      what,
    );
    await emptied(path.join(daemon.dataRoot, 'staging'));
    const layers = readdirSync(path.join(daemon.dataRoot, 'layers'));
    assert.equal(layers.length, good.layers.length, what);
    const id = this.#container;
    const { State } = (await daemon.json('GET', `/containers/${id}/json`)) as ContainerInspect;
    assert.deepEqual([State.Running, State.StartedAt], [true, this.#startedAt], what);
    const exec = {
      Cmd: ['sh', '-c', 'cat /etc/motd; cat /tmp/now'],
      AttachStdout: true,
      Tty: true,
    };
    const { Id } = (await daemon.json('POST', `/containers/${id}/exec`, exec)) as { Id: string };
    const said = await daemon.api('POST', `/exec/${Id}/start`, { Tty: true });
    assert.match(said.text, /hello from a layer\r\n.*\d\d:\d\d:\d\d/, what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.daemon[Symbol.asyncDispose]();
  }
}

/** The registry as it was in the beginning. */
function restore(): void {
  registry.fault = () => false;
  registry.manifests.clear();
  registry.add('app', 'v1', good);
}

type Json = Record<string, unknown>;
const parsed = (bytes: Uint8Array): Json => JSON.parse(Buffer.from(bytes).toString()) as Json;

/** Puts a manifest, as it is or with changes, where the good one was. */
function putManifest(
  image: BuiltImage,
  change: (manifest: Json) => unknown = (same) => same,
): void {
  registry.add('app', 'v1', image);
  const bytes = Buffer.from(JSON.stringify(change(parsed(image.manifest.bytes))));
  registry.manifests.set('app:v1', { bytes, mediaType: image.manifest.mediaType });
}

/** The good image with another layer on top. */
async function withLayer(layer: readonly LayerEntry[] | Uint8Array): Promise<BuiltImage> {
  return await buildImage({ layers: [[{ name: 'other', content: 'base' }], layer] });
}

/** An image with another config, whose digest is right. */
function withConfig(image: BuiltImage, bytes: Uint8Array): void {
  const digest = digestOf(bytes);
  registry.addBlob('app', { digest, bytes });
  putManifest(image, (manifest) => ({
    ...manifest,
    config: { ...(manifest['config'] as Json), digest, size: bytes.length },
  }));
}

/** The same bytes with one bit that is wrong. */
function flipped(bytes: Uint8Array): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
  return copy;
}

const BAD: readonly [what: string, make: () => Promise<void>, message: RegExp][] = [
  [
    'an index whose manifest is not what its digest says',
    async () => {
      const image = await withLayer([{ name: 'x' }]);
      const { mediaType, bytes, digest } = image.manifest;
      registry.manifests.set(`app:${digest}`, { mediaType, bytes: flipped(bytes) });
      const index = {
        schemaVersion: 2,
        mediaType: 'application/vnd.oci.image.index.v1+json',
        manifests: [{ mediaType, digest, size: bytes.length, platform: image.platform }],
      };
      registry.manifests.set('app:v1', {
        mediaType: index.mediaType,
        bytes: Buffer.from(JSON.stringify(index)),
      });
    },
    /^manifest verification failed for digest sha256:/,
  ],
  [
    'a config that is not what its digest says',
    async () => {
      const image = await withLayer([{ name: 'x' }]);
      putManifest(image);
      registry.blobs.set(image.config.digest, flipped(image.config.bytes));
    },
    /^image config verification failed for digest sha256:/,
  ],
  [
    'a layer that is not what its digest says',
    async () => {
      const image = await withLayer([{ name: 'x', content: randomBytes(300_000) }]);
      putManifest(image);
      const { digest, bytes } = image.layers[1] ?? assert.fail();
      registry.blobs.set(digest, flipped(bytes));
    },
    /^filesystem layer verification failed for digest sha256:/,
  ],
  [
    'a layer that is not the one of the config',
    async () => {
      const image = await withLayer([{ name: 'x' }]);
      const config = parsed(image.config.bytes);
      const rootfs = config['rootfs'] as { diff_ids: string[] };
      const diff_ids = rootfs.diff_ids.map((id, i) => (i === 1 ? digestOf(Buffer.from('y')) : id));
      withConfig(
        image,
        Buffer.from(JSON.stringify({ ...config, rootfs: { ...rootfs, diff_ids } })),
      );
    },
    /^layers from manifest don't match image configuration$/,
  ],
  [
    'a gzip bomb behind the end of the tar',
    async () => {
      const tar = Buffer.from(await layerTar([{ name: 'x' }]));
      putManifest(await withLayer(Buffer.concat([tar, Buffer.alloc(200 << 20)])));
    },
    /^archive with more than 16777216 bytes after its last entry$/,
  ],
  [
    'a manifest of 100 MB',
    async () => {
      registry.fault = ({ path: place }, answer) => {
        if (!place.endsWith('/manifests/v1')) return false;
        answer.writeHead(200, { 'content-type': good.manifest.mediaType });
        const more = (left: number): void => {
          if (left === 0) answer.end();
          else answer.write(Buffer.alloc(1 << 20, 32), () => more(left - 1));
        };
        more(100);
        return true;
      };
    },
    /^the manifest is larger than 4194304 bytes, which is not supported$/,
  ],
  [
    'a config that is not JSON',
    async () => withConfig(await withLayer([{ name: 'x' }]), Buffer.from('{"rootfs":')),
    /^the image config is not valid/,
  ],
  [
    'a config of brackets',
    async () => withConfig(await withLayer([{ name: 'x' }]), Buffer.alloc(1_000_000, '[')),
    /^the image config is not valid/,
  ],
  [
    'a hard link to nothing',
    async () =>
      putManifest(await withLayer([{ name: 'x', type: 'link', linkname: 'is/not/there' }])),
    /^failed to register layer: link \/is\/not\/there \/x: no such file or directory$/,
  ],
  [
    'a layer that makes / a symbolic link',
    async () => putManifest(await withLayer([{ name: './', type: 'symlink', linkname: '/tmp' }])),
    /^invalid tar entry "\/": the root of a layer is a directory$/,
  ],
  [
    'a registry that redirects in a circle',
    async () => {
      registry.fault = ({ path: place }, answer) => {
        if (!place.includes('/manifests/')) return false;
        answer.writeHead(307, { location: place }).end();
        return true;
      };
    },
    /stopped after \d+ redirects$/,
  ],
  [
    'layers that redirect in a circle',
    async () => {
      putManifest(await withLayer([{ name: 'x' }]));
      registry.fault = ({ path: place }, answer) => {
        if (!place.includes('/blobs/')) return false;
        answer.writeHead(302, { location: `${place}?again` }).end();
        return true;
      };
    },
    /stopped after \d+ redirects$/,
  ],
];

test('whatever a registry sends, the old image stays and its container runs on', async () => {
  await using device = await Device.start();
  await device.assertUnharmed('in the beginning');
  for (const [what, make, message] of BAD) {
    restore();
    await make();
    assert.match(await device.refused(`fromImage=${device.name}&tag=v1`), message, what);
    await device.assertUnharmed(what);
  }
  restore();
  const wrong = digestOf(Buffer.from('wrong'));
  registry.manifests.set(`app:${wrong}`, good.manifest);
  assert.equal(
    await device.refused(`fromImage=${device.name}&tag=${wrong}`),
    `manifest verification failed for digest ${wrong}: got ${good.manifest.digest}`,
  );
  for (const tag of ['v1%0A', '%0Av1', 'v1%0Dx', 'v1%00', '%20v1']) {
    assert.equal(await device.refused(`fromImage=${device.name}&tag=${tag}`), 'invalid tag format');
    const inName = await device.refused(`fromImage=${device.name}:${tag}`);
    assert.equal(inName, 'invalid reference format');
  }
  await device.assertUnharmed('tags that are none');
  for (const [command, exit] of [
    ['pull', 1],
    ['run', 125],
  ] as const) {
    const { code, stderr } = await coracle([command, `${device.name}:v1\n`], device.daemon);
    assert.equal(code, exit);
    assert.match(stderr, /^(coracle: .*)?invalid reference format\n/);
  }
});

test('of a list of tags with some that are none, the tags are pulled', async () => {
  await using device = await Device.start();
  registry.fault = ({ path: place }, answer) => {
    if (!place.endsWith('/tags/list')) return false;
    answer.end(
      JSON.stringify({ name: 'app', tags: ['v1\n', '../v1', 'v1', `v${'1'.repeat(200)}`] }),
    );
    return true;
  };
  const { code, stdout } = await coracle(['pull', '--all-tags', device.name], device.daemon);
  assert.equal(code, 0);
  assert.equal(stdout.match(/Pulling from/g)?.length, 1);
  await device.assertUnharmed('a list with a line break');
});

test('a disk that fills in the middle of a layer gives its space back, and the container runs on', async () => {
  using folder = temporaryFolder('small-disk');
  const image = path.join(folder.path, 'disk');
  const mountPoint = path.join(folder.path, 'mnt');
  mkdirSync(mountPoint);
  writeFileSync(image, '');
  truncateSync(image, 48 << 20);
  execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', image]);
  await runOk('mount', ['-o', 'loop', image, mountPoint]);
  const freeBytes = (): number => {
    const { bavail, bsize } = statfsSync(mountPoint);
    return bavail * bsize;
  };
  try {
    await using device = await Device.start(path.join(mountPoint, 'data'));
    const before = freeBytes();
    for (const [what, content] of [
      ['a large layer', randomBytes(60 << 20)],
      ['a gzip bomb', Buffer.alloc(200 << 20)],
    ] as const) {
      putManifest(await withLayer([{ name: 'file', content }]));
      const message = await device.refused(`fromImage=${device.name}&tag=v1`);
      assert.match(message, /^failed to register layer: .*no space left on device$/, what);
      await device.assertUnharmed(what);
      await eventually(() => freeBytes() > before - (1 << 20), { what: 'the space' });
    }
    // What fits is pulled after that, beside the old image.
    const fitting = await withLayer([{ name: 'file', content: randomBytes(20 << 20) }]);
    putManifest(fitting);
    const query = `fromImage=${device.name}&tag=v1`;
    const pulled = await device.daemon.api('POST', `/images/create?${query}`);
    assert.match(pulled.text, /Status: Downloaded newer image/);
  } finally {
    await eventually(async () => (await runOk('umount', [mountPoint])) === '', { what: 'umount' });
  }
});
