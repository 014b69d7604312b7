import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseIgnorePatterns } from './ignore-patterns.ts';

/** Which of the paths the patterns leave out. */
const ignored = (patterns: readonly string[], paths: readonly string[]): string[] => {
  const { ignores } = parseIgnorePatterns(patterns.join('\n'));
  return paths.filter((path) => ignores(path));
};

const PATHS = [
  'a',
  'a.log',
  'dir',
  'dir/a',
  'dir/a.log',
  'dir/sub/a.log',
  'dir/sub/keep.log',
  'x.md',
];

test('patterns fit as Docker has them', () => {
  assert.deepEqual(ignored(['*.log'], PATHS), ['a.log']);
  assert.deepEqual(ignored(['*/*.log'], PATHS), ['dir/a.log']);
  assert.deepEqual(ignored(['**/*.log'], PATHS), [
    'a.log',
    'dir/a.log',
    'dir/sub/a.log',
    'dir/sub/keep.log',
  ]);
  assert.deepEqual(
    ignored(['/dir/'], PATHS),
    PATHS.filter((path) => path.startsWith('dir')),
  );
  assert.deepEqual(
    ignored(['dir/**'], PATHS),
    PATHS.filter((path) => path.startsWith('dir/')),
  );
  assert.deepEqual(ignored(['dir/../a', '  x.?d '], PATHS), ['a', 'x.md']);
  assert.deepEqual(ignored(['[a-b]', 'x.[^n]d'], PATHS), ['a', 'x.md']);
  assert.deepEqual(ignored(['# dir', '', '.', '/'], PATHS), []);
  assert.deepEqual(ignored([' # no comment', '\\a'], [...PATHS, '# no comment']), [
    'a',
    '# no comment',
  ]);
});

test('the last pattern that fits counts', () => {
  const paths = ['dir', 'dir/a', 'dir/sub/keep.log'];
  assert.deepEqual(ignored(['dir', '!dir/sub/keep.log'], paths), ['dir', 'dir/a']);
  assert.deepEqual(ignored(['!dir/a', 'dir'], paths), paths);
  assert.deepEqual(ignored(['*', '!**/*.log'], paths), ['dir', 'dir/a']);
});

test('a folder need not be looked at when nothing in it is taken back', () => {
  const { mayPrune } = parseIgnorePatterns('dir\nnode_modules\n!dir/sub/keep');
  assert.deepEqual(['dir', 'dir/sub', 'dir/other', 'node_modules'].map(mayPrune), [
    false,
    false,
    true,
    true,
  ]);
  assert.equal(parseIgnorePatterns('dir\n!**/keep').mayPrune('dir'), false);
});

test('malformed patterns are refused', () => {
  for (const pattern of ['[', '[]', 'a[b', '[z-a]', 'x\\', '!', '[-x]']) {
    assert.throws(() => parseIgnorePatterns(pattern), /pattern/, pattern);
  }
});
