import { invalidArgument } from '../../base/errors.ts';
import {
  type Dockerfile,
  type Escape,
  type Instruction,
  inLine,
} from '../../formats/dockerfile.ts';
import { jsonList } from '../image-changes.ts';
import { expandWord, rawWords, type Variables } from '../word-expansion.ts';

/**
 * A Dockerfile's instructions as stages, checked as far as their text goes: whatever is wrong is
 * told before anything is done. Texts: buildkit `frontend/dockerfile/instructions/parse.go`.
 */

/** One FROM and what follows it. */
export type Stage = {
  readonly from: Instruction;
  /** As it is written, variables included. */
  readonly base: string;
  /** In lower case; '' when it has none. */
  readonly name: string;
  readonly platform: string;
  readonly instructions: readonly Instruction[];
};

/** What a build carries out. */
export type BuildPlan = {
  readonly escapeWith: Escape;
  /** ARG instructions before the first FROM. */
  readonly globals: readonly Instruction[];
  readonly stages: readonly Stage[];
  /** For `Step 1/7`. */
  readonly stepsTotal: number;
};

/**
 * Plans a build up to `target` (a stage's name or number; '' for all), with labels as a last step.
 * @throws invalidArgument with the line's number
 */
export function planBuild(
  { escapeWith, instructions }: Dockerfile,
  options: { readonly target: string; readonly labels: Readonly<Record<string, string>> },
): BuildPlan {
  const globals: Instruction[] = [];
  const stages: (Stage & { readonly instructions: Instruction[] })[] = [];
  for (const each of instructions) {
    inLine(each.line, () => {
      checkInstruction(each);
      if (each.keyword === 'FROM') stages.push({ ...parseFrom(each), instructions: [] });
      else if (stages.length > 0) stages.at(-1)?.instructions.push(each);
      else if (each.keyword === 'ARG') globals.push(each);
      else throw invalidArgument('no build stage in current context');
    });
  }
  const wanted = stages.slice(0, stageCount(stages, options.target));
  const labels = labelStep(options.labels);
  if (labels !== undefined) wanted.at(-1)?.instructions.push(labels);
  const inStages = wanted.reduce((sum, stage) => sum + 1 + stage.instructions.length, 0);
  return { escapeWith, globals, stages: wanted, stepsTotal: globals.length + inStages };
}

function stageCount(stages: readonly Stage[], target: string): number {
  if (stages.length === 0) {
    throw invalidArgument('the Dockerfile holds no instruction FROM: it must name a base image');
  }
  if (target === '') return stages.length;
  const named = stages.findLastIndex((stage) => stage.name === target.toLowerCase());
  const at = named >= 0 || !/^\d{1,6}$/.test(target) ? named : Number(target);
  if (at < 0 || at >= stages.length) {
    throw invalidArgument(`failed to reach build target ${target} in Dockerfile`);
  }
  return at + 1;
}

/** `--label` as an instruction; its values are no subject to expansion. */
function labelStep(labels: Readonly<Record<string, string>>): Instruction | undefined {
  const names = Object.keys(labels).sort();
  if (names.length === 0) return undefined;
  const quote = (text: string): string => `'${text.replaceAll("'", `'"'"'`)}'`;
  const rest = names.map((name) => `${quote(name)}=${quote(labels[name] ?? '')}`).join(' ');
  const shown = names.map((name) => `${name}=${labels[name]}`).join(' ');
  return { line: 0, keyword: 'LABEL', flags: new Map(), rest, original: `LABEL ${shown}` };
}

const STAGE_NAME = /^[a-z][a-z0-9\-_.]*$/;

function parseFrom(from: Instruction): Omit<Stage, 'instructions'> {
  const words = from.rest.split(/\s+/);
  const [base = '', as = 'AS', name = ''] = words;
  if (![1, 3].includes(words.length) || as.toUpperCase() !== 'AS') {
    throw invalidArgument('FROM requires either one or three arguments');
  }
  const lower = name.toLowerCase();
  if (words.length === 3 && !STAGE_NAME.test(lower)) {
    throw invalidArgument(
      `invalid name for build stage: "${name}", name can't start with a number or contain symbols`,
    );
  }
  return { from, base, name: lower, platform: from.flags.get('platform') ?? '' };
}

const FLAGS: Readonly<Partial<Record<Instruction['keyword'], readonly string[]>>> = {
  FROM: ['platform'],
  COPY: ['from', 'chown'],
  ADD: ['chown'],
};

/** Flags of BuildKit's dialect. */
const BUILDKIT: ReadonlySet<string> = new Set([
  ...['mount', 'network', 'security', 'chmod', 'link', 'parents', 'exclude', 'checksum'],
  ...['keep-git-dir', 'device', 'unpack'],
]);

/**
 * Checks what can be said of an instruction by itself; also of one of ONBUILD.
 * @throws invalidArgument
 */
export function checkInstruction({ keyword, flags, rest }: Instruction): void {
  const allowed = FLAGS[keyword] ?? [];
  for (const [flag, value] of flags) {
    if (BUILDKIT.has(flag)) {
      throw invalidArgument(`the --${flag} option requires BuildKit: leave it out`);
    }
    if (!allowed.includes(flag)) throw invalidArgument(`Unknown flag: ${flag}`);
    if (value === '') throw invalidArgument(`Missing a value on flag: ${flag}`);
  }
  if (rest === '') throw invalidArgument(`${keyword} requires at least one argument`);
  if ((keyword === 'COPY' || keyword === 'ADD') && sourcesAndDestination(rest).length < 2) {
    throw invalidArgument(`${keyword} requires at least two arguments`);
  }
  if (keyword === 'SHELL' && (jsonList(rest)?.length ?? 0) === 0) {
    throw invalidArgument('SHELL requires the arguments to be in JSON form');
  }
}

/** The words of COPY and ADD, before expansion: a JSON list or words between blanks. */
export function sourcesAndDestination(rest: string): readonly string[] {
  return jsonList(rest) ?? rest.split(/\s+/);
}

/** `A`, `B=x`: the words of ARG. @throws invalidArgument for a blank name */
export function argumentsOf(
  rest: string,
  how: { readonly variables: Variables; readonly escapeWith: Escape },
): { readonly name: string; readonly value: string | undefined }[] {
  return rawWords(rest, how.escapeWith).map((word) => {
    const equals = word.indexOf('=');
    const expand = (text: string): string => expandWord(text, how.variables, how.escapeWith);
    if (equals === 0) throw invalidArgument('ARG names can not be blank');
    if (equals < 0) return { name: expand(word), value: undefined };
    return { name: expand(word.slice(0, equals)), value: expand(word.slice(equals + 1)) };
  });
}
