/**
 * Bundles the programs into `build/`: one CommonJS file for each part (`main`, `cli`, `daemon`,
 * `engine`, `worker`), so that starting one never reads another. The same files are what a single executable
 * carries as assets. Down-levelled to Node 22, the newest official 32-bit Arm build.
 */
import { execFileSync } from 'node:child_process';
import { statSync, utimesSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { type BuildOptions, build } from 'esbuild';

const root = path.join(import.meta.dirname, '..');
const outdir = path.join(root, 'build');

function commit(): string {
  try {
    const git = (...args: string[]) =>
      execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: 'pipe' }).trim();
    const head = git('rev-parse', '--short=12', 'HEAD');
    return git('status', '--porcelain', '--untracked-files=no') === '' ? head : `${head}-dirty`;
  } catch {
    return 'unknown'; // a source archive without history
  }
}

/** Bundles all parts; returns their sizes in bytes. */
export async function bundle(): Promise<Record<string, number>> {
  const started = new Date(); // sources saved while esbuild runs are newer than the stamp
  const names = ['main', 'cli', 'daemon', 'engine', 'worker'];
  const common: BuildOptions = {
    outdir,
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    target: 'node22',
    format: 'cjs',
    external: ['koffi'],
    // A part inside an executable has no loader for `import()`; `require` does the same.
    supported: { 'dynamic-import': false },
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    define: {
      'import.meta.url': 'importMetaUrl',
      'globalThis.coracleCommit': JSON.stringify(commit()),
    },
    banner: { js: 'const importMetaUrl=require("node:url").pathToFileURL(__filename).href;' },
    logLevel: 'warning',
  };
  // Each on its own: while one part does not build, the others can be worked on.
  const entry = (name: string): string => path.join(root, 'bin', `${name}.ts`);
  const results = await Promise.allSettled(
    names.map((name) => build({ ...common, entryPoints: [entry(name)] })),
  );
  const failed = names.filter((_, i) => results[i]?.status === 'rejected');
  if (failed.length > 0) throw new Error(`cannot bundle ${failed.join(', ')}`);
  const stamp = path.join(outdir, 'bundle.stamp');
  writeFileSync(stamp, '');
  utimesSync(stamp, started, started);
  return Object.fromEntries(
    names.map((name) => [name, statSync(path.join(outdir, `${name}.cjs`)).size]),
  );
}

if (import.meta.main) {
  try {
    const sizes = await bundle();
    if (process.argv.includes('--verbose')) console.log(sizes);
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    process.exitCode = 1;
  }
}
