import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseDockerfile } from '../../formats/dockerfile.ts';
import { containerConfig } from '../../spec/docker/container.ts';
import { BuildArguments } from './build-arguments.ts';
import { isSameStep, sourcesDigest } from './cache.ts';
import { copyOwner } from './copy-owner.ts';
import { planBuild } from './stages.ts';

const plan = (
  lines: readonly string[],
  options: { target?: string; labels?: Record<string, string> } = {},
) => planBuild(parseDockerfile(lines.join('\n')), { target: '', labels: {}, ...options });

describe('the plan of a build', () => {
  const lines = ['ARG V', 'FROM a AS One', 'RUN x', 'FROM one', 'RUN y', 'FROM scratch'];

  test('has stages, counts steps, and stops at its target', () => {
    const { globals, stages, stepsTotal } = plan(lines);
    assert.deepEqual(
      stages.map(({ name, base, instructions }) => [name, base, instructions.length]),
      [
        ['one', 'a', 1],
        ['', 'one', 1],
        ['', 'scratch', 0],
      ],
    );
    assert.deepEqual([globals.length, stepsTotal], [1, 6]);
    assert.equal(plan(lines, { target: 'ONE' }).stepsTotal, 3);
    assert.equal(plan(lines, { target: '1' }).stages.length, 2);
    assert.throws(() => plan(lines, { target: '3' }), /failed to reach build target 3/);
  });

  test('ends with the labels that are asked for', () => {
    const { stages } = plan(['FROM a'], { labels: { b: "it's $x", a: '1' } });
    const last = stages[0]?.instructions.at(-1);
    assert.equal(last?.original, "LABEL a=1 b=it's $x");
    assert.equal(last.rest, `'a'='1' 'b'='it'"'"'s $x'`);
  });

  test('refuses what cannot be, with the line', () => {
    const refusals: readonly (readonly [string[], RegExp])[] = [
      [['RUN x'], /line 1: no build stage in current context/],
      [['ARG x'], /no instruction FROM/],
      [['FROM a b'], /line 1: FROM requires either one or three arguments/],
      [['FROM a AS 1st'], /line 1: invalid name for build stage: "1st"/],
      [['FROM a', 'COPY x'], /line 2: COPY requires at least two arguments/],
      [['FROM a', 'COPY --chmod=755 x y'], /line 2: the --chmod option requires BuildKit/],
      [['FROM a', 'RUN --mount=type=cache,target=/x y'], /line 2: the --mount option requires/],
      [['FROM a', 'ADD --from=x y z'], /line 2: Unknown flag: from/],
      [['FROM a', 'COPY --from= y z'], /line 2: Missing a value on flag: from/],
      [['FROM a', 'SHELL /bin/sh'], /line 2: SHELL requires the arguments to be in JSON form/],
    ];
    for (const [text, message] of refusals) assert.throws(() => plan(text), message);
  });
});

describe('build arguments', () => {
  test('are seen where they are declared, and marked unless they are predefined', () => {
    const args = new BuildArguments({ A: 'given', HTTP_PROXY: 'p', LOST: '1', NONE: null });
    args.declareGlobal('G', 'global');
    args.declareGlobal('A', 'default');
    assert.equal(args.globals().get('A'), 'given');
    const stage = args.forStage();
    assert.equal(stage.visible(new Map()).has('G'), false);
    stage.declare('G', undefined);
    stage.declare('A', 'other');
    stage.declare('NONE', undefined);
    stage.declare('ENV', 'argument');
    const visible = stage.visible(new Map([['ENV', 'environment']]));
    assert.deepEqual(
      [...visible],
      [
        ['G', 'global'],
        ['A', 'given'],
        ['HTTP_PROXY', 'p'],
      ],
    );
    assert.deepEqual(stage.marked(visible), ['A=given', 'G=global']);
    assert.deepEqual(args.unused(), ['LOST']);
  });
});

describe('the cache of steps', () => {
  test('compares what a step was made with', () => {
    const made = {
      ...containerConfig.zero(),
      Cmd: ['x'],
      Env: ['A=1'],
      Labels: { a: '1', b: '2' },
    };
    assert.ok(isSameStep(made, { ...made, Labels: { b: '2', a: '1' }, Hostname: 'other' }));
    for (const other of [
      { Cmd: ['y'] },
      { Env: [] },
      { User: 'u' },
      { Labels: {} },
      { WorkingDir: '/' },
    ]) {
      assert.equal(isSameStep(made, { ...made, ...other }), false);
    }
  });

  test('has one digest for several files, whose order counts', () => {
    assert.equal(sourcesDigest(['file:1']), 'file:1');
    assert.match(sourcesDigest(['file:1', 'dir:2']), /^multi:[0-9a-f]{64}$/);
    assert.notEqual(sourcesDigest(['file:1', 'dir:2']), sourcesDigest(['dir:2', 'file:1']));
  });
});

test('--chown means numbers, or names of the image', () => {
  const files = { passwd: 'app:x:7:8::/:\nbad\n', group: 'app:x:9:\nother:x:10:app\n' };
  assert.deepEqual(copyOwner('5', files), { uid: 5, gid: 5 });
  assert.deepEqual(copyOwner('app', files), { uid: 7, gid: 9 });
  assert.deepEqual(copyOwner('3:other', files), { uid: 3, gid: 10 });
  for (const spec of ['nobody', 'app:none', 'a:b:c', ':x', '99999999999']) {
    assert.throws(() => copyOwner(spec, files), /chown string to host mapping/, spec);
  }
});
