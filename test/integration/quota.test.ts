import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { layerTar } from '../support/images.ts';
import { openStore } from '../support/layers.ts';
import { hasUml, runInUml } from '../support/uml.ts';

/** `--storage-opt size=` and `overlay2.size`, where the filesystem has quotas and where it has none. */

const skip = hasUml ? false : 'only Debian for x86 has user-mode Linux';

test('a container on xfs and on ext4 writes what it may and no more', { skip }, async () => {
  const node = process.execPath;
  const probe = (where: string): string =>
    `${node} --disable-warning=ExperimentalWarning test/support/quota-probe.ts ${where} 2>&1`;
  const said = await runInUml(`${probe('/tmp/xfs')}\n${probe('/tmp/ext4')}`);
  const lines = said.trim().split('\n');
  assert.ok(lines.length === 2 && lines.every((line) => line.startsWith('{')), said);
  const answers = lines.map((line) => JSON.parse(line) as Record<string, number | boolean>);
  for (const answer of answers) {
    const { beyond, other, byDefault, ...whole } = answer;
    assert.deepEqual(whole, { within: 3, again: 3, copyUp: false, unlimited: 8, own: 5 });
    const close = (value: unknown, megabytes: number): void =>
      assert.ok(
        Number(value) > megabytes - 0.5 && Number(value) <= megabytes,
        JSON.stringify(answer),
      );
    close(beyond, 1);
    close(other, 2);
    close(byDefault, 2);
  }
});

test('a filesystem without quotas is said to have none, and nothing is made', async () => {
  await assert.rejects(
    openStore('overlay2', undefined, { sizeBytes: 1 << 20, syncDiffs: true }),
    /^EngineError: Storage option overlay2\.size not supported\. Filesystem does not support Project Quota: /,
  );
  await using here = await openStore('overlay2');
  const layers = await here.add(await layerTar([{ name: 'x', content: '' }]));
  await assert.rejects(
    here.store.createRootfs('c1', layers, { sizeBytes: 1 << 20 }),
    /--storage-opt is supported only for overlay over xfs with 'pquota' mount option/,
  );
  assert.deepEqual(readdirSync(here.context.dataRoot.containers), []);
  await here.settle();
});
