import assert from 'node:assert/strict';
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openBox } from '../support/box.ts';
import { clientCommand } from '../support/daemon.ts';
import { eventually, run } from '../support/processes.ts';

test('what is being made or removed belongs to somebody', async () => {
  await using box = await openBox();
  const { daemon } = box;
  let isOver = false;
  const life = async (): Promise<void> => {
    for (let i = 0; i < 15; i += 1) {
      const id = await box.create({ Cmd: ['true'] });
      assert.equal((await daemon.api('DELETE', `/containers/${id}`)).status, 204);
    }
  };
  const lives = Promise.all([life(), life(), life()]).finally(() => {
    isOver = true;
  });
  let checks = 0;
  while (!isOver) {
    const check = await daemon.json('POST', '/system/check?sweep=0&olderThan=0');
    assert.deepEqual((check as { Orphans: unknown }).Orphans, []);
    checks += 1;
  }
  await lives;
  assert(checks > 3, `${checks} checks`);
});

test('what belongs to nothing is named and swept, and what is damaged is named', async () => {
  await using box = await openBox();
  const { daemon } = box;
  const coracle = (...args: string[]) => run(clientCommand(), ['-H', daemon.host, ...args]);
  const id = await box.create({ Cmd: ['true'] });
  assert.match((await coracle('system', 'check', '--older-than', '0s')).stdout, /in order/);
  const ofKind = ['staging/left', 'layers/abcdefgh', `containers/${'0'.repeat(64)}`];
  const orphans = [...ofKind, 'objects/bcdefghi'];
  for (const each of orphans) {
    mkdirSync(path.join(daemon.dataRoot, each));
    writeFileSync(path.join(daemon.dataRoot, each, 'file'), Buffer.alloc(12_345));
  }
  assert.match(
    (await coracle('system', 'check')).stdout,
    /in order/,
    'young things are left alone',
  );
  const dry = await coracle('system', 'check', '--older-than', '0s', '--sweep=false');
  for (const each of orphans) {
    assert.match(dry.stdout, new RegExp(`^Orphan \\S+ ${each} \\(12\\.3\\d?kB\\)$`, 'm'));
    assert(existsSync(path.join(daemon.dataRoot, each)));
  }
  const swept = await coracle('system', 'check', '--older-than', '0s');
  assert.equal(swept.code, 0, swept.stderr);
  for (const each of orphans) {
    // Shared contents go when the operations of now are over.
    if (each.startsWith('objects'))
      await eventually(() => !existsSync(path.join(daemon.dataRoot, each)));
    assert(!existsSync(path.join(daemon.dataRoot, each)), each);
  }
  assert.match(swept.stdout, /^Swept layer layers\/abcdefgh/m);
  await eventually(async () =>
    (await coracle('system', 'check', '--older-than', '0s')).stdout.includes('in order'),
  );
  // What has a row is left alone.
  await box.start(id);

  const image = (await daemon.json('GET', `/images/${box.image}/json`)) as {
    GraphDriver: { Data: { UpperDir?: string; LowerDir?: string } };
  };
  const top = image.GraphDriver.Data.UpperDir ?? '';
  rmSync(path.join(top, 'etc/motd'));
  await coracle('image', 'verify', box.image);
  const damaged = await coracle('system', 'check');
  assert.equal(damaged.code, 1);
  assert.match(damaged.stdout, /^Damaged layer sha256:[0-9a-f]{64} of \S+: .*motd/m);
});
