import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../base/limits.ts';
import { parseDockerfile } from './dockerfile.ts';

const parse = (...lines: string[]) => parseDockerfile(lines.join('\n')).instructions;

test('lines become instructions, with the numbers of their first lines', () => {
  const found = parse(
    '\ufeff# a comment',
    'FROM debian AS base',
    '',
    '  run a && \\',
    '  # between',
    '',
    '    b \\  ',
    '  c',
    'copy --from=x --chown="a b" one two',
    'RUN echo \\\\ \\n',
    'CMD ["a", "b"] \\',
  );
  assert.deepEqual(
    found.map(({ line, keyword, rest, flags }) => [line, keyword, rest, [...flags]]),
    [
      [2, 'FROM', 'debian AS base', []],
      [4, 'RUN', 'a &&     b   c', []],
      [
        9,
        'COPY',
        'one two',
        [
          ['from', 'x'],
          ['chown', 'a b'],
        ],
      ],
      [10, 'RUN', 'echo \\\\ \\n', []],
      [11, 'CMD', '["a", "b"]', []],
    ],
  );
  assert.equal(found[1]?.original, 'run a &&     b   c');
});

test('a directive names another character to escape with', () => {
  const file = parseDockerfile('# syntax=docker/dockerfile:1\n# escape=`\nRUN a `\n b \\\nRUN c');
  assert.equal(file.escapeWith, '`');
  assert.deepEqual(
    file.instructions.map(({ rest }) => rest),
    ['a  b \\', 'c'],
  );
  assert.equal(parseDockerfile('# a comment\n# escape=`\nRUN x').escapeWith, '\\');
});

test('what is wrong is told with its line', () => {
  const messages = [
    'FROM x\n\nNONSENSE y',
    'FROM x\nRUN',
    'FROM x\nCOPY --from=a --from=b c d',
    '# escape=x\nFROM y',
    '# escape=`\n# escape=`\nFROM y',
    'FROM x\nRUN <<EOF\necho\nEOF\n',
    'FROM x\nCOPY <<-"END" /to\n\tx\n\tEND\n',
  ].map((text) => {
    try {
      parseDockerfile(text);
      return '';
    } catch (error) {
      return (error as Error).message;
    }
  });
  assert.deepEqual(messages, [
    'dockerfile parse error line 3: unknown instruction: NONSENSE',
    'dockerfile parse error line 2: RUN requires at least one argument',
    'dockerfile parse error line 2: Duplicate flag specified: from',
    "dockerfile parse error line 1: invalid ESCAPE 'x'. Must be ` or \\",
    'dockerfile parse error line 2: only one escape parser directive can be used',
    'dockerfile parse error line 2: here-documents (<<EOF) require BuildKit: write the lines with && and a \\ at their ends, or copy a script',
    'dockerfile parse error line 2: here-documents (<<END) require BuildKit: write the lines with && and a \\ at their ends, or copy a script',
  ]);
});

test('a here-document is one only when a line ends it', () => {
  const [, run] = parse('FROM x', 'RUN echo $((1 <<N)) && cat <<< word', 'LABEL N=EOF');
  assert.equal(run?.rest, 'echo $((1 <<N)) && cat <<< word');
});

test('its length and its instructions have limits', () => {
  assert.throws(() => parseDockerfile('#'.repeat(LIMITS.dockerfileBytesMax + 1)), /longer than/);
  const steps = Array.from({ length: LIMITS.buildStepsMax + 1 }, () => 'RUN x');
  assert.throws(() => parse(...steps), /more than 1024 instructions/);
});
