import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { parseDockerfile } from './dockerfile.ts';

const piece = fc.constantFrom(
  ...['FROM', 'RUN', 'COPY', 'ADD', 'ENV', 'ONBUILD', 'HEALTHCHECK', 'nonsense', '__proto__'],
  ...[' ', '\t', '\n', '\r\n', '\\\n', '`\n', '\\', '`', '#', '# escape=`\n', '# escape=', '='],
  ...['--', '--from=', '--chown="', '"', "'", '[', ']', ',', '<<EOF', '<<-', 'EOF', '$', '\0'],
  ...['\ufeff', '\u{1f600}', 'AS', 'x'],
);
const text = fc.array(piece, { maxLength: 40 }).map((pieces) => pieces.join(''));

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 3);
const seed = process.env['FUZZ_SEED'];

test('any text is taken apart or refused with a sentence', () => {
  fc.assert(
    fc.property(text, (dockerfile) => {
      try {
        const lines = dockerfile.split('\n').length;
        for (const { line, rest, original } of parseDockerfile(dockerfile).instructions) {
          if (line < 1 || line > lines) throw new Error(`line ${line} of ${lines}`);
          if (!original.includes(rest)) throw new Error(`${rest} is not of ${original}`);
        }
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
