import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { compileTemplate } from './gotemplate.ts';

const PIECES: readonly string[] = [
  ...['{{', '}}', '{{-', '-}}', '/*', '*/', 'text', '\n', ' ', '\\', '"'],
  ...['.', '.A', '.B.C', '$', '$x', ':=', '=', '|', ',', '(', ')'],
  ...['"a"', '`b`', "'c'", '1', '-2.5', '0x1f', 'nil', 'true', '"%d %s"'],
  ...['if', 'else', 'end', 'range', 'with', 'break', 'continue'],
  ...['index', 'len', 'printf', 'json', 'eq', 'and', 'or', 'not'],
  ...['slice', 'join', 'split', 'truncate'],
];

const DATA = { A: { B: [1, 'x', null, { C: true }] }, B: { C: 'text' }, C: [] };

const mixes = fc
  .array(fc.constantFrom(...PIECES), { maxLength: 25 })
  .map((pieces) => pieces.join(''));

/** Texts that are, nearly are, or are not at all templates. */
export const templateSource: fc.Arbitrary<string> = fc.oneof(
  fc.string(),
  mixes,
  mixes.map((mix) => `{{${mix}}}`),
);

/** Compiles and runs it. @throws what is not an EngineError */
export function tryTemplate(source: string): void {
  try {
    compileTemplate(source).execute(DATA);
  } catch (error) {
    if (!isEngineError(error, 'invalidArgument')) throw error;
  }
}
