import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { clientCommand, startDaemon, type TestDaemon } from '../../support/daemon.ts';
import { docker, dockerClis, hasOurWords } from '../../support/docker-cli.ts';
import { busyboxImage, pushImage } from '../../support/images.ts';
import { run, runOk } from '../../support/processes.ts';
import { startRegistry } from '../../support/registry.ts';

/** `create` and `run` that fail: our client beside Docker's, on our daemon; words and exit codes. */

let daemon: TestDaemon;

before(async () => {
  daemon = await startDaemon();
  await using registry = await startRegistry();
  await pushImage(registry, 'box', 'latest', await busyboxImage());
  const image = `${registry.host}/box:latest`;
  await runOk(clientCommand(), ['-H', daemon.host, 'pull', '-q', image]);
  await runOk(clientCommand(), ['-H', daemon.host, 'tag', image, 'box']);
});
after(() => daemon?.[Symbol.asyncDispose]());

const LINES = [
  ['create', '--name', '-', 'box'],
  ['create', '--cidfile', '/nonexistent/id', 'box'],
  ['create', '--memory', '1', 'box'],
  ['create', '--pull', 'sometimes', 'box'],
  ['create', '--cgroupns', 'none', 'box'],
  ['create', 'UPPER'],
  ['create', 'registry.example/a/B:c'],
  ['run', '--name', '-', 'box'],
  ['run', '--cidfile', '/nonexistent/id', 'box'],
  ['run', '--memory', '1', 'box'],
  ['run', '--pull', 'sometimes', 'box'],
  ['run', '-d', '-a', 'stdout', 'box'],
  ['run', '-i', '-t', 'box'],
  ['run', '--network', 'none', '--device', '/nonexistent/device', 'box', 'true'],
  ['run', '--network', 'none', 'box', 'nosuch'],
  ['run', '--network', 'none', 'box', '/etc'],
  ['run', '--rm', '-v', '/proc/nonexistent:/x', 'box', 'true'],
  ['run', 'UPPER'],
];

test('what fails in create and run fails with the words and code of docker', async () => {
  const cli = (await dockerClis()).find(hasOurWords);
  assert.ok(cli !== undefined, 'no docker client 28 here');
  for (const line of LINES) {
    const theirs = await docker(cli, daemon.host, line, { input: '' });
    const ours = await run(clientCommand(), ['-H', daemon.host, ...line], { input: '' });
    assert.notEqual(theirs.code, 0, line.join(' '));
    const stderr = ours.stderr.replaceAll(/\bcoracle(?=:| run| create)/g, 'docker');
    assert.deepEqual({ ...ours, stderr }, theirs, line.join(' '));
  }
});
