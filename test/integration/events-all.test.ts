import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, test } from 'node:test';
import type { EventMessage } from '../../src/spec/docker/event.ts';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';

/** Every type and action that Docker reports, and the attributes that come with it. */

let box: Box;
const stop = new AbortController();
const seen: EventMessage[] = [];

/** All that is told from the first moment on, as a client that stays hears it. */
async function listen(): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const { socket: socketPath } = box.daemon;
    const asked = request({ socketPath, path: '/events', signal: stop.signal }, (response) => {
      let rest = '';
      response.setEncoding('utf8').on('data', (chunk: string) => {
        const lines = `${rest}${chunk}`.split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) seen.push(JSON.parse(line) as EventMessage);
      });
      response.on('error', () => undefined); // the test is over
      resolve();
    });
    asked.on('error', reject);
    asked.end();
  });
}

before(async () => {
  box = await openBox();
  await listen();
});
after(async () => {
  stop.abort();
  await box[Symbol.asyncDispose]();
});

/** A call that must go well; what it answers may be JSON, or a stream. */
async function post(address: string, body?: unknown): Promise<string> {
  const { status, text } = await box.daemon.api('POST', address, body);
  assert.ok(status < 300 && !text.includes('"error"'), `${address}: ${status} ${text}`);
  return text;
}
const idOf = (answer: string): string => (JSON.parse(answer) as { Id: string }).Id;

/** The next event of an action, with what it says; those before it are left behind. */
async function told(type: string, action: string): Promise<EventMessage> {
  return await eventually(
    () => {
      const at = seen.findIndex((each) => each.Type === type && each.Action === action);
      if (at < 0) return undefined;
      return seen.splice(0, at + 1).at(-1);
    },
    { what: `${type} ${action}; there were ${seen.map(({ Action }) => Action).join(', ')}` },
  );
}
async function attributes(type: string, action: string): Promise<Record<string, string>> {
  return { ...(await told(type, action)).Actor.Attributes };
}

test('of images: pull, tag, push, save, untag, delete, load, import, prune', async () => {
  const [repository = ''] = box.image.split(/:v1$/);
  const name = encodeURIComponent(repository);
  const { Id } = (await box.daemon.json('GET', `/images/${box.image}/json`)) as { Id: string };
  await post(`/images/create?fromImage=${name}&tag=v1`); // there already: a pull all the same
  const pull = await told('image', 'pull');
  assert.deepEqual([pull.id, pull.status], [box.image, 'pull']);
  assert.deepEqual(pull.Actor, { ID: box.image, Attributes: { name: repository } });

  await post(`/images/${box.image}/tag?repo=${name}&tag=v2`);
  assert.deepEqual((await told('image', 'tag')).Actor, {
    ID: Id,
    Attributes: { name: `${repository}:v2` },
  });
  await post(`/images/${name}/push?tag=v2`);
  assert.deepEqual((await told('image', 'push')).Actor, {
    ID: `${repository}:v2`,
    Attributes: { name: repository },
  });
  const archive = (await box.daemon.api('GET', `/images/${box.image}/get`)).bytes;
  assert.deepEqual((await told('image', 'save')).Actor, { ID: Id, Attributes: { name: Id } });
  await box.daemon.json('DELETE', `/images/${repository}:v2`);
  assert.deepEqual((await told('image', 'untag')).Actor, { ID: Id, Attributes: { name: Id } });
  await box.daemon.json('DELETE', `/images/${box.image}`);
  await told('image', 'untag');
  assert.deepEqual((await told('image', 'delete')).Actor, { ID: Id, Attributes: { name: Id } });
  await box.daemon.api('POST', '/images/load', archive);
  assert.deepEqual((await told('image', 'load')).Actor, { ID: Id, Attributes: { name: Id } });
  assert.equal((await attributes('image', 'tag'))['name'], box.image);

  const id = await box.create({ Cmd: ['true'] });
  const tree = (await box.daemon.api('GET', `/containers/${id}/export`)).bytes;
  await box.daemon.api('POST', '/images/create?fromSrc=-', tree);
  const made = await told('image', 'import');
  assert.deepEqual(made.Actor.Attributes, { name: made.Actor.ID });
  await box.remove(id);
  await post('/images/prune');
  assert.match((await attributes('image', 'prune'))['reclaimed'] ?? '', /^\d+$/);
});

test('of containers: files, attach, exec, health, memory, prune', async () => {
  const common = { image: box.image, name: 'told', l: 'v' };
  const Healthcheck = { Test: ['CMD', 'true'], Interval: 1e8 };
  const body = { Cmd: ['sh', '-c', 'sleep 100'], Tty: true, Labels: { l: 'v' }, Healthcheck };
  const id = await box.up(body, 'told');
  assert.deepEqual(await attributes('container', 'create'), common);
  assert.deepEqual(await attributes('container', 'start'), common);
  assert.deepEqual(await attributes('container', 'health_status: healthy'), common);
  const size = { h: '10', w: '20' };
  await post(`/containers/${id}/resize?${new URLSearchParams(size)}`);
  assert.deepEqual(await attributes('container', 'resize'), {
    ...common,
    height: '10',
    width: '20',
  });
  await post(`/containers/${id}/attach?stream=0&logs=1&stdout=1`);
  assert.deepEqual(await attributes('container', 'attach'), common);
  await box.daemon.api('GET', `/containers/${id}/archive?path=/etc`);
  assert.deepEqual(await attributes('container', 'archive-path'), { ...common, path: '/etc' });
  const empty = Buffer.alloc(1024);
  await box.daemon.api('PUT', `/containers/${id}/archive?path=/tmp`, empty);
  assert.deepEqual(await attributes('container', 'extract-to-dir'), { ...common, path: '/tmp' });
  await box.daemon.api('GET', `/containers/${id}/export`);
  assert.deepEqual(await attributes('container', 'export'), common);
  const imageID = idOf(await post(`/commit?container=${id}&repo=kept&tag=v1&comment=why`));
  const commit = { comment: 'why', imageID, imageRef: 'kept:v1' };
  assert.deepEqual(await attributes('container', 'commit'), { ...common, ...commit });
  await box.exec(id, 'false');
  const exec = await attributes('container', 'exec_create: false');
  assert.deepEqual(exec, { ...common, execID: exec['execID'] });
  assert.deepEqual(await attributes('container', 'exec_start: false'), exec);
  assert.deepEqual(await attributes('container', 'exec_die'), { ...exec, exitCode: '1' });
  await post(`/containers/${id}/kill?signal=USR1`);
  assert.deepEqual(await attributes('container', 'kill'), { ...common, signal: '10' });
  for (const [verb, action] of [
    ['pause', 'pause'],
    ['unpause', 'unpause'],
    ['restart?t=0', 'restart'],
    ['stop?t=0', 'stop'],
  ] as const) {
    await post(`/containers/${id}/${verb}`);
    assert.deepEqual(await attributes('container', action), common);
  }
  await box.remove(id);
  assert.deepEqual(await attributes('container', 'destroy'), common);

  const eater = await box.up({
    Cmd: ['sh', '-c', 'x=a; while :; do x=$x$x; done'],
    HostConfig: { Memory: 8 << 20 },
  });
  await told('container', 'oom');
  const die = await attributes('container', 'die');
  assert.deepEqual([die['exitCode'], die['execDuration']?.match(/^\d+$/)?.length], ['137', 1]);
  await box.wait(eater);
  await post('/containers/prune');
  const prune = await told('container', 'prune');
  assert.deepEqual(prune.Actor.ID, '');
  assert.match(prune.Actor.Attributes['reclaimed'] ?? '', /^\d+$/);
});

test('of networks and volumes: of a running container too, and prune', async () => {
  const network = idOf(await post('/networks/create', { Name: 'told' }));
  const named = { name: 'told', type: 'bridge' };
  assert.deepEqual((await told('network', 'create')).Actor, { ID: network, Attributes: named });
  const id = await box.up({ Cmd: ['sleep', '100'], HostConfig: { NetworkMode: 'bridge' } });
  assert.equal((await attributes('network', 'connect'))['name'], 'bridge');
  await post('/networks/told/connect', { Container: id });
  assert.deepEqual(await attributes('network', 'connect'), { ...named, container: id });
  await post('/networks/told/disconnect', { Container: id });
  assert.deepEqual(await attributes('network', 'disconnect'), { ...named, container: id });
  await box.remove(id);
  await post('/networks/prune');
  assert.deepEqual(await attributes('network', 'destroy'), named);
  assert.deepEqual((await told('network', 'prune')).Actor, {
    ID: '',
    Attributes: { reclaimed: '0' },
  });
  await post('/volumes/create', { Name: 'told', Labels: { 'com.docker.volume.anonymous': '' } });
  assert.deepEqual(await attributes('volume', 'create'), { driver: 'local' });
  await post('/volumes/prune');
  assert.deepEqual(await attributes('volume', 'destroy'), { driver: 'local' });
  assert.deepEqual(await attributes('volume', 'prune'), { reclaimed: '0' });
});
