import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ImageHistoryItem, ImageInspect, ImageSummary } from '../../src/spec/docker/image.ts';
import { type Box, openBox } from '../support/box.ts';
import { build, buildWell, file } from '../support/build.ts';

/** `POST /build`: instructions, stages, arguments and the cache. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const inspect = async (name: string): Promise<ImageInspect> =>
  (await box.daemon.json('GET', `/images/${name}/json`)) as ImageInspect;

const history = async (name: string): Promise<ImageHistoryItem[]> =>
  (await box.daemon.json('GET', `/images/${name}/history`)) as ImageHistoryItem[];

const images = async (query = ''): Promise<ImageSummary[]> =>
  (await box.daemon.json('GET', `/images/json?${query}`)) as ImageSummary[];

const sh = async (Image: string, command: string): Promise<string> =>
  await box.sh(command, { Image, Entrypoint: [] });

const cached = (text: string): number => text.split(' ---> Using cache\n').length - 1;

describe('a build', () => {
  test("carries out its instructions and says so in Docker's words", async () => {
    const built = await buildWell(
      box,
      [
        'FROM BASE',
        'LABEL a=b',
        'ENV GREETING="hello there"',
        'WORKDIR /srv/app',
        'COPY greet.sh .',
        'RUN sh greet.sh > said && echo done',
        'CMD ["cat", "said"]',
      ],
      [file('greet.sh', 'echo $GREETING')],
      { t: 'greeter' },
    );
    const short = built.id.slice(7, 19);
    assert.match(built.text, /^Step 1\/7 : FROM /);
    assert.match(
      built.text,
      /Step 6\/7 : RUN sh greet.sh > said && echo done\n ---> Running in [0-9a-f]{12}\ndone\nRemoving intermediate container [0-9a-f]{12}\n ---> [0-9a-f]{12}\n/,
    );
    const end = `Successfully built ${short}\nSuccessfully tagged greeter:latest\n`;
    assert.ok(built.text.endsWith(end), built.text);
    const { Config, Parent, Id } = await inspect('greeter');
    assert.equal(Id, built.id);
    assert.equal(Config?.WorkingDir, '/srv/app');
    assert.deepEqual(Config.Labels, { a: 'b' });
    assert.match(Parent, /^sha256:/);
    const { stdout } = await box.run({ Image: 'greeter' });
    assert.equal(stdout, 'hello there\n');
    assert.deepEqual(await box.daemon.json('GET', '/containers/json?all=1'), []);
  });

  test('uses the steps of an earlier one again, until a file or an argument changes', async () => {
    const lines = ['FROM BASE', 'ARG V=1', 'COPY a /a', 'RUN echo $V > /v', 'RUN cat /a > /b'];
    const at = (mtime: number, content = 'x') => [file('a', content, { mtime: new Date(mtime) })];
    const first = await buildWell(box, lines, at(1e12));
    assert.equal(cached(first.text), 0);
    const second = await buildWell(box, lines, at(2e12));
    assert.deepEqual([cached(second.text), second.id], [4, first.id]);
    const argument = await buildWell(box, lines, at(1e12), { buildargs: '{"V":"2"}' });
    assert.equal(cached(argument.text), 2, argument.text);
    assert.equal(await sh(argument.id, 'cat /v'), '2\n');
    const content = await buildWell(box, lines, at(1e12, 'y'));
    assert.equal(cached(content.text), 1);
    assert.equal(await sh(content.id, 'cat /b'), 'y');
    const anew = await buildWell(box, lines, at(1e12), { nocache: '1' });
    assert.equal(cached(anew.text), 0);
    assert.notEqual(anew.id, first.id);
  });

  test('has the cache of an image that is named, and no other', async () => {
    const lines = ['FROM BASE', 'RUN echo from > /x', 'RUN echo more > /y'];
    const built = await buildWell(box, lines, [], { t: 'source' });
    const other = await buildWell(box, lines, [], { cachefrom: '["source"]' });
    assert.deepEqual([cached(other.text), other.id], [2, built.id]);
    const none = await buildWell(box, lines, [], { cachefrom: `["${box.image}"]` });
    assert.equal(cached(none.text), 0);
  });

  test('copies between stages, and stops at its target', async () => {
    const lines = [
      'ARG NAME=tool',
      'FROM BASE AS made',
      'ARG NAME',
      'RUN mkdir /out && echo "$NAME" > /out/name && chown 7:8 /out/name && ln -s name /out/link',
      'FROM BASE AS middle',
      'COPY --from=made /out/ /in/',
      'FROM scratch',
      'COPY --from=1 /in /got',
      'COPY --from=made --chown=1:2 /out/name /owned',
      'COPY --from=BASE /bin/busybox /bin/',
    ];
    const built = await buildWell(box, lines);
    const Cmd = ['/bin/busybox', 'stat', '-c', '%n %u:%g', '/got/name', '/got/link', '/owned'];
    const { stdout } = await box.run({ Image: built.id, Cmd });
    assert.match(stdout, /\/got\/name 7:8/);
    assert.match(stdout, /\/got\/link 0:0/);
    assert.match(stdout, /\/owned 1:2/);
    const middle = await buildWell(box, lines, [], { target: 'middle' });
    assert.match(middle.text, /Step 1\/6 : ARG NAME=tool\nStep 2\/6 : FROM /);
    assert.equal(await sh(middle.id, 'cat /in/name'), 'tool\n');
    const missing = await build(box, lines, [], { target: 'nothing' });
    assert.deepEqual(
      [missing.status, missing.refusal],
      [400, 'failed to reach build target nothing in Dockerfile'],
    );
  });

  test('keeps each step as the parent of the next, out of the way of lists', async () => {
    const built = await buildWell(
      box,
      ['FROM BASE', 'LABEL steps=1', 'RUN echo > /f', 'CMD ["x"]'],
      [],
      {
        t: 'stepped',
      },
    );
    const steps = await history('stepped');
    const made = steps.slice(0, 3);
    assert.deepEqual(
      made.map(({ CreatedBy }) => CreatedBy),
      ['/bin/sh -c #(nop)  CMD ["x"]', '/bin/sh -c echo > /f', '/bin/sh -c #(nop)  LABEL steps=1'],
    );
    assert.ok(made.every(({ Id }) => Id.startsWith('sha256:')));
    assert.deepEqual(made[0]?.Tags, ['stepped:latest']);
    const [, run, label] = made;
    assert.equal((await inspect(built.id)).Parent, run?.Id);
    const shown = (await images()).map(({ Id }) => Id);
    const all = (await images('all=1')).map(({ Id }) => Id);
    assert.ok(shown.includes(built.id) && !shown.includes(run?.Id ?? ''));
    assert.ok([run?.Id, label?.Id].every((id) => all.includes(id ?? '')));
    const refused = await box.daemon.api('DELETE', `/images/${run?.Id}?force=1`);
    assert.equal(refused.status, 409);
    assert.match(refused.text, /\(cannot be forced\) - image has dependent child images/);
    await box.daemon.json('DELETE', '/images/stepped');
    const left = (await images('all=1')).map(({ Id }) => Id);
    assert.ok(
      [built.id, run?.Id, label?.Id].every((id) => !left.includes(id ?? '')),
      'steps go too',
    );
    assert.ok(left.length > 0, 'the base image stays');
  });

  test('makes a config as the instructions say', async () => {
    const built = await buildWell(
      box,
      [
        '# escape=`',
        'FROM BASE',
        'MAINTAINER me <me@example.org>',
        'ENV A=1 `',
        '# in between',
        '    B="two words"',
        `ENV C=$A-§{B}-§{D:-none}`.replaceAll('§', '$'),
        'SHELL ["/bin/sh", "-ec"]',
        'RUN test "$C" = "1-two words-none"',
        'EXPOSE 80 53/udp',
        'VOLUME /data',
        'USER 1000:1000',
        'STOPSIGNAL SIGINT',
        'HEALTHCHECK --interval=5s CMD true',
        'ONBUILD USER root',
        'ONBUILD RUN echo built > /onbuild',
        'ENTRYPOINT echo entry',
      ],
      [],
      { labels: '{"of":"the $build"}', t: 'configured' },
    );
    const { Config, Author } = await inspect(built.id);
    assert.equal(Author, 'me <me@example.org>');
    assert.ok(Config);
    assert.ok(Config.Env?.includes('C=1-two words-none'), String(Config?.Env));
    assert.deepEqual(Config.Entrypoint, ['/bin/sh', '-ec', 'echo entry']);
    assert.deepEqual(Config.Shell, ['/bin/sh', '-ec']);
    assert.deepEqual(Object.keys(Config.ExposedPorts ?? {}), ['80/tcp', '53/udp']);
    assert.deepEqual(Config.Labels, { of: 'the $build' });
    assert.deepEqual(Config.OnBuild, ['USER root', 'RUN echo built > /onbuild']);
    assert.equal(Config.Cmd ?? null, null);
    const child = await buildWell(box, ['FROM configured', 'RUN cat /onbuild']);
    assert.match(child.text, /# Executing 2 build triggers\n/);
    assert.match(child.text, /\nbuilt\n/);
    assert.equal((await inspect(child.id)).Config?.OnBuild ?? null, null);
    assert.match(child.text, /Step 2\/2/);
  });

  test('limits what a RUN may take, and gives it hosts', async () => {
    const built = await buildWell(
      box,
      ['FROM BASE', 'RUN cat /etc/hosts; ulimit -n; df -k /dev/shm | tail -1'],
      [],
      {
        ...{ extrahosts: 'far:192.0.2.7', shmsize: String(2 << 20), memory: String(64 << 20) },
        ulimits: '[{"Name":"nofile","Soft":77,"Hard":77}]',
      },
    );
    assert.match(built.text, /192\.0\.2\.7\s+far\n/);
    assert.match(built.text, /^77$/m);
    assert.match(built.text, /^shm +2048 /m);
  });

  test('says of unused arguments that they are', async () => {
    const built = await buildWell(box, ['FROM BASE', 'RUN echo "[$HTTP_PROXY]"'], [], {
      buildargs: '{"NOBODY":"1","HTTP_PROXY":"http://p"}',
    });
    assert.match(built.text, /\[Warning\] One or more build-args \[NOBODY\] were not consumed\n/);
    assert.match(built.text, /^\[http:\/\/p\]$/m);
    const [newest] = await history(built.id);
    assert.equal(newest?.CreatedBy, '|0 /bin/sh -c echo "[$HTTP_PROXY]"');
  });

  test('prunes what led to no named image', async () => {
    await buildWell(box, ['FROM BASE', 'RUN echo one > /pruned'], [], { t: 'again' });
    const old = await inspect('again');
    await buildWell(box, ['FROM BASE', 'RUN echo two > /pruned'], [], { t: 'again' });
    const pruned = (await box.daemon.json('POST', '/build/prune')) as {
      CachesDeleted: string[];
      SpaceReclaimed: number;
    };
    assert.ok(pruned.CachesDeleted.includes(old.Id), String(pruned.CachesDeleted));
    assert.ok(pruned.SpaceReclaimed >= 4);
    assert.equal((await box.daemon.api('GET', `/images/${old.Id}/json`)).status, 404);
    assert.equal(await sh('again', 'cat /pruned'), 'two\n');
  });

  test('goes from images with a prune, which tells of each step once', async () => {
    const lines = ['FROM BASE', 'LABEL goes=1', 'ENV A=1', 'ENV B=2'];
    await buildWell(box, lines, [], { t: 'goes' });
    await buildWell(box, lines, [], { t: 'goes-too' });
    const filters = encodeURIComponent('{"dangling":["false"],"label":["goes=1"]}');
    const { ImagesDeleted } = (await box.daemon.json(
      'POST',
      `/images/prune?filters=${filters}`,
    )) as { readonly ImagesDeleted: readonly { readonly Deleted?: string }[] };
    const deleted = ImagesDeleted.flatMap(({ Deleted }) => Deleted ?? []);
    assert.equal(deleted.length, 3, 'one for each step that this built');
    assert.equal(new Set(deleted).size, 3, String(deleted));
  });
});
