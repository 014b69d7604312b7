import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { ContainerSummary } from '../../src/spec/docker/container-view.ts';
import { type Box, type CreateBody, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';

/** The life of a container through the API, with a real runtime. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const list = async (filters: object = {}, more = 'all=1'): Promise<ContainerSummary[]> => {
  const query = encodeURIComponent(JSON.stringify(filters));
  const found = await box.daemon.json('GET', `/containers/json?${more}&filters=${query}`);
  return found as ContainerSummary[];
};

describe('create', () => {
  test('merges the image with the request and answers an ID', async () => {
    const id = await box.create({ Cmd: ['echo', 'hi'], Env: ['A=1'], Labels: { l: 'v' } }, 'merge');
    const view = await box.inspect(id);
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.equal(view.Name, '/merge');
    assert.equal(view.State.Status, 'created');
    assert.deepEqual([view.Path, ...view.Args], ['echo', 'hi']);
    assert.deepEqual(view.Config.Env, ['A=1', 'PATH=/bin:/usr/bin']);
    assert.equal(view.Config.Hostname, id.slice(0, 12));
    assert.equal(view.State.StartedAt, '0001-01-01T00:00:00Z');
    await box.remove(id);
  });

  test('gives a name of its own when there is none', async () => {
    const id = await box.create({});
    assert.match((await box.inspect(id)).Name, /^\/[a-z]+_[a-z]+\d*$/);
    await box.remove(id);
  });

  const refused: readonly (readonly [string, CreateBody, number, RegExp])[] = [
    ['an image that is not there', { Image: 'no/such' }, 404, /^No such image: no\/such:latest$/],
    ['an image name in capitals', { Image: 'library/NOT' }, 400, /must be lowercase/],
    ['nothing to run', { Entrypoint: [''], Cmd: [] }, 400, /^no command specified$/],
    ['a relative working directory', { WorkingDir: 'x' }, 400, /it needs to be an absolute path/],
    ['an unknown signal', { StopSignal: 'SIGNOPE' }, 400, /^invalid signal: SIGNOPE$/],
    ['a nameless variable', { Env: ['=x'] }, 400, /^invalid environment variable: =x$/],
    [
      'too little memory',
      { HostConfig: { Memory: 1 } },
      400,
      /Minimum memory limit allowed is 6MB/,
    ],
    ['a text for memory', { HostConfig: { Memory: 'x' } }, 400, /cannot unmarshal string/],
    ['more CPUs than there are', { HostConfig: { NanoCpus: 1e15 } }, 400, /range of CPUs is from/],
    [
      '--rm with a restart policy',
      { HostConfig: { AutoRemove: true, RestartPolicy: { Name: 'always' } } },
      400,
      /can't create 'AutoRemove' container with restart policy/,
    ],
    ['an unknown runtime', { HostConfig: { Runtime: 'nope' } }, 400, /invalid runtime name: nope/],
    [
      'an unknown capability',
      { HostConfig: { CapAdd: ['NOPE'] } },
      400,
      /unknown capability: "CAP_NOPE"/,
    ],
    [
      'a negative shm size',
      { HostConfig: { ShmSize: -1 } },
      400,
      /SHM size can not be less than 0/,
    ],
    [
      'a GPU',
      { HostConfig: { DeviceRequests: [{ Count: 1, Capabilities: [['gpu']] }] } },
      400,
      /--gpus/,
    ],
    [
      'a variable for the ID that is taken',
      { Env: ['ID=x'], HostConfig: { ContainerIDEnv: 'ID' } },
      409,
      /already set/,
    ],
    [
      'a container to join that is not there',
      { HostConfig: { PidMode: 'container:gone' } },
      404,
      /gone/,
    ],
  ];
  for (const [what, body, status, message] of refused) {
    test(`refuses ${what} and makes nothing`, async () => {
      const answer = await box.tryCreate(body);
      assert.equal(answer.status, status, answer.text);
      assert.match((answer.json() as { message: string }).message, message);
      assert.deepEqual(await list(), []);
    });
  }

  test('refuses a name that is taken, in words that clients know', async () => {
    const id = await box.create({}, 'taken');
    const answer = await box.tryCreate({}, 'taken');
    assert.equal(answer.status, 409);
    assert.equal(
      (answer.json() as { message: string }).message,
      `Conflict. The container name "/taken" is already in use by container "${id}". You have to remove (or rename) that container to be able to reuse that name.`,
    );
    assert.equal((await box.tryCreate({}, 'a%20b')).status, 400);
    await box.remove(id);
  });
});

describe('start', () => {
  for (const [command, exitCode, message] of [
    ['nope', 127, /exec: "nope": executable file not found in \$PATH/],
    ['/nope', 127, /exec: "\/nope": stat \/nope: no such file or directory/],
    ['/etc/motd', 126, /exec: "\/etc\/motd": permission denied/],
    ['/tmp', 126, /exec: "\/tmp": (?:is a directory|permission denied)/],
  ] as const) {
    for (const Runtime of ['crun', 'runc']) {
      test(`says in Docker's words that ${command} cannot run (${Runtime})`, async () => {
        const id = await box.create({ Cmd: [command], HostConfig: { Runtime } });
        const answer = await box.daemon.api('POST', `/containers/${id}/start`);
        assert.equal(answer.status, 400, answer.text);
        const text = (answer.json() as { message: string }).message;
        assert.match(text, /^failed to create task for container: .*OCI runtime create failed: /);
        assert.match(text, message);
        const { State } = await box.inspect(id);
        assert.deepEqual([State.Status, State.ExitCode], ['created', exitCode]);
        assert.match(State.Error, message);
        await box.remove(id);
      });
    }
  }

  test('answers 304 for one that runs, and 404 for none', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] });
    assert.equal((await box.daemon.api('POST', `/containers/${id}/start`)).status, 304);
    const none = await box.daemon.api('POST', '/containers/nope/start');
    assert.equal(none.text.trim(), '{"message":"No such container: nope"}');
    await box.remove(id);
  });

  test('a failed start leaves nothing behind, and the next one works', async () => {
    const target = '/tmp/coracle-missing-source';
    const Mounts = [{ Type: 'bind', Source: '/etc', Target: '/x' }];
    const id = await box.create({ Cmd: ['true'], User: 'nobody-at-all', HostConfig: { Mounts } });
    const before = takeStock(box.daemon, [id]);
    const failed = await box.daemon.api('POST', `/containers/${id}/start`);
    assert.match(failed.text, /unable to find user nobody-at-all: no matching entries/, target);
    const left = takeStock(box.daemon, [id]);
    assert.deepEqual(left.mounts, before.mounts);
    assert.deepEqual(left.netns, before.netns);
    assert.deepEqual(left.processes, before.processes);
    await box.remove(id);
  });
});

describe('run', () => {
  test('exit codes and both streams come back', async () => {
    const command = ['sh', '-c', 'echo out; echo err >&2; exit 3'];
    assert.deepEqual(await box.run({ Cmd: command }), {
      code: 3,
      stdout: 'out\n',
      stderr: 'err\n',
    });
    assert.equal((await box.run({ Cmd: command, HostConfig: { Runtime: 'runc' } })).code, 3);
  });

  test('--rm removes it, and a wait for the removal gets the code', async () => {
    const id = await box.create({ Cmd: ['sh', '-c', 'exit 9'], HostConfig: { AutoRemove: true } });
    const removed = box.wait(id, 'removed');
    await box.start(id);
    assert.equal(await removed, 9);
    assert.equal((await box.daemon.api('GET', `/containers/${id}/json`)).status, 404);
  });

  test('a wait for the next exit passes over the one that was', async () => {
    const id = await box.up({ Cmd: ['true'] });
    await box.wait(id);
    const next = box.wait(id, 'next-exit');
    await box.start(id);
    assert.equal(await next, 0);
    assert.equal((await box.daemon.api('POST', `/containers/${id}/wait?condition=x`)).status, 400);
    await box.remove(id);
  });

  test('OOM is told: the flag, the code and the event', async () => {
    const eat = 'head -c 64m /dev/zero | tail >/dev/null';
    const HostConfig = { Memory: 16 << 20, MemorySwap: 16 << 20 };
    const id = await box.up({
      Cmd: ['sh', '-c', `exec ${eat.split(' | ')[1]} < /dev/zero`],
      HostConfig,
    });
    assert.equal(await box.wait(id), 137);
    assert.equal((await box.inspect(id)).State.OOMKilled, true);
    await box.remove(id);
  });
});

describe('stop, kill, restart, pause', () => {
  test('a stop asks first and kills later', async () => {
    const polite = await box.up({
      Cmd: ['sh', '-c', 'trap "exit 5" TERM; while :; do sleep 0.1; done'],
    });
    await eventually(() => box.exec(polite, 'true'));
    await box.daemon.json('POST', `/containers/${polite}/stop?t=10`);
    assert.equal((await box.inspect(polite)).State.ExitCode, 5);
    assert.equal((await box.daemon.api('POST', `/containers/${polite}/stop`)).status, 304);
    const deaf = await box.up({ Cmd: ['sleep', '100'] });
    const started = performance.now();
    await box.daemon.json('POST', `/containers/${deaf}/stop?t=1`);
    assert.ok(performance.now() - started >= 1000);
    assert.equal((await box.inspect(deaf)).State.ExitCode, 137);
    await box.remove(polite);
    await box.remove(deaf);
  });

  test('kill sends any signal, by number and by name', async () => {
    const id = await box.up({
      Cmd: ['sh', '-c', 'trap "echo usr1" USR1; trap "exit 4" HUP; while :; do sleep 0.05; done'],
    });
    await eventually(() => box.exec(id, 'true'));
    await box.daemon.json('POST', `/containers/${id}/kill?signal=USR1`);
    await eventually(async () => (await box.logs(id)) === 'usr1\n');
    await box.daemon.json('POST', `/containers/${id}/kill?signal=1`);
    assert.equal(await box.wait(id), 4);
    const again = await box.daemon.api('POST', `/containers/${id}/kill`);
    assert.equal(again.status, 409);
    assert.match(again.text, /cannot kill container: .*container .* is not running/);
    const bad = await box.daemon.api('POST', `/containers/${id}/kill?signal=NOPE`);
    assert.match(bad.text, /invalid signal: NOPE/);
    await box.remove(id);
  });

  test('pause holds it still, stop still ends it', async () => {
    const id = await box.up({ Cmd: ['sh', '-c', 'while :; do echo x; sleep 0.05; done'] });
    await box.daemon.json('POST', `/containers/${id}/pause`);
    assert.match((await list({ id: [id] }))[0]?.Status ?? '', /^Up .* \(Paused\)$/);
    const before = await box.logs(id);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(await box.logs(id), before);
    assert.equal((await box.daemon.api('POST', `/containers/${id}/pause`)).status, 409);
    const exec = { Cmd: ['true'] };
    assert.equal((await box.daemon.api('POST', `/containers/${id}/exec`, exec)).status, 409);
    await box.daemon.json('POST', `/containers/${id}/unpause`);
    await box.daemon.json('POST', `/containers/${id}/pause`);
    await box.daemon.json('POST', `/containers/${id}/stop?t=1`);
    assert.equal((await box.inspect(id)).State.Status, 'exited');
    await box.remove(id);
  });

  test('restart gives it another life', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] });
    const first = (await box.inspect(id)).State;
    await box.daemon.json('POST', `/containers/${id}/restart?t=0`);
    const second = (await box.inspect(id)).State;
    assert.equal(second.Status, 'running');
    assert.notEqual(second.Pid, first.Pid);
    await box.remove(id);
  });
});

describe('restart policies', () => {
  test('on-failure:2 tries three times in all, waiting longer each time', async () => {
    const RestartPolicy = { Name: 'on-failure', MaximumRetryCount: 2 };
    const id = await box.up({
      Cmd: ['sh', '-c', 'echo run; exit 1'],
      HostConfig: { RestartPolicy },
    });
    const view = await box.until(id, 'exited');
    assert.equal(view.RestartCount, 2);
    assert.equal(view.State.ExitCode, 1);
    assert.equal(await box.logs(id), 'run\nrun\nrun\n');
    await box.remove(id);
  });

  test('the waits double: 0.1, 0.2, 0.4 seconds and so on', async () => {
    const id = await box.up({ Cmd: ['false'], HostConfig: { RestartPolicy: { Name: 'always' } } });
    const began = performance.now();
    await eventually(async () => (await box.inspect(id)).RestartCount >= 4);
    assert.ok(performance.now() - began >= 1400, 'four waits are 1.5 seconds');
    const { State } = await box.until(id, 'restarting');
    // Also while the next run is being prepared.
    assert.deepEqual([State.Restarting, State.Running, State.ExitCode], [true, true, 1]);
    await box.remove(id);
  });

  test('a stop during the wait ends it for good', async () => {
    const RestartPolicy = { Name: 'always' };
    const id = await box.up({ Cmd: ['false'], HostConfig: { RestartPolicy } });
    await eventually(async () => (await box.inspect(id)).RestartCount >= 2);
    await box.daemon.json('POST', `/containers/${id}/stop`);
    const { RestartCount } = await box.inspect(id);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    const view = await box.inspect(id);
    assert.deepEqual([view.State.Status, view.RestartCount], ['exited', RestartCount]);
    await box.remove(id);
  });
});

describe('remove', () => {
  test('refuses one that runs, unless forced', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] }, 'busy');
    const answer = await box.daemon.api('DELETE', `/containers/${id}`);
    assert.equal(answer.status, 409);
    assert.match(answer.text, /container is running: stop the container before removing or force/);
    await box.remove(id);
    assert.equal((await box.daemon.api('DELETE', `/containers/${id}?force=1`)).status, 404);
  });
});

describe('list', () => {
  test('shows running ones, all, the newest, and those that match', async () => {
    const a = await box.create({ Labels: { role: 'db', tier: '1' } }, 'first-a');
    const b = await box.up({ Cmd: ['sleep', '99'], Labels: { role: 'web' } }, 'second-b');
    const c = await box.up({ Cmd: ['sh', '-c', 'exit 6'] }, 'third-c');
    await box.wait(c);
    const ids = async (filters: object, more = 'all=1'): Promise<string[]> =>
      (await list(filters, more)).map(({ Id }) => Id);
    assert.deepEqual(await ids({}, ''), [b]);
    assert.deepEqual(await ids({}), [c, b, a]);
    assert.deepEqual(await ids({}, 'limit=2'), [c, b]);
    assert.deepEqual(await ids({ label: ['role'] }), [b, a]);
    assert.deepEqual(await ids({ label: ['role=db', 'tier'] }), [a]);
    assert.deepEqual(await ids({ status: ['exited'] }, ''), [c]);
    assert.deepEqual(await ids({ exited: ['6'] }), [c]);
    assert.deepEqual(await ids({ exited: ['0'] }), []);
    assert.deepEqual(await ids({ name: ['^/second'] }), [b]);
    assert.deepEqual(await ids({ id: [a.slice(0, 10)] }), [a]);
    assert.deepEqual(await ids({ ancestor: [box.image] }), [c, b, a]);
    assert.deepEqual(await ids({ before: ['second-b'] }), [a]);
    assert.deepEqual(await ids({ since: ['second-b'] }), [c]);
    assert.deepEqual(await ids({ network: ['none'], health: ['none'] }), [c, b, a]);
    assert.equal((await box.daemon.api('GET', '/containers/json?filters={"x":["y"]}')).status, 400);
    const [line] = await list({ name: ['third-c'] });
    assert.equal(line?.Image, box.image);
    assert.equal(line?.Command, "sh -c 'exit 6'");
    assert.match(line?.Status ?? '', /^Exited \(6\) .* ago$/);
    for (const id of [a, b, c]) await box.remove(id);
  });
});

test('rename moves the name, and frees the old one', async () => {
  const id = await box.create({}, 'old-name');
  await box.daemon.json('POST', `/containers/${id}/rename?name=new-name`);
  assert.equal((await box.inspect('new-name')).Id, id);
  assert.equal((await box.daemon.api('GET', '/containers/old-name/json')).status, 404);
  const other = await box.create({}, 'old-name');
  const taken = await box.daemon.api('POST', `/containers/${other}/rename?name=new-name`);
  assert.equal(taken.status, 409);
  await box.remove(id);
  await box.remove(other);
});

test('a hundred lives leave no mount, cgroup, namespace, descriptor or process', async () => {
  const life = async (): Promise<string> => {
    const id = await box.up({ Cmd: ['true'], HostConfig: { NetworkMode: 'bridge' } });
    await box.wait(id);
    await box.remove(id);
    return id;
  };
  await life();
  const before = takeStock(box.daemon);
  const ids: string[] = [];
  for (let round = 0; round < 20; round += 1) {
    ids.push(...(await Promise.all([life(), life(), life(), life(), life()])));
  }
  await eventually(
    () => {
      const left = takeStock(box.daemon, ids);
      assert.deepEqual(left.cgroups, []);
      assert.deepEqual(left.mounts, before.mounts);
      assert.deepEqual(left.netns, before.netns);
      assert.deepEqual(left.processes, before.processes);
      return left.descriptors.length <= before.descriptors.length + 2;
    },
    { what: 'descriptors to be closed' },
  );
});
