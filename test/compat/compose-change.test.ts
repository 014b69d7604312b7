import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ContainerSummary } from '../../src/spec/docker/container-view.ts';
import { openProject, type Project } from '../support/compose.ts';

/** docker-compose 1.29 makes containers anew, runs jobs, scales, and takes all away. */

let project: Project;
before(async () => {
  project = await openProject();
});
after(() => project[Symbol.asyncDispose]());

test('a service that changed is made anew, the others stay', async () => {
  await project.compose('up', '-d', 'web');
  const [base, before] = [await project.idOf('base'), await project.idOf('web')];
  project.write('second');
  const outcome = await project.tryCompose('up', '-d', 'web');
  assert.match(outcome.stderr, /Recreating life_web_1/);
  const after = await project.idOf('web');
  assert.notEqual(after, before);
  assert.equal(await project.idOf('base'), base);
  assert.match(await project.box.logs(after), /second from web/);
  assert.equal((await project.box.daemon.api('GET', `/containers/${before}/json`)).status, 404);
});

test('run gives the code and output of a one-off container, and removes it', async () => {
  const ran = await project.tryCompose('run', '--rm', '-T', 'job');
  assert.deepEqual([ran.code, ran.stdout], [3, 'job\n']);
  const other = await project.tryCompose(
    'run',
    '--rm',
    '-T',
    '-e',
    'A=b',
    '--no-deps',
    'web',
    'sh',
    '-c',
    'sleep 1; echo $A',
  );
  assert.deepEqual([other.code, other.stdout], [0, 'b\n']);
  const up = await project.tryCompose('up', '--no-deps', '--exit-code-from', 'job', 'job');
  assert.equal(up.code, 3, up.stderr);
  assert.match(up.stdout, /life_job_1 exited with code 3/);
  const all = (await project.box.daemon.json(
    'GET',
    '/containers/json?all=1',
  )) as ContainerSummary[];
  assert.deepEqual(
    all.map(({ Names }) => Names[0] ?? '').toSorted((a, b) => a.localeCompare(b)),
    ['/life_base_1', '/life_job_1', '/life_web_1'],
  );
});

test('scale, logs of each, rm of what stopped, and down leave nothing', async () => {
  await project.compose('up', '-d', '--no-deps', '--scale', 'base=3', 'base');
  assert.equal((await project.idsOf('base')).length, 3);
  await project.compose('up', '-d', '--no-deps', '--scale', 'base=1', 'base');
  assert.equal((await project.idsOf('base')).length, 1);
  assert.match(await project.compose('logs', '--tail', '1', 'job'), /job_1 +\| job/);
  await project.compose('rm', '-f', '-s', 'job');
  assert.deepEqual(await project.idsOf('job'), []);
  await project.compose('down', '-t', '0', '--remove-orphans');
  assert.deepEqual(await project.box.daemon.json('GET', '/containers/json?all=1'), []);
  const networks = (await project.box.daemon.json('GET', '/networks')) as { Name: string }[];
  assert.deepEqual(networks.map(({ Name }) => Name).toSorted(), ['bridge', 'host', 'none']);
});
