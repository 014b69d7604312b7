import { createRequire } from 'node:module';
import { getRawAsset, isSea } from 'node:sea';
import { compileFunction } from 'node:vm';

/** The parts of the program; each is a bundle of its own. */
export type PartName = 'cli' | 'daemon' | 'engine' | 'worker';

/**
 * Set by `daemon` for `engine`, which it becomes: number of the descriptor of the host's mount
 * namespace, with ` new` behind it where the daemon's own was made just now; or empty.
 */
export const STAGE = 'CORACLE_STAGE';

/** What each part exports. It sets `process.exitCode` or exits by itself. */
export type Part = { readonly main: (args: string[], program: string) => void };

/** Loads a part: an asset of the single executable, or the file beside this one. */
export function loadPart(name: PartName): Part {
  const require = createRequire(import.meta.url);
  return isSea() ? loadAsset(name, require) : (require(`./${name}.cjs`) as Part);
}

function loadAsset(name: PartName, require: NodeJS.Require): Part {
  const source = Buffer.from(getRawAsset(`${name}.cjs`)).toString('latin1');
  const module = { exports: {} };
  const filename = `/coracle/${name}.cjs`;
  const body = compileFunction(
    source,
    ['exports', 'require', 'module', '__filename', '__dirname'],
    { filename, cachedData: codeCacheOf(name) },
  ) as (...values: unknown[]) => void;
  body(module.exports, require, module, filename, '/coracle');
  return module.exports as Part;
}

/** V8's code for the part, made by script/build; V8 ignores it when its flags or version differ. */
function codeCacheOf(name: PartName): Buffer | undefined {
  try {
    return Buffer.from(getRawAsset(`${name}.cache`));
  } catch {
    return undefined; // parts that run with other flags have none
  }
}
