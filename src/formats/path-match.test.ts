import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pathMatch } from './path-match.ts';

test('patterns match as in the documentation of path.Match', () => {
  const cases: [string, string, boolean][] = [
    ['', '', true],
    ['busybox', 'busybox', true],
    ['busy*', 'busybox', true],
    ['*', 'busybox', true],
    ['*', 'team/app', false],
    ['*/*', 'team/app', true],
    ['*/app', 'team/app', true],
    ['*:*', 'a:b', true],
    ['b?sybox', 'busybox', true],
    ['?', '/', false],
    ['[a-c]x', 'bx', true],
    ['[^a-c]x', 'bx', false],
    ['[^a-c]x', 'dx', true],
    ['\\*', '*', true],
    ['\\*', 'a', false],
    ['a*b*c', 'a1b2b3c', true],
    ['a*b*c', 'a1b2b3', false],
    ['a*/b', 'ax/yb', false],
    ['[\\]]', ']', true],
  ];
  for (const [pattern, text, want] of cases) {
    assert.equal(pathMatch(pattern, text), want, `${pattern} ${text}`);
  }
});

test('malformed patterns are refused', () => {
  for (const bad of ['[', '[a', '[]a]', '[-]', '[x-]', '\\', '[^']) {
    assert.throws(() => pathMatch(bad, 'a'), /syntax error in pattern/, bad);
  }
});

test('stars agree with the regular expression they stand for', () => {
  const part = fc.constantFrom('a', 'b', '/', '*', '?');
  fc.assert(
    fc.property(
      fc.array(part, { maxLength: 8 }),
      fc.array(fc.constantFrom('a', 'b', '/'), { maxLength: 8 }),
      (pattern, text) => {
        const source = pattern.map((p) => (p === '*' ? '[^/]*' : p === '?' ? '[^/]' : p)).join('');
        const want = new RegExp(`^${source}$`).test(text.join(''));
        assert.equal(pathMatch(pattern.join(''), text.join('')), want);
      },
    ),
    { numRuns: 3000 },
  );
});
