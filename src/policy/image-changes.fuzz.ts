import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { containerConfig } from '../spec/docker/container.ts';
import { applyChanges } from './image-changes.ts';

const instruction = fc.constantFrom(
  ...['CMD', 'ENTRYPOINT', 'ENV', 'LABEL', 'EXPOSE', 'VOLUME', 'WORKDIR', 'USER', 'STOPSIGNAL'],
  ...['ONBUILD', 'HEALTHCHECK', 'SHELL', '__proto__'],
);
const piece = fc.constantFrom(
  ...['$', '{', '}', ':-', ':+', '"', "'", '\\', ' ', '=', 'A', '[', ']', ',', '80', '-', '\n'],
  ...['--interval=', '--retries=', '1s', 'NONE', 'CMD', '/', '..', '\u{1f600}', '\0'],
);
const rest = fc.array(piece, { maxLength: 30 }).map((pieces) => pieces.join(''));

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 3);
const seed = process.env['FUZZ_SEED'];

test('any line is carried out or refused with a sentence', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(instruction, rest), { maxLength: 4 }), (lines) => {
      const changes = lines.map(([word, text]) => `${word} ${text}`);
      try {
        applyChanges({ ...containerConfig.zero(), Env: ['A=1'] }, changes);
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
