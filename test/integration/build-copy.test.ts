import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { type Box, openBox } from '../support/box.ts';
import { build, buildTar, buildWell, file } from '../support/build.ts';
import { type LayerEntry, layerTar } from '../support/images.ts';

/** COPY and ADD: what comes where, as whose, and what is refused. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const sh = async (Image: string, command: string): Promise<string> =>
  await box.sh(command, { Image });

/** Builds and shows owner, mode, kind and path of what is in `/t`. */
async function tree(lines: string[], files: LayerEntry[]): Promise<string[]> {
  const { id } = await buildWell(box, ['FROM BASE', ...lines], files);
  const text = await sh(id, 'cd /t && find . | sort | xargs stat -c "%u:%g %a %F %n"');
  return text.trim().split('\n').slice(1);
}

const folder = (name: string, mode = 0o755): LayerEntry => ({ name, type: 'directory', mode });

describe('COPY', () => {
  test('puts files into folders, under names, and the contents of folders', async () => {
    const files = [
      file('one', '1', { uid: 5, gid: 6, mode: 0o640 }),
      file('two', '2', { mode: 0o4755 }),
      folder('dir', 0o750),
      file('dir/in', 'i'),
      { name: 'dir/link', type: 'symlink', linkname: '../one' } as const,
    ];
    const found = await tree(
      [
        'COPY one /t/',
        'COPY one two /t/both/',
        'COPY dir /t/dir',
        'COPY dir/link /t/followed',
        'COPY t* "one" /t/glob/',
      ],
      files,
    );
    assert.deepEqual(found, [
      '0:0 755 directory ./both',
      '0:0 640 regular file ./both/one',
      '0:0 755 regular file ./both/two',
      '0:0 755 directory ./dir',
      '0:0 644 regular file ./dir/in',
      '0:0 777 symbolic link ./dir/link',
      '0:0 640 regular file ./followed',
      '0:0 755 directory ./glob',
      '0:0 640 regular file ./glob/one',
      '0:0 755 regular file ./glob/two',
      '0:0 640 regular file ./one',
    ]);
  });

  test('gives files to whom --chown names, by the files of the image', async () => {
    const files = [file('f', ''), folder('d'), file('d/x', '')];
    const found = await tree(
      [
        'RUN echo "app:x:77:78::/:" >> /etc/passwd; echo "app:x:79:" >> /etc/group; mkdir /t',
        'COPY --chown=app f /t/a/f',
        'COPY --chown=5:app d /t/d',
      ],
      files,
    );
    assert.deepEqual(found, [
      '77:79 755 directory ./a',
      '77:79 644 regular empty file ./a/f',
      '5:79 755 directory ./d',
      '5:79 644 regular empty file ./d/x',
    ]);
    const nobody = await build(box, ['FROM BASE', 'COPY --chown=nosuch f /f'], files);
    assert.match(String(nobody.error?.message), /can't find uid for user nosuch: no such user/);
  });

  test('follows links of the image within the image alone', async () => {
    const built = await buildWell(
      box,
      [
        'FROM BASE',
        'RUN mkdir -p /real/in && ln -s real /link && ln -s /real/in /deep && ln -s ../../../../etc/evil /real/out',
        'COPY f /link/',
        'COPY f /deep',
        'COPY f /real/out',
      ],
      [file('f', 'content')],
    );
    assert.equal(await sh(built.id, 'cat /real/f /real/in/f /etc/evil'), 'contentcontentcontent');
  });

  test('replaces files by folders and folders by nothing but folders', async () => {
    const files = [folder('d'), folder('d/x'), file('d/x/in', 'new'), file('f', 'file')];
    const built = await buildWell(
      box,
      ['FROM BASE', 'RUN mkdir /t && echo old > /t/x', 'COPY d /t'],
      files,
    );
    assert.equal(await sh(built.id, 'cat /t/x/in'), 'new');
    const { error } = await build(box, ['FROM BASE', 'RUN touch /file', 'COPY d /file'], files);
    assert.equal(error?.message, 'failed to copy files: cannot copy to non-directory: /file');
  });

  test('refuses what is not there or leads out of the context', async () => {
    const files = [
      file('f', 'x'),
      { name: 'out', type: 'symlink', linkname: '/etc/passwd' } as const,
      { name: 'up', type: 'symlink', linkname: '../../../../../../etc/hostname' } as const,
    ];
    const messages: string[] = [];
    for (const line of [
      'COPY no /',
      'COPY ../f /',
      'COPY out /',
      'COPY up /x',
      'COPY n* /x/',
      'ADD f f /x',
    ]) {
      const { error } = await build(box, ['FROM BASE', line], files);
      messages.push(error?.message ?? '');
    }
    const gone = (name: string): string =>
      `COPY failed: file not found in build context or excluded by .dockerignore: stat ${name}: file does not exist`;
    assert.deepEqual(messages, [
      gone('no'),
      'COPY failed: forbidden path outside the build context: ../f ()',
      gone('out'),
      gone('up'),
      'COPY failed: no source files were specified',
      'When using ADD with more than one source file, the destination must be a directory and end with a /',
    ]);
    const through = await layerTar([
      { name: 'Dockerfile', content: `FROM ${box.image}\nCOPY inside/f /f\n` },
      { name: 'inside', type: 'symlink', linkname: '/tmp/no/such' },
      { name: 'tmp/no/such', type: 'directory' },
      { name: 'inside/f', content: 'stayed' },
    ]);
    const stayed = await buildTar(box, through);
    assert.equal(stayed.error, undefined);
    assert.equal(await sh(stayed.id, 'cat /f'), 'stayed');
    const outside = await buildTar(box, await layerTar([file('../f', 'x')]));
    assert.deepEqual(
      [outside.status, /a name must not hold \.\./.test(outside.refusal)],
      [400, true],
      outside.refusal,
    );
  });

  test('has no Dockerfile to copy where .dockerignore leaves it out', async () => {
    const files = [file('.dockerignore', 'Dockerfile\n.dockerignore\n'), file('kept', '')];
    const built = await buildWell(box, ['FROM BASE', 'COPY . /t/'], files);
    assert.equal(await sh(built.id, 'ls -A /t'), 'kept\n');
  });
});

describe('ADD', () => {
  test('unpacks tars, plain and compressed, and leaves other files alone', async () => {
    const tar = await layerTar([
      file('deep/inside', 'unpacked', { uid: 3, gid: 4 }),
      { name: 'lib/x', content: 'through' },
    ]);
    const files = [
      { name: 'a.tar', content: tar },
      { name: 'b.tgz', content: gzipSync(tar) },
      file('plain.tar', 'no archive at all'),
      { name: 'text.gz', content: gzipSync('packed, but no tar', { level: 6 }) },
    ];
    const built = await buildWell(
      box,
      [
        'FROM BASE',
        'RUN mkdir -p /t/usr/lib && ln -s usr/lib /t/lib',
        'ADD a.tar /t/',
        'ADD b.tgz /t/b',
        'ADD plain.tar /t/',
        'COPY a.tar /t/kept',
        'ADD text.gz /t/',
      ],
      files,
    );
    const found = await sh(
      built.id,
      'cat /t/deep/inside /t/usr/lib/x /t/b/deep/inside /t/plain.tar; stat -c " %u:%g" /t/deep/inside; tar tf /t/kept | wc -l; wc -c < /t/text.gz',
    );
    assert.equal(found, 'unpackedthroughunpackedno archive at all 3:4\n2\n38\n');
  });

  test('downloads URLs, with the names and times that they have', async () => {
    let body = 'first';
    const server = createServer((_request, response) => {
      response.setHeader('Last-Modified', 'Tue, 14 Nov 2023 22:13:20 GMT');
      response.end(body);
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const lines = ['FROM BASE', `ADD ${url}/some/file.txt?query /t/`, `ADD ${url}/x /t/named`];
      const built = await buildWell(box, lines);
      const text = await sh(built.id, 'cat /t/file.txt /t/named; stat -c "%a %Y" /t/file.txt');
      assert.equal(text, 'firstfirst600 1700000000\n');
      assert.match((await buildWell(box, lines)).text, /Using cache[\s\S]*Using cache/);
      body = 'second';
      assert.doesNotMatch((await buildWell(box, lines)).text, /Using cache/);
    } finally {
      server.close();
    }
  });
});

describe('a remote context', () => {
  test('is a tar or a Dockerfile of a URL', async () => {
    const context = await layerTar([
      file('Dockerfile', `FROM ${box.image}\nCOPY f /f\n`),
      file('f', 'remote'),
    ]);
    const server = createServer((request, response) => {
      response.end(request.url === '/tar' ? gzipSync(context) : `FROM ${box.image}\nLABEL x=y\n`);
    });
    await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    try {
      const tar = await buildTar(box, Buffer.alloc(0), { remote: `${url}/tar` });
      assert.equal(await sh(tar.id, 'cat /f'), 'remote');
      const text = await buildTar(box, Buffer.alloc(0), { remote: `${url}/Dockerfile` });
      assert.match(text.text, /Step 2\/2 : LABEL x=y\n/);
    } finally {
      server.close();
    }
    for (const remote of [
      'https://example.org/x.git#main',
      'git@example.org:x',
      'client-session',
    ]) {
      const refused = await buildTar(box, Buffer.alloc(0), { remote });
      assert.equal(refused.status, 400, refused.refusal);
    }
  });
});
