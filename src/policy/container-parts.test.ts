import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { NAME_PATTERN } from '../base/id.ts';
import { type ContainerConfig, containerConfig } from '../spec/docker/container.ts';
import { cgroupPlace } from './cgroup-path.ts';
import { checkConfig, commandOf, mergeConfig } from './container-config.ts';
import { generatedName } from './container-names.ts';
import { statusText } from './container-status.ts';
import { containerEnvironment, overrideEnvironment } from './environment.ts';
import { afterProbe, healthPlan, probeDelayMs } from './health.ts';
import { filterPs, psArguments } from './ps-table.ts';
import { parseSignal } from './signals.ts';
import { rlimitsOf } from './ulimits.ts';

/** Small rules about containers, one by one. */

const config = (fields: Partial<ContainerConfig>): ContainerConfig => ({
  ...containerConfig.zero(),
  ...fields,
});

describe('image and request', () => {
  const image = config({
    Entrypoint: ['/entry'],
    Cmd: ['default'],
    Env: ['A=image', 'B=image'],
    Labels: { a: 'image', b: 'image' },
    Volumes: { '/v': {} },
    User: 'user',
    WorkingDir: '/work',
  });

  test('make one command', () => {
    const command = (fields: Partial<ContainerConfig>): string[] => {
      const { path, args } = commandOf(mergeConfig(config(fields), image));
      return [path, ...args];
    };
    assert.deepEqual(command({}), ['/entry', 'default']);
    assert.deepEqual(command({ Cmd: ['own'] }), ['/entry', 'own']);
    assert.deepEqual(command({ Entrypoint: ['/own'] }), ['/own']);
    assert.deepEqual(command({ Entrypoint: [], Cmd: ['x'] }), ['x']);
    assert.deepEqual(command({ Entrypoint: [''], Cmd: ['x'] }), ['x']);
    assert.throws(() => commandOf(config({})), /^Error: no command specified|no command specified/);
  });

  test('make one environment, with the request before the image', () => {
    const merged = mergeConfig(config({ Env: ['B=own', 'C=own'], Labels: { b: 'own' } }), image);
    assert.deepEqual(merged.Env, ['B=own', 'C=own', 'A=image']);
    assert.deepEqual(merged.Labels, { a: 'image', b: 'own' });
    assert.deepEqual([merged.User, merged.WorkingDir], ['user', '/work']);
  });

  test('make one healthcheck', () => {
    const check = {
      Test: ['CMD', 'x'],
      Interval: 1e9,
      Timeout: 2e9,
      StartPeriod: 0,
      StartInterval: 0,
      Retries: 3,
    };
    const own = { ...check, Test: [], Interval: 5e9, Timeout: 0, Retries: 0 };
    assert.deepEqual(
      mergeConfig(config({ Healthcheck: own }), config({ Healthcheck: check })).Healthcheck,
      { ...check, Interval: 5e9 },
    );
    assert.throws(
      () => checkConfig(config({ Cmd: ['x'], Healthcheck: { ...check, Interval: 5 } })),
      /Interval in Healthcheck cannot be less than 1ms/,
    );
  });

  test('a working directory is absolute and clean', () => {
    assert.equal(checkConfig(config({ Cmd: ['x'], WorkingDir: '/a/../b/' })).WorkingDir, '/b');
    assert.throws(
      () => checkConfig(config({ Cmd: ['x'], WorkingDir: 'a' })),
      /needs to be an absolute path/,
    );
  });
});

test('the environment: defaults, then the container, HOME unless it has one', () => {
  const base = { hostname: 'h', home: '/home/u', tty: true, idVariable: 'ID', id: 'abc' };
  assert.deepEqual(containerEnvironment({ ...base, own: ['PATH=/x', 'A=1', 'TERM'] }), [
    'PATH=/x',
    'HOSTNAME=h',
    'ID=abc',
    'A=1',
    'HOME=/home/u',
  ]);
  assert.deepEqual(overrideEnvironment(['A=1', 'B=2'], ['A=3', 'C=']), ['A=3', 'B=2', 'C=']);
});

test('signals by number and by name', () => {
  assert.deepEqual(
    ['9', 'KILL', 'sigkill', 'SIGRTMIN', 'RTMIN+3', 'RTMAX-1', 'WINCH'].map(parseSignal),
    [9, 9, 9, 34, 37, 63, 28],
  );
  for (const bad of ['', '0', '65', 'NOPE', 'RTMIN+99', '-1', '1.5']) {
    assert.throws(() => parseSignal(bad), { message: `invalid signal: ${bad}` });
  }
});

test('cgroups lie where the driver puts them', () => {
  const id = 'abc';
  assert.deepEqual(cgroupPlace({ driver: 'cgroupfs', parent: '', id }), {
    runtimePath: '/coracle/abc',
    folder: '/coracle/abc',
  });
  assert.equal(cgroupPlace({ driver: 'cgroupfs', parent: '/a/../../b/', id }).folder, '/a/b/abc');
  assert.deepEqual(cgroupPlace({ driver: 'systemd', parent: 'a-b.slice', id }), {
    runtimePath: 'a-b.slice:coracle:abc',
    folder: '/a.slice/a-b.slice/coracle-abc.scope',
  });
  assert.equal(
    cgroupPlace({ driver: 'systemd', parent: '', id }).folder,
    '/system.slice/coracle-abc.scope',
  );
});

test('names are such as a user may give, and there are many', () => {
  const names = new Set<string>();
  for (let i = 0; i < 256; i += 1) {
    const name = generatedName(Uint8Array.of(i, 7 * i, 3 * i, i), 0);
    assert.match(name, NAME_PATTERN);
    names.add(name);
  }
  assert.ok(names.size > 200);
  assert.match(generatedName(Uint8Array.of(0, 0, 0, 0), 7), /^[a-z]+_[a-z]+7$/);
});

test('the status line reads as Docker’s', () => {
  const base = { exitCode: 3, upMs: 120_000, endedMs: 60_000, health: undefined };
  const text = (status: Parameters<typeof statusText>[0]['status'], more: object = {}): string =>
    statusText({ ...base, status, ...more });
  assert.deepEqual(
    [
      text('running'),
      text('running', { health: 'healthy' }),
      text('running', { health: 'starting' }),
      text('paused'),
    ],
    [
      'Up 2 minutes',
      'Up 2 minutes (healthy)',
      'Up 2 minutes (health: starting)',
      'Up 2 minutes (Paused)',
    ],
  );
  assert.deepEqual(
    [text('exited'), text('restarting'), text('created'), text('removing'), text('dead')],
    [
      'Exited (3) About a minute ago',
      'Restarting (3) About a minute ago',
      'Created',
      'Removal In Progress',
      'Dead',
    ],
  );
});

describe('health', () => {
  const Healthcheck = {
    Test: ['CMD-SHELL', 'x'],
    Interval: 1e9,
    Timeout: 0,
    StartPeriod: 5e9,
    StartInterval: 0,
    Retries: 2,
  };
  const plan = healthPlan(config({ Healthcheck }));
  if (plan === undefined) throw new Error('there is a plan');

  test('has a plan, unless it is turned off', () => {
    assert.deepEqual(plan.command, ['/bin/sh', '-c', 'x']);
    assert.deepEqual([plan.intervalMs, plan.timeoutMs, plan.startIntervalMs], [1000, 30_000, 5000]);
    assert.equal(
      healthPlan(config({ Healthcheck: { ...Healthcheck, Test: ['NONE'] } })),
      undefined,
    );
    assert.equal(healthPlan(config({})), undefined);
  });

  test('counts failures once the start period is over', () => {
    const fresh = { status: 'starting', failingStreak: 0 } as const;
    assert.deepEqual(afterProbe(fresh, { exitCode: 1, ageMs: 4999 }, plan), fresh);
    const once = afterProbe(fresh, { exitCode: 1, ageMs: 5000 }, plan);
    assert.deepEqual(once, { status: 'starting', failingStreak: 1 });
    const twice = afterProbe(once, { exitCode: 1, ageMs: 6000 }, plan);
    assert.deepEqual(twice, { status: 'unhealthy', failingStreak: 2 });
    assert.deepEqual(afterProbe(twice, { exitCode: 0, ageMs: 7000 }, plan), {
      status: 'healthy',
      failingStreak: 0,
    });
  });

  test('looks no more often than the interval in the start period', () => {
    assert.equal(probeDelayMs('starting', 0, plan), 1000);
    assert.equal(probeDelayMs('starting', 0, { ...plan, startIntervalMs: 100 }), 100);
    assert.equal(probeDelayMs('healthy', 0, { ...plan, startIntervalMs: 100 }), 1000);
  });
});

test('top shows the container’s processes only', () => {
  const output = 'UID   PID  PPID CMD\nroot    1     0 init\nroot   77     1 sleep 100 200\n';
  assert.deepEqual(filterPs(output, new Set([77])), {
    Titles: ['UID', 'PID', 'PPID', 'CMD'],
    Processes: [['root', '77', '1', 'sleep 100 200']],
  });
  assert.throws(() => filterPs('A B\n1 2\n', new Set()), /Couldn't find PID field/);
  assert.deepEqual(psArguments(''), ['-ef']);
  assert.throws(() => psArguments('-o pid=X'), /specifying "pid=X" is not allowed/);
});

test('an unlimited ulimit keeps all its digits', () => {
  const [limit] = rlimitsOf([{ Name: 'core', Soft: -1, Hard: -1 }], {});
  assert.equal(
    JSON.stringify(limit),
    '{"type":"RLIMIT_CORE","soft":18446744073709551615,"hard":18446744073709551615}',
  );
});
