import path from 'node:path';
import { parseDurationNs } from '../base/duration.ts';
import { invalidArgument } from '../base/errors.ts';
import type { ContainerConfig, HealthConfig } from '../spec/docker/container.ts';
import { parseSignal } from './signals.ts';
import { expandWord, rawWords, type Variables, variablesOf } from './word-expansion.ts';

/**
 * `--change` of import and commit: single Dockerfile instructions that alter an image's config.
 * Source: Dockerfile reference; which are allowed and the texts of errors: moby
 * `builder/dockerfile/builder.go`, BuildFromConfig.
 */
type Draft = { -readonly [K in keyof ContainerConfig]: ContainerConfig[K] };
type State = {
  readonly draft: Draft;
  /** What the config's environment was before the instruction. */
  readonly variables: Variables;
  /** A CMD came with the changes: an ENTRYPOINT does not void it. */
  hasCommand: boolean;
};
type Change = (state: State, rest: string) => void;

/**
 * The config with each change carried out, in order. Variables stand for those of the config.
 * @throws invalidArgument for what is no instruction or not one that only changes the config
 */
export function applyChanges(config: ContainerConfig, changes: readonly string[]): ContainerConfig {
  const draft: Draft = { ...config };
  let hasCommand = false;
  const lines = changes
    .join('\n')
    .replaceAll(/\\[ \t]*\n/g, '')
    .split('\n');
  for (const line of lines) {
    const text = line.trim();
    if (text === '' || text.startsWith('#')) continue;
    const [word = ''] = text.split(/\s/, 1);
    const change = CHANGES.get(word.toUpperCase());
    if (change === undefined) throw invalidArgument(`${word} is not a valid change command`);
    const rest = text.slice(word.length).trim();
    if (rest === '') throw invalidArgument(`${word.toUpperCase()} requires at least one argument`);
    const state: State = { draft, variables: variablesOf(draft.Env), hasCommand };
    change(state, rest);
    hasCommand = state.hasCommand;
  }
  return draft;
}

const CHANGES: ReadonlyMap<string, Change> = new Map<string, Change>([
  [
    'CMD',
    (state, rest) => {
      state.draft.Cmd = command(state.draft, rest);
      state.hasCommand = true;
    },
  ],
  [
    'ENTRYPOINT',
    ({ draft, hasCommand }, rest) => {
      draft.Entrypoint = command(draft, rest);
      // It was meant for the entrypoint before.
      if (!hasCommand) draft.Cmd = null;
    },
  ],
  [
    'ENV',
    ({ draft, variables }, rest) => {
      const env = new Map(draft.Env.map((each) => [each.split('=', 1)[0] ?? '', each]));
      for (const [name, value] of pairs('ENV', rest, variables)) env.set(name, `${name}=${value}`);
      draft.Env = [...env.values()];
    },
  ],
  [
    'LABEL',
    ({ draft, variables }, rest) => {
      const labels = Object.fromEntries(pairs('LABEL', rest, variables));
      draft.Labels = { ...draft.Labels, ...labels };
    },
  ],
  [
    'EXPOSE',
    ({ draft, variables }, rest) => {
      const ports = words(rest, variables).flatMap(exposedPorts);
      draft.ExposedPorts = { ...draft.ExposedPorts, ...keysOnly(ports) };
    },
  ],
  [
    'VOLUME',
    ({ draft, variables }, rest) => {
      const list = jsonList(rest)?.map((each) => expandWord(each, variables));
      const volumes = (list ?? words(rest, variables)).map((each) => each.trim());
      if (volumes.includes('')) {
        throw invalidArgument('VOLUME specified can not be an empty string');
      }
      draft.Volumes = { ...draft.Volumes, ...keysOnly(volumes) };
    },
  ],
  [
    'WORKDIR',
    ({ draft, variables }, rest) => {
      draft.WorkingDir = path.posix.resolve('/', draft.WorkingDir, expandWord(rest, variables));
    },
  ],
  [
    'USER',
    ({ draft, variables }, rest) => {
      draft.User = expandWord(rest, variables);
    },
  ],
  [
    'STOPSIGNAL',
    ({ draft, variables }, rest) => {
      const signal = expandWord(rest, variables);
      parseSignal(signal);
      draft.StopSignal = signal;
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
    },
  ],
  [
    'HEALTHCHECK',
    ({ draft }, rest) => {
      draft.Healthcheck = healthCheck(rest);
    },
  ],
]);

function keysOnly(keys: readonly string[]): Record<string, object> {
  return Object.fromEntries(keys.map((key) => [key, {}]));
}

/** A JSON list of strings, or undefined for text that is none. */
function jsonList(text: string): string[] | undefined {
  if (!text.startsWith('[')) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    const isList = Array.isArray(value) && value.every((each) => typeof each === 'string');
    return isList ? value : undefined;
  } catch {
    return undefined; // a shell command may begin with a bracket
  }
}

function command(draft: Draft, rest: string): string[] {
  return jsonList(rest) ?? [...(draft.Shell ?? ['/bin/sh', '-c']), rest];
}

function words(text: string, variables: Variables): string[] {
  return rawWords(text).map((raw) => expandWord(raw, variables));
}

/** `a=1 b="x y"`, or `a the rest`. */
function pairs(instruction: string, rest: string, variables: Variables): [string, string][] {
  const [first = ''] = rawWords(rest);
  if (!first.includes('=')) {
    const value = rest.slice(first.length).trim();
    if (value === '') throw invalidArgument(`${instruction} must have two arguments`);
    return [[expandWord(first, variables), expandWord(value, variables)]];
  }
  return rawWords(rest).map((word) => {
    const equals = word.indexOf('=');
    if (equals <= 0) {
      const shown = equals === 0 ? `${instruction} names can not be blank` : undefined;
      throw invalidArgument(
        shown ?? `Syntax error - can't find = in "${word}". Must be of the form: name=value`,
      );
    }
    const [name, value] = [word.slice(0, equals), word.slice(equals + 1)];
    return [expandWord(name, variables), expandWord(value, variables)];
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
