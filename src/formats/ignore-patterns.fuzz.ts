import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { parseIgnorePatterns } from './ignore-patterns.ts';
import { pathMatch } from './path-match.ts';

const piece = fc.constantFrom(
  ...['*', '**', '?', '[', ']', '^', '-', '\\', '/', '!', '#', '.', '..', 'a', 'b', ' ', '\n'],
  ...['$', '(', '|', '+', '{', '\u{1f600}'],
);
const text = fc.array(piece, { maxLength: 12 }).map((pieces) => pieces.join(''));
const path = fc
  .array(fc.constantFrom('a', 'b', 'ab', '\u{1f600}', '$', '-'), { minLength: 1, maxLength: 4 })
  .map((parts) => parts.join('/'));

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 3);
const seed = process.env['FUZZ_SEED'];

test('any file is read or refused; a pattern without ** fits what Go says', () => {
  fc.assert(
    fc.property(text, path, (patterns, each) => {
      try {
        const { ignores } = parseIgnorePatterns(patterns);
        const ignored = ignores(each);
        if (!/^[^!#\s./][^\n\s./]*$/.test(patterns) || patterns.includes('**')) return;
        const [top = ''] = each.split('/');
        const fits = pathMatch(patterns, top);
        if (ignored !== fits) throw new Error(`${patterns} and ${each}: ${ignored}, Go: ${fits}`);
      } catch (error) {
        if (!isEngineError(error, 'invalidArgument')) throw error;
      }
    }),
    {
      numRuns: Number.MAX_SAFE_INTEGER,
      interruptAfterTimeLimit: seconds * 1000,
      ...(seed === undefined ? {} : { seed: Number(seed) }),
    },
  );
});
