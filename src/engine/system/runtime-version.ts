import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Engine } from '../engine.ts';

/** What a runtime says of itself; '' where it says nothing. */
export type RuntimeVersion = { readonly version: string; readonly commit: string };

const TIMEOUT_MS = 5_000;
const UNKNOWN: RuntimeVersion = { version: '', commit: '' };

/** A runtime is asked once in a daemon's life. */
const known = new WeakMap<Engine, Map<string, Promise<RuntimeVersion>>>();

/** Version and commit that `PATH --version` prints; empty for a runtime that cannot be run. */
export function runtimeVersion(engine: Engine, path: string): Promise<RuntimeVersion> {
  let ofEngine = known.get(engine);
  if (ofEngine === undefined) {
    ofEngine = new Map();
    known.set(engine, ofEngine);
  }
  let version = ofEngine.get(path);
  if (version === undefined) {
    version = ask(engine, path);
    ofEngine.set(path, version);
  }
  return version;
}

async function ask(engine: Engine, path: string): Promise<RuntimeVersion> {
  try {
    const { stdout } = await promisify(execFile)(path, ['--version'], { timeout: TIMEOUT_MS });
    return parseRuntimeVersion(stdout);
  } catch (error) {
    engine.log.debug(`cannot ask the runtime ${path} for its version`, { error: String(error) });
    return UNKNOWN;
  }
}

/** Reads `crun version 1.8.1\ncommit: f8a0…`, which runc prints as well. */
export function parseRuntimeVersion(text: string): RuntimeVersion {
  return {
    version: /^\S+ version (\S+)/m.exec(text)?.[1] ?? '',
    commit: /^commit: (\S+)/m.exec(text)?.[1] ?? '',
  };
}

/** The runtime that containers get unless they ask for another. */
export function defaultRuntime(engine: Engine): { name: string; path: string } {
  const { defaultRuntime: name, runtimes } = engine.config();
  return { name, path: runtimes[name]?.path ?? name };
}
