import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { getRawAsset, isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';
import type koffiTypes from 'koffi';

/** The part of koffi that this project uses: its default export. */
export type Koffi = typeof koffiTypes;

let loaded: Koffi | undefined;

/**
 * Where the addon may lie for a moment. Hardened hosts let no program run from the first three, or
 * none from any but the last.
 */
const PLACES = ['/dev/shm', '/run', '/tmp', '/var/tmp', '/var/lib'];

/**
 * Koffi, loaded at first use. In a single executable the addon is an asset: `dlopen` wants a path,
 * so it is written to a private directory, best on a tmpfs, and unlinked once mapped (2 to 6 ms).
 */
export function loadKoffi(): Koffi {
  loaded ??= isSea() ? loadAsset() : loadPackage();
  return loaded;
}

/**
 * The addon alone, where it is the one for glibc: the package looks for it with code that takes 1 MB
 * and 6 ms to load.
 */
function loadPackage(): Koffi {
  const require = createRequire(import.meta.url);
  const { arch } = process;
  try {
    return require(`@koromix/koffi-linux-${arch}/linux_${arch}/koffi.node`) as Koffi;
  } catch {
    return require('koffi') as Koffi;
  }
}

/**
 * A library of this program's own, `native/NAME.c`: beside the bundle, or in the build folder of a
 * checkout, or an asset of the executable. Undefined where it cannot be loaded: whoever uses it has
 * another way.
 */
export function loadNativeLibrary(name: string): ReturnType<Koffi['load']> | undefined {
  const koffi = loadKoffi();
  try {
    if (isSea()) return fromAsset(name, (file) => koffi.load(file));
    const beside = fileURLToPath(new URL(name, import.meta.url));
    const built = fileURLToPath(new URL(`../../build/${name}`, import.meta.url));
    return koffi.load(existsSync(beside) ? beside : built);
  } catch {
    return undefined; // another architecture, or a Node that does not export what it needs
  }
}

function loadAsset(): Koffi {
  return fromAsset('koffi.node', (file) => {
    const module = { exports: {} };
    process.dlopen(module, file);
    return module.exports as Koffi;
  });
}

function fromAsset<T>(name: string, load: (file: string) => T): T {
  const bytes = new Uint8Array(getRawAsset(name));
  let cause: unknown;
  for (const place of PLACES) {
    try {
      return loadFrom(place, bytes, load);
    } catch (error) {
      cause = error; // absent, read-only, full or mounted noexec: try the next one
    }
  }
  const places = PLACES.join(', ');
  throw new Error(`cannot load ${name}: none of ${places} can be written and run from`, { cause });
}

function loadFrom<T>(place: string, bytes: Uint8Array, load: (file: string) => T): T {
  const directory = mkdtempSync(path.join(place, '.coracle-'));
  try {
    const file = path.join(directory, 'library');
    writeFileSync(file, bytes, { mode: 0o700 });
    return load(file);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
