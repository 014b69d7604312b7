import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';

/**
 * Keeps the house in order: who may import whom, no cycles, no I/O in the pure rooms, no foreign
 * functions outside their file, no environment and no exit outside bin/.
 */

const ROOT = path.join(import.meta.dirname, '..');
const PURE = ['base', 'spec', 'formats', 'policy'] as const;

/** Rooms that a room may import besides itself; `engine/call` is one file. Tests may import all. */
const MAY_IMPORT: Readonly<Record<string, readonly string[]>> = {
  base: [],
  spec: ['base'],
  formats: ['base', 'spec'],
  policy: ['base', 'spec', 'formats'],
  kernel: ['base', 'spec', 'formats'],
  store: ['kernel', ...PURE],
  registry: ['kernel', ...PURE],
  worker: ['store', 'registry', 'kernel', ...PURE],
  engine: ['worker', 'store', 'registry', 'kernel', ...PURE],
  'api/contract': PURE,
  api: ['api/contract', 'engine', ...PURE],
  client: ['api/contract', ...PURE],
  cli: ['client', 'api/contract', ...PURE],
};

/** Node's modules that compute and touch nothing. */
const PURE_BUILTINS = ['node:buffer', 'node:crypto', 'node:path', 'node:path/posix', 'node:zlib'];

/** Packages, and the rooms that may use them. */
const PACKAGES: Readonly<Record<string, readonly string[]>> = {
  koffi: ['kernel'],
};

type Import = { readonly specifier: string; readonly typeOnly: boolean };
type Source = {
  /** Relative to the checkout. */
  readonly file: string;
  readonly room: string;
  readonly text: string;
  readonly imports: readonly Import[];
};

const IMPORT =
  /(?:^|\n)\s*(?:import|export)\s+(type\s+)?(?:[^'"`;]*?\sfrom\s+)?['"]([^'"\n]+)['"]|\bimport\(\s*['"]([^'"\n]+)['"]\s*\)/g;

/** The text without comments, so that words in them do not count. */
function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|[^:'"`\\])\/\/[^\n]*/g, '$1');
}

function importsOf(text: string): Import[] {
  return [...text.matchAll(IMPORT)].map((m) => ({
    specifier: m[2] ?? m[3] ?? '',
    typeOnly: m[1] !== undefined,
  }));
}

function roomOf(file: string): string {
  const [, first = '', second] = file.split('/');
  return first === 'api' && second === 'contract' ? 'api/contract' : first;
}

function readSources(folder: string): Source[] {
  return readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.ts'))
    .map((name) => {
      const file = path.join(folder, name);
      const text = withoutComments(readFileSync(path.join(ROOT, file), 'utf8'));
      return { file, room: roomOf(file), text, imports: importsOf(text) };
    });
}

const isNamedTest = ({ file }: Source): boolean =>
  /[./](test|fuzz|bench|fixture|suite)\.ts$/.test(file);
const sources = readSources('src');
/** What tests share: files that something imports, and nothing but tests. */
const shared = new Set(
  sources
    .filter((source) => {
      const importers = sources.filter((each) =>
        each.imports.some(({ specifier }) => targetOf(each, specifier) === source.file),
      );
      return importers.length > 0 && importers.every(isNamedTest);
    })
    .map(({ file }) => file),
);
const isTest = (source: Source): boolean =>
  isNamedTest(source) || (shared.has(source.file) && !source.imports.every(isOurs));
const shipped = sources.filter((source) => !isTest(source));

/** False for a package that the product does not have. */
function isOurs({ specifier }: Import): boolean {
  return /^(\.|node:)/.test(specifier) || specifier in PACKAGES;
}

function targetOf(source: Source, specifier: string): string {
  return path.join(path.dirname(source.file), specifier);
}

function eachImport(check: (source: Source, found: Import) => string | undefined): string[] {
  return shipped.flatMap((source) => source.imports.flatMap((i) => check(source, i) ?? []));
}

test('the rooms are read: a table that sees nothing would find nothing', () => {
  assert.ok(shipped.length > 30);
  assert.ok(shipped.some(({ imports }) => imports.length > 5));
  assert.deepEqual(
    [...new Set(shipped.map(({ room }) => room))].filter((room) => !(room in MAY_IMPORT)),
    [],
  );
  assert.deepEqual(
    importsOf("import type { A } from './a.ts';\nconst b = await import('./b.ts');"),
    [
      { specifier: './a.ts', typeOnly: true },
      { specifier: './b.ts', typeOnly: false },
    ],
  );
});

test('imports go downward only', () => {
  const wrong = eachImport((source, { specifier }) => {
    if (!specifier.startsWith('.')) return undefined;
    const target = targetOf(source, specifier);
    if (!target.startsWith('src/')) return `${source.file} leaves src/: ${specifier}`;
    const to = roomOf(target);
    if (to === source.room || MAY_IMPORT[source.room]?.includes(to) === true) return undefined;
    return `${source.file} (${source.room}) imports ${target} (${to})`;
  });
  assert.deepEqual(wrong, []);
});

test('the pure rooms and the contract do no I/O', () => {
  const pure: readonly string[] = [...PURE, 'api/contract'];
  const wrong = eachImport((source, { specifier, typeOnly }) => {
    if (!pure.includes(source.room) || typeOnly) return undefined;
    const isBuiltin = specifier.startsWith('node:') || builtinModules.includes(specifier);
    if (!isBuiltin || PURE_BUILTINS.includes(specifier)) return undefined;
    return `${source.file} imports ${specifier}`;
  });
  assert.deepEqual(wrong, []);
});

test('packages are used by the rooms that may, and no others are used', () => {
  const wrong = eachImport((source, { specifier, typeOnly }) => {
    if (specifier.startsWith('.') || specifier.startsWith('node:')) return undefined;
    const rooms = PACKAGES[specifier];
    if (rooms === undefined) return `${source.file} imports the package ${specifier}`;
    return typeOnly || rooms.includes(source.room) ? undefined : `${source.file}: ${specifier}`;
  });
  assert.deepEqual(wrong, []);
});

test('foreign functions are called by kernel/ffi only', () => {
  const allowed = ['src/kernel/native-library.ts'];
  const wrong = shipped
    .filter(({ file }) => !allowed.includes(file) && !file.startsWith('src/kernel/ffi'))
    .filter(
      ({ text, imports }) =>
        /\bloadKoffi\b|\bprocess\.dlopen\b/.test(text) ||
        imports.some(({ specifier }) => ['koffi', 'node:ffi'].includes(specifier)),
    );
  assert.deepEqual(
    wrong.map(({ file }) => file),
    [],
  );
});

test('only bin/ reads the environment and ends the process', () => {
  const wrong = shipped.flatMap(({ file, text }) =>
    [...text.matchAll(/\bprocess\.(env|exit|exitCode|argv)\b/g)].map((m) => `${file}: ${m[0]}`),
  );
  assert.deepEqual(wrong, []);
});

test('no import cycles', () => {
  const graph = new Map(
    shipped.map((source) => [
      source.file,
      source.imports
        .filter(({ specifier, typeOnly }) => specifier.startsWith('.') && !typeOnly)
        .map(({ specifier }) => targetOf(source, specifier)),
    ]),
  );
  const done = new Set<string>();
  const visit = (file: string, way: readonly string[]): void => {
    if (way.includes(file)) assert.fail(`cycle: ${[...way, file].join(' → ')}`);
    if (done.has(file)) return;
    for (const next of graph.get(file) ?? []) visit(next, [...way, file]);
    done.add(file);
  };
  for (const file of graph.keys()) visit(file, []);
});

test('no file of the tree is longer than 600 lines', () => {
  const long = [...sources, ...readSources('bin'), ...readSources('test')]
    .map(({ file }) => ({
      file,
      lines: readFileSync(path.join(ROOT, file), 'utf8').split('\n').length,
    }))
    .filter(({ lines }) => lines > 600);
  assert.deepEqual(long, []);
});

test('the version is the one of package.json', async () => {
  const { VERSION } = await import('../src/base/version.ts');
  const text = readFileSync(path.join(ROOT, 'package.json'), 'utf8');
  assert.equal(VERSION, (JSON.parse(text) as { version: string }).version);
});
