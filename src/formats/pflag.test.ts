import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { type FlagShape, formatFlagHelp, parseFlags } from './pflag.ts';

const FLAGS: readonly FlagShape[] = [
  { name: 'detach', shorthand: 'd', bare: 'true' },
  { name: 'interactive', shorthand: 'i', bare: 'true' },
  { name: 'publish', shorthand: 'p', bare: undefined },
  { name: 'name', shorthand: '', bare: undefined },
];

function parse(args: readonly string[], interspersed = true): unknown {
  const { uses, operands } = parseFlags(args, FLAGS, { interspersed });
  return [uses.map(({ flag, value }) => `${flag.name}=${value}`), operands];
}

test('flags are read by the grammar of pflag', () => {
  assert.deepEqual(parse(['-dip', '80', 'x']), [
    ['detach=true', 'interactive=true', 'publish=80'],
    ['x'],
  ]);
  assert.deepEqual(parse(['-p80', '-p=81', '--publish=82', '--publish', '83']), [
    ['publish=80', 'publish=81', 'publish=82', 'publish=83'],
    [],
  ]);
  assert.deepEqual(parse(['-dp=80']), [['detach=true', 'publish=80'], []]);
  assert.deepEqual(parse(['-p=']), [['publish=='], []]);
  assert.deepEqual(parse(['--detach=false', '-d=0', '--name=', '-']), [
    ['detach=false', 'detach=0', 'name='],
    ['-'],
  ]);
  assert.deepEqual(parse(['--name', '-d', 'a', '--', '-i', '--x']), [
    ['name=-d'],
    ['a', '-i', '--x'],
  ]);
  assert.deepEqual(parse(['-d', 'image', '-i', '--bogus'], false), [
    ['detach=true'],
    ['image', '-i', '--bogus'],
  ]);
});

test('mistakes are told in the words of pflag', () => {
  const cases: readonly (readonly [string[], string])[] = [
    [['--bogus=1'], 'unknown flag: --bogus'],
    [['-dz'], "unknown shorthand flag: 'z' in -z"],
    [['--name'], 'flag needs an argument: --name'],
    [['-dp'], "flag needs an argument: 'p' in -p"],
    [['--=x'], 'bad flag syntax: --=x'],
    [['---x'], 'bad flag syntax: ---x'],
  ];
  for (const [args, message] of cases) assert.throws(() => parse(args), { message }, message);
});

test('whatever is given to a flag comes back, in order', () => {
  const use = fc.tuple(fc.constantFrom('name', 'publish'), fc.string(), fc.boolean());
  fc.assert(
    fc.property(fc.array(use), fc.array(fc.string()), (given, operands) => {
      const args = given.flatMap(([name, value, joined]) =>
        joined ? [`--${name}=${value}`] : [`--${name}`, value],
      );
      assert.deepEqual(parse([...args, '--', ...operands]), [
        given.map(([name, value]) => `${name}=${value}`),
        operands,
      ]);
    }),
  );
});

test('any arguments are read or refused, and none is lost', () => {
  const word = fc.oneof(
    fc.string(),
    fc.constantFrom('-d', '-i', '-p', '--name', '--', '-', '--detach=false', '-dip80', '--publish'),
  );
  fc.assert(
    fc.property(fc.array(word), fc.boolean(), (args, interspersed) => {
      try {
        const { uses, operands } = parseFlags(args, FLAGS, { interspersed });
        const seen = [...uses.map(({ value }) => value), ...operands];
        for (const operand of operands) assert.ok(args.includes(operand));
        assert.ok(seen.length >= args.filter((arg) => arg !== '--').length - uses.length);
      } catch (error) {
        if (!isEngineError(error, 'invalidArgument')) throw error;
      }
    }),
  );
});

test('help is folded to the columns there are', () => {
  const rows = [
    { name: 'all', shorthand: 'a', type: '', usage: 'Show all', shownDefault: '' },
    {
      name: 'driver',
      shorthand: '',
      type: 'string',
      usage: 'Driver to manage the network with, by its name',
      shownDefault: '"bridge"',
    },
  ];
  assert.equal(
    formatFlagHelp(rows, 60),
    [
      '  -a, --all             Show all',
      '      --driver string   Driver to manage the network',
      '                        with, by its name (default',
      '                        "bridge")',
      '',
    ].join('\n'),
  );
  for (const line of formatFlagHelp(rows, 40).split('\n')) assert.ok(line.length <= 45, line);
});
