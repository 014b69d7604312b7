import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { HealthView } from '../../src/spec/docker/container-view.ts';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';

/** Healthchecks, as inspect and the list show them. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

async function healthOf(id: string): Promise<HealthView | undefined> {
  return (await box.inspect(id)).State.Health;
}

describe('health', () => {
  test('is starting, healthy, unhealthy, in inspect, list and events', async () => {
    const since = Math.trunc(Date.now() / 1000);
    const Healthcheck = { Test: ['CMD-SHELL', 'cat /ok'], Interval: 2e8, Retries: 2, Timeout: 5e9 };
    const id = await box.up({ Cmd: ['sleep', '100'], Healthcheck });
    assert.equal((await box.inspect(id)).State.Health?.Status, 'starting');
    await eventually(async () => (await box.inspect(id)).State.Health?.Status === 'unhealthy');
    await box.exec(id, 'sh', '-c', 'echo fine > /ok');
    const { Health } = await eventually(async () => {
      const { State } = await box.inspect(id);
      return State.Health?.Status === 'healthy' ? State : undefined;
    });
    assert.equal(Health?.FailingStreak, 0);
    assert.equal(Health?.Log?.at(-1)?.Output, 'fine\n');
    const listed = await box.daemon.api('GET', '/containers/json?filters={"health":["healthy"]}');
    assert.match(listed.text, /\(healthy\)/);
    const filters = encodeURIComponent(JSON.stringify({ container: [id] }));
    const until = Math.trunc(Date.now() / 1000) + 1;
    const events = await box.daemon.api(
      'GET',
      `/events?since=${since}&until=${until}&filters=${filters}`,
    );
    const actions = events.text
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { Action: string }).Action);
    assert.deepEqual(
      actions.filter((each) => each.startsWith('health')),
      ['health_status: unhealthy', 'health_status: healthy'],
    );
    await box.remove(id);
  });

  test('a probe that hangs is killed and counts as a failure', async () => {
    const Healthcheck = { Test: ['CMD', 'sleep', '100'], Interval: 1e8, Retries: 1, Timeout: 3e8 };
    const id = await box.up({ Cmd: ['sleep', '100'], Healthcheck });
    await eventually(async () => (await box.inspect(id)).State.Health?.Status === 'unhealthy');
    const { Health } = (await box.inspect(id)).State;
    assert.deepEqual(
      [Health?.Log?.[0]?.ExitCode, Health?.Log?.[0]?.Output],
      [-1, 'Health check exceeded timeout (0.3s)'],
    );
    await box.remove(id);
  });

  test('an unhealthy container is restarted when its label asks for it', async () => {
    const Healthcheck = { Test: ['CMD', 'false'], Interval: 1e8, Retries: 1 };
    const Labels = { 'coracle.restart-unhealthy': 'true' };
    const id = await box.up({ Cmd: ['sleep', '100'], StopTimeout: 0, Healthcheck, Labels });
    const { Pid } = (await box.inspect(id)).State;
    await eventually(async () => {
      const { State } = await box.inspect(id);
      return State.Running && State.Pid !== Pid;
    });
    await box.remove(id);
  });
});

describe('a start period', () => {
  test('has an interval of its own, and failures in it do not count', async () => {
    const Healthcheck = {
      ...{ Test: ['CMD', 'test', '-e', '/ok'], Retries: 1, Interval: 600e9 },
      ...{ StartPeriod: 600e9, StartInterval: 1e8 },
    };
    const id = await box.up({ Cmd: ['sleep', '100'], Healthcheck });
    await eventually(async () => ((await healthOf(id))?.Log?.length ?? 0) >= 4);
    const starting = await healthOf(id);
    assert.deepEqual([starting?.Status, starting?.FailingStreak], ['starting', 0]);
    assert.ok(starting?.Log?.every(({ ExitCode }) => ExitCode === 1));
    await box.exec(id, 'touch', '/ok');
    await eventually(async () => (await healthOf(id))?.Status === 'healthy');
    await box.remove(id);
  });
});

describe('results', () => {
  test('the last five are kept, oldest first, with the first 4 kB of what they said', async () => {
    const Test = [
      'CMD-SHELL',
      'echo x >> /runs; wc -l < /runs; head -c 10000 /dev/zero | tr "\\0" y',
    ];
    const id = await box.up({ Cmd: ['sleep', '100'], Healthcheck: { Test, Interval: 1e8 } });
    const log = await eventually(async () => {
      const results = (await healthOf(id))?.Log ?? [];
      return Number.parseInt(results.at(-1)?.Output ?? '', 10) >= 8 ? results : undefined;
    });
    const numbers = log.map(({ Output }) => Number.parseInt(Output, 10));
    assert.deepEqual(
      numbers,
      numbers.map((_, i) => (numbers[0] ?? 0) + i),
    );
    assert.equal(numbers.length, 5);
    for (const { Output, Start, End, ExitCode } of log) {
      assert.deepEqual([Output.length, ExitCode], [4096, 0]);
      assert.ok(Date.parse(Start) <= Date.parse(End));
    }
    await box.remove(id);
  });

  test('the next daemon begins anew with them', async () => {
    const Healthcheck = { Test: ['CMD', 'false'], Interval: 1e8, Retries: 1 };
    const id = await box.up({ Cmd: ['sleep', '100'], Healthcheck });
    await eventually(async () => (await healthOf(id))?.Status === 'unhealthy');
    const last = (await healthOf(id))?.Log?.at(-1)?.Start ?? '';
    await box.daemon.restart('SIGKILL');
    const again = await eventually(async () => {
      const health = await healthOf(id);
      return health?.Status === 'unhealthy' ? health : undefined;
    });
    assert.ok((again.Log?.[0]?.Start ?? '') > last);
    await box.remove(id);
  });
});

test('a container that is removed in the middle of a probe leaves no supervisor', async () => {
  const Healthcheck = { Test: ['CMD', 'true'], Interval: 1e6 };
  for (let round = 0; round < 20; round += 1) {
    const ids = await Promise.all(
      Array.from({ length: 5 }, () => box.up({ Cmd: ['sleep', '100'], Healthcheck })),
    );
    await sleep(12 * round);
    await Promise.all(ids.map((id) => box.remove(id)));
  }
  await eventually(() => takeStock(box.daemon).processes.length === 0, {
    what: `the end of ${takeStock(box.daemon).processes.join(', ')}`,
  });
});

test("an image's check is taken over, and --no-healthcheck turns it off", async () => {
  const made = await box.up({ Cmd: ['sleep', '100'] });
  const changes = encodeURIComponent('HEALTHCHECK --interval=100ms CMD true');
  await box.daemon.json('POST', `/commit?container=${made}&repo=checked&changes=${changes}`);
  const checked = await box.up({ Image: 'checked', Cmd: ['sleep', '100'] });
  await eventually(async () => (await healthOf(checked))?.Status === 'healthy');
  const off = { Image: 'checked', Cmd: ['sleep', '100'], Healthcheck: { Test: ['NONE'] } };
  const unchecked = await box.up(off);
  const view = await box.inspect(unchecked);
  assert.deepEqual([view.State.Health, view.Config.Healthcheck?.Test], [undefined, ['NONE']]);
  const { text } = await box.daemon.api('GET', '/containers/json?filters={"health":["none"]}');
  assert.ok(text.includes(unchecked) && !text.includes(checked));
  for (const id of [made, checked, unchecked]) await box.remove(id);
});
