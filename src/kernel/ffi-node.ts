import { type Koffi, loadKoffi, loadNativeLibrary } from './native-library.ts';

/**
 * Functions of the libraries that Node itself is made of (zlib, OpenSSL): it exports them for
 * addons. A build of Node that links them otherwise may not have them.
 */
export type Native = ((...args: unknown[]) => number) & {
  /** The same on a thread of the pool; the last argument is told the result. */
  readonly async: (...args: unknown[]) => void;
};

/** Bytes of a pointer and of `long`. */
export const WORD: 4 | 8 = process.arch === 'arm' || process.arch === 'ia32' ? 4 : 8;

let library: ReturnType<Koffi['load']> | undefined;

/** The functions of these prototypes, or undefined when one is missing. */
export function processFunctions<K extends string>(
  prototypes: Readonly<Record<K, string>>,
): Readonly<Record<K, Native>> | undefined {
  library ??= loadKoffi().load(null);
  return functionsOf(library, prototypes);
}

/** The same of a library that comes with this program, `native/NAME.c`. */
export function libraryFunctions<K extends string>(
  name: string,
  prototypes: Readonly<Record<K, string>>,
): Readonly<Record<K, Native>> | undefined {
  const own = loadNativeLibrary(name);
  return own && functionsOf(own, prototypes);
}

function functionsOf<K extends string>(
  from: ReturnType<Koffi['load']>,
  prototypes: Readonly<Record<K, string>>,
): Readonly<Record<K, Native>> | undefined {
  const found: Partial<Record<K, Native>> = {};
  for (const [name, prototype] of Object.entries(prototypes) as [K, string][]) {
    try {
      found[name] = from.func(prototype) as Native;
    } catch {
      return undefined; // koffi says in its own words that there is no such symbol
    }
  }
  return found as Record<K, Native>;
}

/** Address of a buffer's first byte; the buffer must stay referenced while it is used. */
export function addressOf(bytes: Uint8Array): bigint {
  return loadKoffi().address(bytes);
}

/** The text at an address, up to its NUL or `bytesMax`; '' at NULL. */
export function textAt(address: bigint, bytesMax: number): string {
  if (address === 0n) return '';
  return String(loadKoffi().decode(address, 'char', bytesMax)).replace(/\0.*$/s, '');
}

/** Writes a pointer or an unsigned long. */
export function putWord(to: Buffer, value: bigint, at: number): void {
  if (WORD === 8) to.writeBigUInt64LE(value, at);
  else to.writeUInt32LE(Number(value), at);
}
