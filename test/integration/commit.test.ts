import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ContainerConfig } from '../../src/spec/docker/container.ts';
import type { EventMessage } from '../../src/spec/docker/event.ts';
import { type Box, openBox } from '../support/box.ts';
import type { Answer } from '../support/daemon.ts';

/** `commit`: what is changed on the way, what is refused, and who is held still meanwhile. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

type Image = { readonly Id: string; readonly Config: ContainerConfig; readonly Author: string };

async function tryCommit(
  id: string,
  query: Readonly<Record<string, string>>,
  changes: readonly string[] = [],
): Promise<Answer> {
  const all = [['container', id], ...Object.entries(query), ...changes.map((c) => ['changes', c])];
  return await box.daemon.api('POST', `/commit?${new URLSearchParams(all)}`, 'null', {
    'content-type': 'application/json',
  });
}

async function commit(id: string, tag: string, changes: readonly string[] = []): Promise<Image> {
  const query = { repo: 'kept', tag, author: 'An Author', comment: 'why' };
  const answer = await tryCommit(id, query, changes);
  assert.equal(answer.status, 201, answer.text);
  const image = (await box.daemon.json('GET', `/images/kept:${tag}/json`)) as Image;
  assert.equal(image.Id, (answer.json() as { Id: string }).Id);
  return image;
}

const actionsOf = async (id: string): Promise<string[]> => {
  const filters = encodeURIComponent(JSON.stringify({ container: [id] }));
  const until = Date.now() / 1000 + 0.005;
  const { text } = await box.daemon.api('GET', `/events?since=1&until=${until}&filters=${filters}`);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => (JSON.parse(line) as EventMessage).Action);
};

describe('commit', () => {
  test('carries out every instruction that Docker takes', async () => {
    const id = await box.create({
      Cmd: ['true'],
      Env: ['HOME=/home', 'KEPT=1'],
      Labels: { l: '1' },
    });
    const { Config, Author } = await commit(id, 'changed', [
      'CMD ["-x"]',
      'ENTRYPOINT ["/bin/echo", "hi"]',
      'ENV HOME=$HOME/user MORE="a b"',
      'EXPOSE 80 53/udp',
      'LABEL a=b',
      'ONBUILD RUN make',
      'USER 1:2',
      'VOLUME /data',
      'WORKDIR /srv',
      'WORKDIR app',
      'HEALTHCHECK --interval=2s --timeout=1s --retries=4 --start-period=3s CMD test -e /ok',
      'STOPSIGNAL SIGINT',
    ]);
    assert.deepEqual([Config.Cmd, Config.Entrypoint], [['-x'], ['/bin/echo', 'hi']]);
    assert.deepEqual(
      Config.Env.filter((each) => !each.startsWith('PATH=')),
      ['HOME=/home/user', 'KEPT=1', 'MORE=a b'],
    );
    assert.deepEqual(Object.keys(Config.ExposedPorts), ['80/tcp', '53/udp']);
    assert.deepEqual(Config.Labels, { l: '1', a: 'b' });
    assert.deepEqual(Config.OnBuild, ['RUN make']);
    assert.deepEqual([Config.User, Config.WorkingDir], ['1:2', '/srv/app']);
    assert.deepEqual(Object.keys(Config.Volumes), ['/data']);
    assert.equal(Config.StopSignal, 'SIGINT');
    assert.deepEqual(Config.Healthcheck?.Test, ['CMD-SHELL', 'test -e /ok']);
    assert.deepEqual([Config.Healthcheck?.Interval, Config.Healthcheck?.Retries], [2e9, 4]);
    assert.equal(Author, 'An Author');
    await box.remove(id);
  });

  test('knows the image it was made from, which stays as long; a build cache is not told of it', async () => {
    const id = await box.create({ Cmd: ['true'] });
    const { Image: base } = (await box.daemon.json('GET', `/containers/${id}/json`)) as {
      Image: string;
    };
    const { Id: nameless } = (await tryCommit(id, {})).json() as { Id: string };
    const { Parent } = (await box.daemon.json('GET', `/images/${nameless}/json`)) as {
      Parent: string;
    };
    assert.equal(Parent, base);
    const listed = (await box.daemon.json('GET', '/images/json')) as {
      Id: string;
      ParentId: string;
    }[];
    assert.equal(listed.find((each) => each.Id === nameless)?.ParentId, base);
    await box.remove(id);
    const refused = await box.daemon.api('DELETE', `/images/${base}?force=true`);
    assert.equal(refused.status, 409);
    assert.match(refused.text, /image has dependent child images/);
    await box.daemon.json('POST', '/build/prune');
    await box.daemon.json('GET', `/images/${nameless}/json`);
    await box.daemon.json('DELETE', `/images/${nameless}`);
    await box.daemon.json('GET', `/images/${base}/json`);
  });

  test('of a new entrypoint leaves no command that was for the old one', async () => {
    const id = await box.create({ Cmd: ['echo', 'old'] });
    const { Config } = await commit(id, 'entry', ['ENTRYPOINT ["/bin/echo"]']);
    assert.deepEqual([Config.Entrypoint, Config.Cmd ?? null], [['/bin/echo'], null]);
    await box.remove(id);
  });

  test('refuses a wrong instruction with its reason, and makes nothing', async () => {
    const id = await box.create({ Cmd: ['true'] });
    const images = await box.daemon.json('GET', '/images/json?all=1');
    for (const [change, message] of [
      ['SHELL ["/bin/bash"]', 'SHELL is not a valid change command'],
      ['RUN make', 'RUN is not a valid change command'],
      ['FROM scratch', 'FROM is not a valid change command'],
      ['COPY a b', 'COPY is not a valid change command'],
      ['MAINTAINER me', 'MAINTAINER is not a valid change command'],
      ['ARG x', 'ARG is not a valid change command'],
      ['ENV X', 'ENV must have two arguments'],
      ['STOPSIGNAL NOPE', 'invalid signal: NOPE'],
      ['EXPOSE 70000', 'Invalid containerPort: 70000'],
      ['HEALTHCHECK --retries=x CMD y', 'HEALTHCHECK: invalid flag --retries=x'],
      ['nonsense', 'nonsense is not a valid change command'],
    ] as const) {
      const answer = await tryCommit(id, { repo: 'never' }, ['ENV GOOD=1', change]);
      assert.deepEqual([answer.status, answer.json()], [400, { message }]);
    }
    const bad = await tryCommit(id, { repo: 'Never' });
    assert.deepEqual([bad.status, /must be lowercase/.test(bad.text)], [400, true]);
    assert.equal((await tryCommit('nobody', {})).status, 404);
    assert.deepEqual(await box.daemon.json('GET', '/images/json?all=1'), images);
    await box.remove(id);
  });

  test('holds a running container still meanwhile, unless asked not to', async () => {
    const id = await box.up({ Cmd: ['sh', '-c', 'while :; do echo x >/x; done'] });
    await commit(id, 'still');
    assert.deepEqual((await actionsOf(id)).slice(2), ['pause', 'unpause', 'commit']);
    const answer = await tryCommit(id, { pause: '0' });
    assert.equal(answer.status, 201, answer.text);
    assert.deepEqual((await actionsOf(id)).slice(2), ['pause', 'unpause', 'commit', 'commit']);
    await box.daemon.json('POST', `/containers/${id}/pause`);
    await commit(id, 'paused');
    assert.equal((await box.inspect(id)).State.Paused, true);
    await box.remove(id);
  });
});
