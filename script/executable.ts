/**
 * Makes `dist/coracle` of the bundle: a Node single executable (nodejs.org/api/
 * single-executable-applications). Started by script/build.
 *
 * The Node it is made of is stripped first. There is no start-up snapshot: one idles at twice the
 * memory. Options for Node that the daemon starts itself with come as `--node-options=`, which
 * `execArgvExtension: cli` allows.
 */
import { execFileSync } from 'node:child_process';
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';

const root = path.join(import.meta.dirname, '..');
const at = (...parts: string[]): string => path.join(root, ...parts);

/** The addon for this machine's C library and processor. */
function koffiAddon(): string {
  const isMusl = !(
    'glibcVersionRuntime' in (process.report.getReport() as { header: object }).header
  );
  const triplet = `${isMusl ? 'musl' : 'linux'}_${process.arch}`;
  const require = createRequire(import.meta.url);
  const packageFile = require.resolve(`@koromix/koffi-linux-${process.arch}/package.json`);
  return path.join(path.dirname(packageFile), triplet, 'koffi.node');
}

/** V8's code for a part, as `bin/parts.ts` compiles it; the engine's options would reject it. */
function codeCache(part: string, into: string): string {
  const worker = at('script/code-cache.cjs');
  const file = path.join(into, `${part}.cache`);
  execFileSync(process.execPath, [
    worker,
    at('build', `${part}.cjs`),
    `/coracle/${part}.cjs`,
    file,
  ]);
  return file;
}

const work = mkdtempSync(at('build/executable-'));
try {
  const node = path.join(work, 'node');
  copyFileSync(process.execPath, node);
  execFileSync('strip', ['--strip-all', node]);
  const config = {
    main: at('build/main.cjs'),
    executable: node,
    output: path.join(work, 'coracle'),
    disableExperimentalSEAWarning: true,
    useCodeCache: false, // two kilobytes; the parts have caches of their own
    execArgv: ['--disable-warning=ExperimentalWarning'],
    execArgvExtension: 'cli',
    assets: {
      'koffi.node': koffiAddon(),
      shim: at('build/shim'),
      init: at('build/init'),
      userns: at('build/userns'),
      'maker.so': at('build/maker.so'),
      'unpacker.so': at('build/unpacker.so'),
      'remover.so': at('build/remover.so'),
      'cli.cjs': at('build/cli.cjs'),
      'cli.cache': codeCache('cli', work),
      'daemon.cjs': at('build/daemon.cjs'),
      'daemon.cache': codeCache('daemon', work),
      'engine.cjs': at('build/engine.cjs'),
      'worker.cjs': at('build/worker.cjs'),
      'worker.cache': codeCache('worker', work),
    },
  };
  const configFile = path.join(work, 'sea.json');
  writeFileSync(configFile, JSON.stringify(config));
  // Built by the stripped Node itself, so that the code cache is of its version and options.
  execFileSync(node, ['--build-sea', configFile], { stdio: ['ignore', 'ignore', 'inherit'] });
  mkdirSync(at('dist'), { recursive: true });
  renameSync(config.output, at('dist/coracle'));
  rmSync(at('dist/coracled'), { force: true });
  symlinkSync('coracle', at('dist/coracled'));
} finally {
  rmSync(work, { recursive: true });
}
const megabytes = statSync(at('dist/coracle')).size / 1e6;
console.log(`dist/coracle: ${megabytes.toFixed(1)} MB`);
