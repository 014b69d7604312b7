import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { createRequest } from '../../../src/spec/docker/container.ts';
import { coracle } from '../../support/cli.ts';
import { type DockerCli, dockerClis } from '../../support/docker-cli.ts';
import { run } from '../../support/processes.ts';
import { type RecordedRequest, recordingDaemon } from '../../support/recording-daemon.ts';
import { temporaryFolder } from '../../support/temp.ts';
import { CREATE_LINES } from './create-oracle.ts';
import { splitWords } from './words.ts';

/**
 * The same command line, given to Docker's client and to ours, must send the same request, or be
 * refused with the same text and code.
 */

const ENV = { FROM_CLIENT: 'yes' };

/** What 20.10 does in another way than 28, which ours follows. */
const CHANGED_SINCE_20_10 = [
  /^-v \.\/rel/, // sends relative paths as they are
  /--mac-address/, // sends it outside the network
  /^--oom-kill-disable/, // warns by itself
  /^--cap-add/, // sends the names as they were given
];

/** The body as the daemon decodes it, without what has no order or no meaning. */
function meaningOf(request: RecordedRequest, old: boolean): unknown {
  const body = createRequest.decode(request.body, '');
  const { HostConfig, NetworkingConfig } = body;
  const endpoints = { ...NetworkingConfig.EndpointsConfig };
  if (old) delete endpoints['default'];
  return {
    query: request.query,
    body: {
      ...body,
      Env: body.Env.toSorted(),
      HostConfig: {
        ...HostConfig,
        Binds: HostConfig.Binds?.toSorted(),
        Ulimits: HostConfig.Ulimits ?? [],
      },
      NetworkingConfig: { EndpointsConfig: endpoints },
    },
  };
}

async function compareLines(cli: DockerCli, old: boolean): Promise<number> {
  using folder = temporaryFolder('oracle');
  const file = (name: string, text: string): void =>
    writeFileSync(path.join(folder.path, name), text);
  file('env', '# comment\nA=file\nFROM_CLIENT\n\n  INDENT=1\nX=a b\r\n');
  file('labels', 'a=b\nc\n');
  file('badenv', 'A B=1\n');
  file('seccomp.json', '{ "defaultAction": "SCMP_ACT_ALLOW" }');
  await using daemon = await recordingDaemon({
    'POST /containers/create': { status: 201, json: { Id: 'f'.repeat(64), Warnings: [] } },
  });
  const created = (): RecordedRequest | undefined => {
    const all = daemon.requests.splice(0);
    return all.find(({ path: where }) => where === '/containers/create');
  };
  let compared = 0;
  for (const line of CREATE_LINES) {
    const args = ['create', ...splitWords(line.replaceAll('FILES', folder.path))];
    const theirs = await run(cli.path, args, {
      cwd: folder.path,
      env: { DOCKER_HOST: daemon.host, DOCKER_CONFIG: path.join(folder.path, 'config'), ...ENV },
    });
    const wanted = created();
    if (old && (wanted === undefined || CHANGED_SINCE_20_10.some((each) => each.test(line)))) {
      continue;
    }
    const ours = await coracle(args, {
      host: daemon.host,
      program: 'docker',
      cwd: folder.path,
      env: ENV,
    });
    const sent = created();
    // Refusals that are newer than 20.10 were compared with those of the newest client.
    if (old && ours.code !== 0) continue;
    assert.deepEqual(ours, theirs, line);
    assert.equal(sent === undefined, wanted === undefined, line);
    if (sent !== undefined && wanted !== undefined) {
      assert.deepEqual(meaningOf(sent, old), meaningOf(wanted, old), line);
    }
    compared += 1;
  }
  return compared;
}

for (const cli of await dockerClis()) {
  const old = cli.version.startsWith('20.');
  // Texts are those of the newest client; of the older one the requests must agree.
  test(`create means the same to us and to docker ${cli.version}`, async () => {
    assert.ok((await compareLines(cli, old)) > 100);
  });
}

test('what Docker lets slip is refused here with a reason', async () => {
  await using daemon = await recordingDaemon({});
  for (const [line, reason] of [
    ['-p target=80,bogus=1 alpine', /invalid field key bogus/],
    ['--expose 80/abc alpine', /invalid proto: abc/],
  ] as const) {
    const { code, stderr } = await coracle(['create', ...splitWords(line)], { host: daemon.host });
    assert.equal(code, 125);
    assert.match(stderr, reason);
  }
  assert.deepEqual(daemon.requests, []);
});
