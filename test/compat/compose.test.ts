import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { eventually, freePort, run } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/** A project of a web server, a database and a worker, by an unmodified docker-compose. */

let box: Box;
const folder = temporaryFolder('compose');
before(async () => {
  box = await openBox();
});
after(async () => {
  await box[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

/** Serves a line to whoever connects, for ever. */
function serving(port: number, command: string): string {
  return `["sh", "-c", "while :; do ${command} | nc -l -p ${port}; done"]`;
}

function project(image: string, port: number): string {
  return `
version: "2.4"
services:
  web:
    image: ${image}
    command: ${serving(80, 'nc db 5432 </dev/null')}
    ports: ["127.0.0.1:${port}:80"]
    networks: [front, back]
    depends_on: [db]
    stop_grace_period: 1s
  db:
    image: ${image}
    command: ${serving(5432, 'cat /var/lib/rows')}
    volumes: ["rows:/var/lib"]
    networks:
      back: {aliases: [postgres]}
    stop_grace_period: 1s
  worker:
    image: ${image}
    command: ["sleep", "1000"]
    networks: [back]
    stop_grace_period: 1s
networks:
  front: {}
  back: {internal: true}
volumes:
  rows: {}
`;
}

async function compose(...args: string[]): Promise<string> {
  const all = ['--project-name', 'shop', '--no-ansi', ...args];
  // By itself, without a docker client that may not be on the PATH.
  const env = { DOCKER_HOST: box.daemon.host, COMPOSE_INTERACTIVE_NO_CLI: '1' };
  const options = { cwd: folder.path, env };
  const { code, stdout, stderr } = await run('docker-compose', all, options);
  assert.equal(code, 0, `docker-compose ${args.join(' ')}: ${stdout}${stderr}`);
  return stdout;
}

test('docker-compose: a web server, a database and a worker find each other by name', async () => {
  const port = await freePort();
  writeFileSync(path.join(folder.path, 'docker-compose.yml'), project(box.image, port));
  await compose('up', '-d');
  await compose('exec', '-T', 'db', 'sh', '-c', 'echo rows >/var/lib/rows');

  const ask = async (service: string, host: string, to: number): Promise<void> => {
    const words = ['sh', '-c', `nc -w 2 ${host} ${to} </dev/null`];
    const found = async () => (await compose('exec', '-T', service, ...words)).trim() === 'rows';
    await eventually(found, { what: `${service} to reach ${host}`, timeoutMs: 20_000 });
  };
  await ask('worker', 'db', 5432);
  await ask('worker', 'postgres', 5432);
  await ask('worker', 'web', 80);
  await ask('web', 'shop_db_1', 5432);
  const outside = async () => {
    const { stdout } = await run('curl', ['-s', '--http0.9', `http://127.0.0.1:${port}/`]);
    return stdout.trim() === 'rows';
  };
  await eventually(outside, { what: 'the published port', timeoutMs: 20_000 });

  await compose('up', '-d', '--scale', 'worker=2');
  assert.equal((await compose('ps', '-q', 'worker')).trim().split('\n').length, 2);
  await compose('restart', '-t', '1', 'db');
  await ask('worker', 'db', 5432);
  assert.match(await compose('ps'), /shop_web_1 .*Up .*80\/tcp/);

  await compose('down', '-v', '-t', '1');
  assert.deepEqual(await box.daemon.json('GET', '/containers/json?all=1'), []);
  const networks = (await box.daemon.json('GET', '/networks')) as { Name: string }[];
  assert.deepEqual(
    networks.map(({ Name }) => Name).toSorted((a, b) => a.localeCompare(b)),
    ['bridge', 'host', 'none'],
  );
  const volumes = (await box.daemon.json('GET', '/volumes')) as { Volumes: unknown[] };
  assert.deepEqual(volumes.Volumes, []);
});
