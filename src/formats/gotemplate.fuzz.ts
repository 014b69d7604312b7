import { test } from 'node:test';
import fc from 'fast-check';
import { templateSource, tryTemplate } from './gotemplate.fixture.ts';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 3);
const seed = process.env['FUZZ_SEED'];

test('any text as a template gives text or an error of ours', () => {
  fc.assert(fc.property(templateSource, tryTemplate), {
    numRuns: Number.MAX_SAFE_INTEGER,
    interruptAfterTimeLimit: seconds * 1000,
    ...(seed === undefined ? {} : { seed: Number(seed) }),
  });
});
