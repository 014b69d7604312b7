import path from 'node:path';
import { parseDurationNs } from '../base/duration.ts';
import { invalidArgument } from '../base/errors.ts';
import type { ContainerConfig, HealthConfig } from '../spec/docker/container.ts';

/**
 * `--change` of import and commit: single Dockerfile instructions that alter an image's config.
 * Source: Dockerfile reference; which are allowed and the texts of errors: moby
 * `builder/dockerfile/builder.go`, BuildFromConfig.
 */
type Draft = { -readonly [K in keyof ContainerConfig]: ContainerConfig[K] };
type Change = (draft: Draft, rest: string) => void;

/**
 * The config with each change carried out, in order.
 * @throws invalidArgument for what is no instruction or not one that only changes the config
 */
export function applyChanges(config: ContainerConfig, changes: readonly string[]): ContainerConfig {
  const draft: Draft = { ...config };
  for (const line of changes.flatMap((change) => change.split('\n'))) {
    const text = line.trim();
    if (text === '' || text.startsWith('#')) continue;
    const [word = ''] = text.split(/\s/, 1);
    const change = CHANGES[word.toUpperCase()];
    if (change === undefined) throw invalidArgument(`${word} is not a valid change command`);
    const rest = text.slice(word.length).trim();
    if (rest === '') throw invalidArgument(`${word.toUpperCase()} requires at least one argument`);
    change(draft, rest);
  }
  return draft;
}

const CHANGES: Readonly<Record<string, Change>> = {
  CMD: (draft, rest) => {
    draft.Cmd = command(draft, rest);
  },
  ENTRYPOINT: (draft, rest) => {
    draft.Entrypoint = command(draft, rest);
  },
  ENV: (draft, rest) => {
    const env = new Map(draft.Env.map((each) => [each.split('=', 1)[0] ?? '', each]));
    for (const [name, value] of pairs('ENV', rest)) env.set(name, `${name}=${value}`);
    draft.Env = [...env.values()];
  },
  LABEL: (draft, rest) => {
    draft.Labels = { ...draft.Labels, ...Object.fromEntries(pairs('LABEL', rest)) };
  },
  EXPOSE: (draft, rest) => {
    const ports = words(rest).flatMap(exposedPorts);
    draft.ExposedPorts = {
      ...draft.ExposedPorts,
      ...Object.fromEntries(ports.map((port) => [port, {}])),
    };
  },
  VOLUME: (draft, rest) => {
    const volumes = (jsonList(rest) ?? words(rest)).map((each) => each.trim());
    if (volumes.includes('')) throw invalidArgument('VOLUME specified can not be an empty string');
    draft.Volumes = {
      ...draft.Volumes,
      ...Object.fromEntries(volumes.map((volume) => [volume, {}])),
    };
  },
  WORKDIR: (draft, rest) => {
    draft.WorkingDir = path.posix.resolve('/', draft.WorkingDir, words(rest).join(' '));
  },
  USER: (draft, rest) => {
    draft.User = words(rest).join(' ');
  },
  STOPSIGNAL: (draft, rest) => {
    draft.StopSignal = rest;
  },
  ONBUILD: (draft, rest) => {
    const trigger = (rest.split(/\s/, 1)[0] ?? '').toUpperCase();
    if (trigger === 'ONBUILD') {
      throw invalidArgument("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed");
    }
    if (trigger === 'FROM' || trigger === 'MAINTAINER') {
      throw invalidArgument(`${trigger} isn't allowed as an ONBUILD trigger`);
    }
    draft.OnBuild = [...(draft.OnBuild ?? []), rest];
  },
  HEALTHCHECK: (draft, rest) => {
    draft.Healthcheck = healthCheck(rest);
  },
};

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

/** Splits at blanks; quotes and backslashes keep blanks together and go away. */
function words(text: string): string[] {
  const found: string[] = [];
  for (const raw of rawWords(text)) found.push(unquoted(raw));
  return found;
}

const RAW_WORD = /(?:"(?:\\.|[^"\\])*"|'[^']*'|\\.|[^\s"'\\])+/gs;

function rawWords(text: string): string[] {
  return text.match(RAW_WORD) ?? [];
}

function unquoted(raw: string): string {
  return raw.replace(
    /"((?:\\.|[^"\\])*)"|'([^']*)'|\\(.)/gs,
    (_, double: string | undefined, single: string | undefined, escaped: string | undefined) =>
      double?.replace(/\\(["\\$])/g, '$1') ?? single ?? escaped ?? '',
  );
}

/** `a=1 b="x y"`, or `a the rest`. */
function pairs(instruction: string, rest: string): [string, string][] {
  const [first = ''] = rawWords(rest);
  if (!first.includes('=')) {
    const value = rest.slice(first.length).trim();
    if (value === '') throw invalidArgument(`${instruction} must have two arguments`);
    return [[unquoted(first), unquoted(value)]];
  }
  return rawWords(rest).map((word) => {
    const equals = word.indexOf('=');
    if (equals <= 0) {
      const shown = equals === 0 ? `${instruction} names can not be blank` : undefined;
      throw invalidArgument(
        shown ?? `Syntax error - can't find = in "${word}". Must be of the form: name=value`,
      );
    }
    return [unquoted(word.slice(0, equals)), unquoted(word.slice(equals + 1))];
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

function healthCheck(text: string): HealthConfig {
  const numbers = { Interval: 0, Timeout: 0, StartPeriod: 0, StartInterval: 0, Retries: 0 };
  let rest = text;
  for (let m = FLAG.exec(rest); m !== null; m = FLAG.exec(rest)) {
    const [whole, name = '', value = ''] = m;
    const key = HEALTH_FLAGS.get(name);
    const number = key === undefined ? Number(value) : parseDurationNs(value);
    if ((key === undefined && name !== 'retries') || number === undefined || !(number >= 0)) {
      throw invalidArgument(`HEALTHCHECK: invalid flag --${name}=${value}`);
    }
    numbers[key ?? 'Retries'] = number;
    rest = rest.slice(whole.length);
  }
  const [word = ''] = rest.split(/\s/, 1);
  const argument = rest.slice(word.length).trim();
  if (word.toUpperCase() === 'NONE' && argument === '') return { Test: ['NONE'], ...numbers };
  if (word.toUpperCase() !== 'CMD') {
    throw invalidArgument(`Unknown type "${word}" in HEALTHCHECK (try CMD)`);
  }
  if (argument === '') throw invalidArgument('Missing command after HEALTHCHECK CMD');
  const list = jsonList(argument);
  return { Test: list === undefined ? ['CMD-SHELL', argument] : ['CMD', ...list], ...numbers };
}

const FLAG = /^--([a-z-]+)=(\S+)\s*/;
