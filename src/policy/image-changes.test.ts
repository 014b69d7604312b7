import assert from 'node:assert/strict';
import { test } from 'node:test';
import { containerConfig } from '../spec/docker/container.ts';
import { applyChanges } from './image-changes.ts';

/** A `§` stands for a dollar sign, which linters take for a mistake before a brace. */
const dollars = (text: string): string => text.replaceAll('§', '$');

const change = (...changes: string[]) => applyChanges(containerConfig.zero(), changes.map(dollars));

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

test('variables stand for those of the config, quotes and backslashes keep them out', () => {
  const before = { ...containerConfig.zero(), Env: ['PATH=/bin', 'N=8', 'EMPTY='] };
  const config = applyChanges(
    before,
    [
      'ENV PATH=$PATH:/opt MORE="$PATH and §{N}" PLAIN=\'$N\' ESCAPED=\\$N COST=5$',
      'ENV OTHER="§{EMPTY:-or this}" THEN=§{N:+yes}§{EMPTY:+no} GONE=[$NOWHERE] NESTED=§{X:-<$N>}',
      'EXPOSE 80$N',
      'WORKDIR /srv/$N',
      'LABEL of="$N"',
      'VOLUME ["/v$N"]',
      'CMD echo $N',
      'ENV LONG=a \\',
      '  LONGER=b',
    ].map(dollars),
  );
  assert.deepEqual(config.Env, [
    ...['PATH=/bin:/opt', 'N=8', 'EMPTY=', 'MORE=/bin and 8', 'PLAIN=$N', 'ESCAPED=$N', 'COST=5$'],
    ...['OTHER=or this', 'THEN=yes', 'GONE=[]', 'NESTED=<8>', 'LONG=a', 'LONGER=b'],
  ]);
  assert.deepEqual(Object.keys(config.ExposedPorts), ['808/tcp']);
  assert.deepEqual([config.WorkingDir, config.Labels], ['/srv/8', { of: '8' }]);
  assert.deepEqual(Object.keys(config.Volumes), ['/v8']);
  assert.deepEqual(config.Cmd, ['/bin/sh', '-c', 'echo $N']);
});

test('a new entrypoint voids the command that was for the old one', () => {
  const before = { ...containerConfig.zero(), Cmd: ['-x'], Shell: ['/bin/ash', '-c'] };
  assert.equal(applyChanges(before, ['ENTRYPOINT ["/a"]']).Cmd, null);
  const both = applyChanges(before, ['CMD run', 'ENTRYPOINT ["/a"]']);
  assert.deepEqual(both.Cmd, ['/bin/ash', '-c', 'run']);
});

test('what is no change of a config is refused in the builder’s words', () => {
  for (const [text, message] of [
    ['SHELL ["/bin/sh"]', 'SHELL is not a valid change command'],
    ['constructor x', 'constructor is not a valid change command'],
    ['LABEL =x', 'LABEL names can not be blank'],
    ['ENV A=1 B', `Syntax error - can't find = in "B". Must be of the form: name=value`],
    [`ENV A="x`, 'unexpected end of statement while looking for matching double-quote'],
    [`ENV A='x`, 'unexpected end of statement while looking for matching single-quote'],
    ['ENV A=§{B', 'syntax error: missing "}" in a variable'],
    ['ENV A=§{B^^}', 'unsupported modifier (^^) in substitution'],
    ['ENV A=§{B:?needed}', 'B: needed'],
    ['VOLUME [""]', 'VOLUME specified can not be an empty string'],
    ['STOPSIGNAL SIGNOPE', 'invalid signal: SIGNOPE'],
    ['EXPOSE 80/icmp', 'Invalid containerPort: 80/icmp'],
    ['EXPOSE 90-80', 'Invalid containerPort: 90-80'],
    ['ONBUILD FROM x', "FROM isn't allowed as an ONBUILD trigger"],
    ['HEALTHCHECK NONE x', 'HEALTHCHECK NONE takes no arguments'],
    ['HEALTHCHECK CMD', 'Missing command after HEALTHCHECK CMD'],
    ['HEALTHCHECK CMD []', 'Missing command after HEALTHCHECK CMD'],
    ['HEALTHCHECK TRY x', 'Unknown type "TRY" in HEALTHCHECK (try CMD)'],
    ['HEALTHCHECK --retries=1.5 CMD x', 'HEALTHCHECK: invalid flag --retries=1.5'],
    ['HEALTHCHECK --retries=-1 CMD x', '--retries cannot be negative (got -1)'],
    ['HEALTHCHECK --timeout=1us CMD x', 'HEALTHCHECK: --timeout cannot be less than 1ms (got 1us)'],
    ['HEALTHCHECK --every=1s CMD x', 'unknown flag: --every'],
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
