import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';
import type { SystemWear } from '../../src/spec/docker/system.ts';
import { type Box, openBox } from '../support/box.ts';
import { buildTar, buildWell, file } from '../support/build.ts';
import { busyboxImage, layerTar, pushImage } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temp.ts';

/** Builds on other storage, for other users, from closed registries, and what they write. */

const folder = temporaryFolder('places');
after(() => folder[Symbol.dispose]());

const LINES = [
  'FROM BASE AS one',
  'RUN mkdir -p /t/gone /t/kept && echo old > /t/file && echo x > /t/gone/x',
  'COPY --chown=1:2 dir /t/kept/',
  'RUN rm -r /t/gone && echo new > /t/file && ln -s file /t/link && chown 3:4 /t/file',
  'WORKDIR /t/made',
  'FROM BASE',
  'COPY --from=one /t /copied',
];
const FILES = [
  { name: 'dir', type: 'directory' } as const,
  file('dir/a', 'content of a'),
  { name: 'dir/s', type: 'symlink', linkname: 'a' } as const,
];

async function filesOf(box: Box): Promise<string> {
  const { id } = await buildWell(box, LINES, FILES);
  const look = 'cd /copied && find . | sort | xargs stat -c "%n %u:%g %a %F" && cat file kept/a';
  return await box.sh(look, { Image: id });
}

test('the result is the same with vfs and with --userns-remap as with overlay2', async () => {
  const subids = path.join(folder.path, 'subids');
  writeFileSync(subids, 'dockremap:300000:65536\n');
  const wrapper = [
    ...['taskset', '-c', '0', 'unshare', '--mount', 'sh', '-ec'],
    `mount --bind ${subids} /etc/subuid; mount --bind ${subids} /etc/subgid; exec "$@"`,
    'sh',
  ];
  const seen: string[] = [];
  for (const options of [
    {},
    { flags: ['--storage-driver', 'vfs'] },
    { flags: ['--userns-remap', 'default'], wrapper },
  ]) {
    await using box = await openBox(options);
    seen.push(await filesOf(box));
  }
  const [overlay = '', vfs, remapped] = seen;
  assert.match(overlay, /^\.\/file 3:4 644 regular file$/m);
  assert.match(overlay, /^\.\/kept\/a 1:2 644 regular file$/m);
  assert.doesNotMatch(overlay, /gone/);
  assert.equal(vfs, overlay);
  assert.equal(remapped, overlay);
});

test('a base image is pulled with the credentials for its registry, anew when asked for', async () => {
  await using closed = await startRegistry({
    htpasswd: 'me:$2y$04$Sod8w99ekeAF.nBK3ajpe.G1Fr7uN63e8FDFp67OBgrIrCN8ZyVSu\n',
  });
  await using box = await openBox();
  const authorization = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  const to = { url: closed.url, authorization };
  await pushImage(to, 'private', 'v1', await busyboxImage());
  const text = `FROM ${closed.host}/private:v1\nRUN cat /new 2>/dev/null || echo not new\n`;
  const context = await layerTar([file('Dockerfile', text)]);
  const without = await buildTar(box, context);
  assert.match(String(without.error?.message), /no basic auth credentials/);
  const config = { [closed.host]: { username: 'me', password: 'secret' } };
  const headers = {
    'x-registry-config': Buffer.from(JSON.stringify(config)).toString('base64url'),
  };
  const built = await buildTar(box, context, {}, headers);
  assert.match(built.text, /\nnot new\n/, JSON.stringify(built.error));
  await pushImage(to, 'private', 'v1', await busyboxImage({ extra: [file('new', 'is new\n')] }));
  assert.match((await buildTar(box, context, {}, headers)).text, /Using cache/);
  const pulled = await buildTar(box, context, { pull: '1' }, headers);
  assert.match(pulled.text, /\nis new\n/);
});

test('what is on the disk is not written again, and what is written is told', async () => {
  await using box = await openBox();
  const content = Buffer.from(Array.from({ length: 40_000 }, (_, i) => `line ${i}\n`).join(''));
  const files = [{ name: 'f', content }];
  const first = await buildWell(box, ['FROM BASE', 'COPY f /first'], files);
  assert.match(first.text, /\nWrote [0-9.]+ ?kB, shared [0-9.]+ ?[kM]B\nSuccessfully built/);
  const wearOf = async (): Promise<number> => {
    const { Causes } = (await box.daemon.json('GET', '/system/wear')) as SystemWear;
    return Causes.find(({ Cause }) => Cause === 'build')?.Bytes ?? 0;
  };
  const before = await wearOf();
  assert.ok(before > content.length);
  const again = await buildWell(
    box,
    ['FROM BASE', 'COPY f /second', 'RUN cp /second /third'],
    files,
  );
  assert.ok((await wearOf()) - before < content.length / 4, `${before} and ${await wearOf()}`);
  assert.equal(
    await box.sh('cmp /second /third && wc -c < /third', { Image: again.id }),
    `${content.length}\n`,
  );
});
