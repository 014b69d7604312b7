import assert from 'node:assert/strict';
import { test } from 'node:test';
import { buildImage, busyboxImage, digestOf, pushImage, pushIndex } from './images.ts';
import { startRegistry } from './registry.ts';

test('images of both kinds and an index by platform come back from the registry', async () => {
  await using registry = await startRegistry();
  for (const mediaTypes of ['docker', 'oci'] as const) {
    const image = await busyboxImage({ mediaTypes });
    const digest = await pushImage(registry, `box-${mediaTypes}`, 'latest', image);
    const answer = await fetch(`${registry.url}/v2/box-${mediaTypes}/manifests/latest`, {
      headers: { accept: image.manifest.mediaType },
    });
    assert.equal(digestOf(new Uint8Array(await answer.arrayBuffer())), digest);
  }
  const arms = await buildImage({
    layers: [[{ name: 'a', content: 'x' }]],
    architecture: 'arm',
    variant: 'v7',
  });
  const zstd = await buildImage({
    layers: [[{ name: 'b', content: 'y' }]],
    compression: 'zstd',
    architecture: 'amd64',
  });
  const digest = await pushIndex(registry, { repository: 'many', tag: '1' }, [arms, zstd]);
  const answer = await fetch(`${registry.url}/v2/many/manifests/${digest}`, {
    headers: { accept: 'application/vnd.oci.image.index.v1+json' },
  });
  const found = (await answer.json()) as { manifests: { digest: string }[] };
  assert.deepEqual(
    found.manifests.map((entry) => entry.digest),
    [arms.manifest.digest, zstd.manifest.digest],
  );
});
