import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openProject, type Project } from '../support/compose.ts';
import { eventually } from '../support/processes.ts';

/** docker-compose 1.29 brings a project up, looks at it, and stops and starts its containers. */

let project: Project;
before(async () => {
  project = await openProject();
});
after(() => project[Symbol.asyncDispose]());

async function stateOf(service: string): Promise<string> {
  return (await project.box.inspect(await project.idOf(service))).State.Status;
}

test('up waits for health, shows what runs, and leaves what did not change', async () => {
  await project.compose('up', '-d', 'web');
  const base = await project.box.inspect(await project.idOf('base'));
  const web = await project.box.inspect(await project.idOf('web'));
  assert.equal(base.State.Health?.Status, 'healthy');
  assert.ok(Date.parse(web.State.StartedAt) > Date.parse(base.State.StartedAt) + 400);
  assert.equal(web.HostConfig.Memory, 64 << 20);
  assert.equal(web.Config.Labels?.['tier'], 'front');
  const shown = await project.compose('ps');
  assert.match(shown, /life_web_1 +sh -c .* Up +127\.0\.0\.1:\d+->80\/tcp/);
  assert.match(shown, /life_base_1 .*Up \(healthy\)/);
  assert.equal((await project.compose('port', 'web', '80')).trim(), `127.0.0.1:${project.port}`);
  assert.match(await project.compose('top', 'web'), /httpd -f -p 80 -h \/etc/);
  assert.match(await project.compose('logs', 'web'), /web_1 +\| first from web/);
  assert.match(
    await project.compose('images', 'web'),
    /life_web_1 +\S+\/test\/box +v1 +[0-9a-f]{12}/,
  );
  const again = await project.tryCompose('up', '-d', 'web');
  assert.match(again.stderr, /life_web_1 is up-to-date/);
  assert.equal(await project.idOf('web'), web.Id);
});

test('exec gives streams, codes, users and environment', async () => {
  const said = await project.tryCompose(
    'exec',
    '-T',
    '-e',
    'A=b',
    '-u',
    '7',
    'web',
    'sh',
    '-c',
    'echo $A; id -u; exit 4',
  );
  assert.deepEqual([said.code, said.stdout], [4, 'b\n7\n']);
  assert.equal((await project.compose('exec', '-T', 'web', 'sh', '-c', 'ulimit -n')).trim(), '64');
});

test('pause, unpause, stop, start, restart and kill do what they say', async () => {
  await project.compose('pause', 'web');
  assert.equal(await stateOf('web'), 'paused');
  await project.compose('unpause', 'web');
  assert.equal(await stateOf('web'), 'running');
  await project.compose('stop', '-t', '0', 'web');
  assert.equal(await stateOf('web'), 'exited');
  await project.compose('start', 'web');
  assert.equal(await stateOf('web'), 'running');
  const { StartedAt } = (await project.box.inspect(await project.idOf('web'))).State;
  await project.compose('restart', '-t', '0', 'web');
  assert.notEqual(
    (await project.box.inspect(await project.idOf('web'))).State.StartedAt,
    StartedAt,
  );
  await project.compose('kill', '-s', 'SIGKILL', 'base');
  await eventually(async () => (await stateOf('base')) === 'exited');
  await project.compose('start', 'base');
});
