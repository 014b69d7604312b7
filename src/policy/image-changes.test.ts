import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerConfig } from '../spec/docker/container.ts';
import { applyChanges } from './image-changes.ts';

const change = (...changes: string[]) => applyChanges(containerConfig.zero(), changes);

test('each instruction changes its part of the config', () => {
  const config = change(
    'CMD echo hi',
    'entrypoint ["/init", "-x"]',
    'ENV A=1 B="two words" C=\'it is\'',
    'ENV OLD the rest of it',
    'ENV A=2',
    'LABEL org.x="a b" y=1',
    'EXPOSE 80 443/udp 8000-8002',
    'VOLUME ["/data", "/more"]',
    'WORKDIR /srv',
    'WORKDIR app',
    'USER 1000:1000',
    'STOPSIGNAL SIGINT',
    'ONBUILD RUN true',
    'HEALTHCHECK --interval=5s --retries=3 CMD curl -f localhost',
  );
  assert.deepEqual(config.Cmd, ['/bin/sh', '-c', 'echo hi']);
  assert.deepEqual(config.Entrypoint, ['/init', '-x']);
  assert.deepEqual(config.Env, ['A=2', 'B=two words', 'C=it is', 'OLD=the rest of it']);
  assert.deepEqual(config.Labels, { 'org.x': 'a b', y: '1' });
  assert.deepEqual(Object.keys(config.ExposedPorts), [
    ...['80/tcp', '443/udp', '8000/tcp', '8001/tcp', '8002/tcp'],
  ]);
  assert.deepEqual(Object.keys(config.Volumes), ['/data', '/more']);
  assert.equal(config.WorkingDir, '/srv/app');
  assert.equal(config.User, '1000:1000');
  assert.equal(config.StopSignal, 'SIGINT');
  assert.deepEqual(config.OnBuild, ['RUN true']);
  assert.deepEqual(config.Healthcheck?.Test, ['CMD-SHELL', 'curl -f localhost']);
  assert.equal(config.Healthcheck?.Interval, 5e9);
  assert.equal(config.Healthcheck?.Retries, 3);
});

test('what is no change of a config is refused in the builder’s words', () => {
  for (const [text, message] of [
    ['RUN true', 'RUN is not a valid change command'],
    ['FROM scratch', 'FROM is not a valid change command'],
    ['toString x', 'toString is not a valid change command'],
    ['CMD', 'CMD requires at least one argument'],
    ['ENV A', 'ENV must have two arguments'],
    ['EXPOSE 99999', 'Invalid containerPort: 99999'],
    ['ONBUILD ONBUILD RUN x', "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"],
    ['HEALTHCHECK --interval=x CMD y', 'HEALTHCHECK: invalid flag --interval=x'],
  ] as const) {
    assert.throws(() => change(text), { message });
  }
});
