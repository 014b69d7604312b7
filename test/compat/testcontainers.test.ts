import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { run } from '../support/processes.ts';
import { CHECKOUT } from '../support/tools.ts';

/** What a test suite does to containers by testcontainers for Node, which tells its own host. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const PROGRAM = `
import assert from 'node:assert/strict';
import { GenericContainer, Network, Wait } from 'testcontainers';
const image = process.argv[1];
const serve = 'mkdir -p /www; echo page >/www/index.html; echo ready; exec httpd -f -p 8080 -h /www';
const network = await new Network().start();
const container = await new GenericContainer(image)
  .withCommand(['sh', '-c', serve])
  .withExposedPorts(8080)
  .withEnvironment({ MODE: 'test' })
  .withLabels({ made: 'by-test' })
  .withNetwork(network)
  .withNetworkAliases('web')
  .withTmpFs({ '/scratch': 'size=1m' })
  .withHealthCheck({ test: ['CMD-SHELL', 'test -e /www/index.html'], interval: 1000, retries: 5 })
  .withCopyContentToContainer([{ content: 'copied', target: '/etc/copied' }])
  .withWaitStrategy(
    Wait.forAll([Wait.forLogMessage('ready'), Wait.forListeningPorts(), Wait.forHealthCheck()]),
  )
  .start();
try {
  const url = 'http://' + container.getHost() + ':' + container.getMappedPort(8080);
  assert.equal(await (await fetch(url + '/index.html')).text(), 'page\\n');
  const said = await container.exec(['sh', '-c', 'cat /etc/copied; echo $MODE; exit 3']);
  assert.deepEqual([said.output, said.exitCode], ['copiedtest\\n', 3]);
  await container.copyContentToContainer([{ content: 'later', target: '/tmp/later' }]);
  assert.equal((await container.exec(['cat', '/tmp/later'])).output, 'later');
  const chunks = [];
  for await (const chunk of await container.copyArchiveFromContainer('/tmp/later')) {
    chunks.push(chunk);
  }
  assert.match(Buffer.concat(chunks).toString('latin1'), /^later\\0.*later\\0/s);
  const other = await new GenericContainer(image)
    .withCommand(['sh', '-c', 'wget -qO- http://web:8080/; exec sleep 60'])
    .withNetwork(network)
    .withWaitStrategy(Wait.forLogMessage('page'))
    .start();
  await other.stop();
  const committed = await container.commit({ repo: 'committed', tag: 'v1' });
  const copy = await new GenericContainer('committed:v1')
    .withCommand(['sh', '-c', 'cat /tmp/later; echo; exec sleep 60'])
    .withWaitStrategy(Wait.forLogMessage('later'))
    .start();
  await copy.stop();
  await container.restart();
  assert.equal((await container.exec(['cat', '/tmp/later'])).output, 'later');
  console.log(committed);
} finally {
  await container.stop();
  await network.stop();
}
`;

test('testcontainers: waits, ports, names, files in and out, commit, and nothing is left', async () => {
  const { daemon } = box;
  const outcome = await run(
    process.execPath,
    ['--input-type=module', '--eval', PROGRAM, '--', box.image],
    {
      cwd: CHECKOUT,
      env: { DOCKER_HOST: daemon.host, TESTCONTAINERS_RYUK_DISABLED: 'true', HOME: daemon.folder },
      timeoutMs: 90_000,
    },
  );
  assert.equal(
    outcome.code,
    0,
    `${outcome.stderr}\n${path.basename(daemon.logFile)}: ${daemon.log()}`,
  );
  const committed = (await daemon.json('GET', '/images/committed:v1/json')) as { Id: string };
  assert.equal(outcome.stdout.trim(), committed.Id);
  assert.deepEqual(await daemon.json('GET', '/containers/json?all=true'), []);
  const networks = (await daemon.json('GET', '/networks')) as { Name: string }[];
  assert.deepEqual(networks.map(({ Name }) => Name).sort(), ['bridge', 'host', 'none']);
});
