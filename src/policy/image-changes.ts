import path from 'node:path';
import { formatDurationNs, parseDurationNs } from '../base/duration.ts';
import { invalidArgument } from '../base/errors.ts';
import type { Escape } from '../formats/dockerfile.ts';
import type { ContainerConfig, HealthConfig } from '../spec/docker/container.ts';
import { parseSignal } from './signals.ts';
import { expandWord, rawWords, type Variables, variablesOf } from './word-expansion.ts';

/**
 * Dockerfile instructions that alter an image's config and nothing else: those of a build, and
 * `--change` of import and commit. Source: Dockerfile reference; which are allowed for `--change`
 * and the texts of errors: moby `builder/dockerfile/builder.go`, BuildFromConfig.
 */
type Draft = { -readonly [K in keyof ContainerConfig]: ContainerConfig[K] };
type State = {
  readonly draft: Draft;
  /** What the config's environment was before the instruction. */
  readonly variables: Variables;
  readonly escapeWith: Escape;
  /** A CMD came with the changes: an ENTRYPOINT does not void it. */
  hasCommand: boolean;
};
/** Returns the arguments as an image's history has them. */
type Change = (state: State, rest: string) => string;

/** What an instruction made of a config. */
export type ChangedConfig = {
  readonly config: ContainerConfig;
  readonly hasCommand: boolean;
  /** `ENV A=1`, for the image's history. */
  readonly comment: string;
};

/**
 * Carries out one instruction; undefined for one that is none of these.
 * @throws invalidArgument for arguments that make no sense
 */
export function changeConfig(
  config: ContainerConfig,
  instruction: { readonly keyword: string; readonly rest: string },
  how: {
    readonly variables: Variables;
    readonly escapeWith: Escape;
    /** A CMD stands before it in the same build. */
    readonly hasCommand: boolean;
  },
): ChangedConfig | undefined {
  const { keyword, rest } = instruction;
  const change = CHANGES.get(keyword);
  if (change === undefined) return undefined;
  const state: State = { draft: { ...config }, ...how };
  const comment = `${keyword} ${change(state, rest)}`;
  return { config: state.draft, hasCommand: state.hasCommand, comment };
}

/**
 * The config with each change carried out, in order. Variables stand for those of the config.
 * @throws invalidArgument for what is no instruction or not one that only changes the config
 */
export function applyChanges(config: ContainerConfig, changes: readonly string[]): ContainerConfig {
  let changed: Omit<ChangedConfig, 'comment'> = { config, hasCommand: false };
  const lines = changes
    .join('\n')
    .replaceAll(/\\[ \t]*\n/g, '')
    .split('\n');
  for (const line of lines) {
    const text = line.trim();
    if (text === '' || text.startsWith('#')) continue;
    const [word = ''] = text.split(/\s/, 1);
    const keyword = word.toUpperCase();
    const rest = text.slice(word.length).trim();
    if (!CHANGES.has(keyword)) throw invalidArgument(`${word} is not a valid change command`);
    if (rest === '') throw invalidArgument(`${keyword} requires at least one argument`);
    const instruction = { keyword, rest };
    const { hasCommand } = changed;
    const how = {
      variables: variablesOf(changed.config.Env),
      escapeWith: '\\',
      hasCommand,
    } as const;
    changed = changeConfig(changed.config, instruction, how) ?? changed;
  }
  return changed.config;
}

const CHANGES: ReadonlyMap<string, Change> = new Map<string, Change>([
  [
    'CMD',
    (state, rest) => {
      state.draft.Cmd = commandLine(state.draft, rest);
      state.hasCommand = true;
      return quotedList(state.draft.Cmd);
    },
  ],
  [
    'ENTRYPOINT',
    ({ draft, hasCommand }, rest) => {
      draft.Entrypoint = commandLine(draft, rest);
      // It was meant for the entrypoint before.
      if (!hasCommand) draft.Cmd = null;
      return quotedList(draft.Entrypoint);
    },
  ],
  [
    'ENV',
    (state, rest) => {
      const { draft } = state;
      const env = new Map(draft.Env.map((each) => [each.split('=', 1)[0] ?? '', each]));
      const found = pairs('ENV', rest, state);
      for (const [name, value] of found) env.set(name, `${name}=${value}`);
      draft.Env = [...env.values()];
      return shownPairs(found);
    },
  ],
  [
    'LABEL',
    (state, rest) => {
      const found = pairs('LABEL', rest, state);
      state.draft.Labels = { ...state.draft.Labels, ...Object.fromEntries(found) };
      return shownPairs(found);
    },
  ],
  [
    'EXPOSE',
    (state, rest) => {
      const { draft } = state;
      const specs = words(rest, state);
      draft.ExposedPorts = { ...draft.ExposedPorts, ...keysOnly(specs.flatMap(exposedPorts)) };
      return specs.toSorted().join(' ');
    },
  ],
  [
    'VOLUME',
    (state, rest) => {
      const list = jsonList(rest)?.map((each) => expand(each, state));
      const volumes = (list ?? words(rest, state)).map((each) => each.trim());
      if (volumes.includes('')) {
        throw invalidArgument('VOLUME specified can not be an empty string');
      }
      state.draft.Volumes = { ...state.draft.Volumes, ...keysOnly(volumes) };
      return `[${volumes.join(' ')}]`;
    },
  ],
  [
    'WORKDIR',
    (state, rest) => {
      const { draft } = state;
      draft.WorkingDir = path.posix.resolve('/', draft.WorkingDir, expand(rest, state));
      return draft.WorkingDir;
    },
  ],
  [
    'USER',
    (state, rest) => {
      state.draft.User = expand(rest, state);
      return state.draft.User;
    },
  ],
  [
    'STOPSIGNAL',
    (state, rest) => {
      const signal = expand(rest, state);
      parseSignal(signal);
      state.draft.StopSignal = signal;
      return signal;
    },
  ],
  [
    'ONBUILD',
    ({ draft }, rest) => {
      const trigger = (rest.split(/\s/, 1)[0] ?? '').toUpperCase();
      if (trigger === 'ONBUILD') {
        throw invalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
      }
      if (trigger === 'FROM' || trigger === 'MAINTAINER') {
        throw invalidArgument(`${trigger} isn't allowed as an ONBUILD trigger`);
      }
      draft.OnBuild = [...(draft.OnBuild ?? []), rest];
      return rest;
    },
  ],
  [
    'HEALTHCHECK',
    ({ draft }, rest) => {
      draft.Healthcheck = healthCheck(rest);
      return shownHealth(draft.Healthcheck);
    },
  ],
]);

/** As Go's `%q` shows a list. */
function quotedList(list: readonly string[]): string {
  return `[${list.map((each) => JSON.stringify(each)).join(' ')}]`;
}

function shownPairs(found: readonly (readonly [string, string])[]): string {
  return found.map(([name, value]) => `${name}=${value}`).join(' ');
}

/** As Go's `%q` shows the struct. */
function shownHealth({ Test, Interval, Timeout, StartPeriod, Retries }: HealthConfig): string {
  const times = [Interval, Timeout, StartPeriod].map((ns) => `"${formatDurationNs(ns)}"`);
  const retries = `'\\x${Retries.toString(16).padStart(2, '0')}'`;
  return `&{${quotedList(Test)} ${times.join(' ')} ${retries}}`;
}

function keysOnly(keys: readonly string[]): Record<string, object> {
  return Object.fromEntries(keys.map((key) => [key, {}]));
}

/** A JSON list of strings, or undefined for text that is none. */
export function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    const isList = Array.isArray(value) && value.every((each) => typeof each === 'string');
    return isList ? value : undefined;
  } catch {
    return undefined; // a shell command may begin with a bracket
  }
}

/** What RUN, CMD and ENTRYPOINT mean: a JSON list as it is, else a line for the shell. */
export function commandLine(config: Pick<ContainerConfig, 'Shell'>, rest: string): string[] {
  return jsonList(rest) ?? [...shellOf(config), rest];
}

/** The shell that lines are given to. */
export function shellOf({ Shell }: Pick<ContainerConfig, 'Shell'>): readonly string[] {
  return Shell ?? ['/bin/sh', '-c'];
}

type Words = Pick<State, 'variables' | 'escapeWith'>;

function expand(word: string, { variables, escapeWith }: Words): string {
  return expandWord(word, variables, escapeWith);
}

function words(text: string, how: Words): string[] {
  return rawWords(text, how.escapeWith).map((raw) => expand(raw, how));
}

/** `a=1 b="x y"`, or `a the rest`. */
function pairs(instruction: string, rest: string, how: Words): [string, string][] {
  const [first = ''] = rawWords(rest, how.escapeWith);
  if (!first.includes('=')) {
    const value = rest.slice(first.length).trim();
    if (value === '') throw invalidArgument(`${instruction} must have two arguments`);
    return [[expand(first, how), expand(value, how)]];
  }
  return rawWords(rest, how.escapeWith).map((word) => {
    const equals = word.indexOf('=');
    if (equals <= 0) {
      const shown = equals === 0 ? `${instruction} names can not be blank` : undefined;
      throw invalidArgument(
        shown ?? `Syntax error - can't find = in "${word}". Must be of the form: name=value`,
      );
    }
    const [name, value] = [word.slice(0, equals), word.slice(equals + 1)];
    return [expand(name, how), expand(value, how)];
  });
}

const PORTS_MAX = 65_535;

function exposedPorts(text: string): string[] {
  const m = /^(\d{1,5})(?:-(\d{1,5}))?(?:\/(tcp|udp|sctp))?$/i.exec(text);
  const from = Number(m?.[1]);
  const to = Number(m?.[2] ?? m?.[1]);
  if (m === null || from < 1 || to < from || to > PORTS_MAX) {
    throw invalidArgument(`Invalid containerPort: ${text}`);
  }
  const protocol = (m[3] ?? 'tcp').toLowerCase();
  return Array.from({ length: to - from + 1 }, (_, i) => `${from + i}/${protocol}`);
}

const HEALTH_FLAGS: ReadonlyMap<string, 'Interval' | 'Timeout' | 'StartPeriod' | 'StartInterval'> =
  new Map([
    ['interval', 'Interval'],
    ['timeout', 'Timeout'],
    ['start-period', 'StartPeriod'],
    ['start-interval', 'StartInterval'],
  ]);

/** Shorter than that nothing is timed. */
const HEALTH_NS_MIN = 1_000_000;

function healthCheck(text: string): HealthConfig {
  const numbers = { Interval: 0, Timeout: 0, StartPeriod: 0, StartInterval: 0, Retries: 0 };
  let rest = text;
  for (let m = FLAG.exec(rest); m !== null; m = FLAG.exec(rest)) {
    const [whole, name = '', value = ''] = m;
    const key = HEALTH_FLAGS.get(name);
    if (key === undefined && name !== 'retries') throw invalidArgument(`unknown flag: --${name}`);
    numbers[key ?? 'Retries'] = key === undefined ? retries(value) : healthTime(name, value);
    rest = rest.slice(whole.length);
  }
  const [word = ''] = rest.split(/\s/, 1);
  const argument = rest.slice(word.length).trim();
  if (word.toUpperCase() === 'NONE') {
    if (argument !== '') throw invalidArgument('HEALTHCHECK NONE takes no arguments');
    return { Test: ['NONE'], ...numbers };
  }
  if (word.toUpperCase() !== 'CMD') {
    throw invalidArgument(`Unknown type "${word}" in HEALTHCHECK (try CMD)`);
  }
  const list = jsonList(argument);
  if (argument === '' || list?.length === 0) {
    throw invalidArgument('Missing command after HEALTHCHECK CMD');
  }
  return { Test: list === undefined ? ['CMD-SHELL', argument] : ['CMD', ...list], ...numbers };
}

function healthTime(name: string, value: string): number {
  const ns = parseDurationNs(value);
  if (ns === undefined) throw invalidArgument(`HEALTHCHECK: invalid flag --${name}=${value}`);
  if (ns !== 0 && ns < HEALTH_NS_MIN) {
    throw invalidArgument(`HEALTHCHECK: --${name} cannot be less than 1ms (got ${value})`);
  }
  return ns;
}

function retries(value: string): number {
  const number = Number(value);
  if (!/^-?\d{1,9}$/.test(value)) {
    throw invalidArgument(`HEALTHCHECK: invalid flag --retries=${value}`);
  }
  if (number < 0) throw invalidArgument(`--retries cannot be negative (got ${value})`);
  return number;
}

const FLAG = /^--([a-z-]+)=(\S+)\s*/;
