import { type Koffi, loadKoffi } from './native-library.ts';
import { syscallError } from './syscall-error.ts';
import type { PathArg } from './syscalls.ts';

/**
 * Foreign function calls into libc. The only file of the tree that knows koffi, so that another FFI
 * can take its place; the files beside it hold the calls themselves.
 *
 * Notes on koffi: it has no `ssize_t` (`long` is the same on Linux); variadic functions (`syscall`,
 * `ioctl`) want each argument's type at the call, so fixed-arity prototypes of `syscall` are
 * declared instead; pointers inside structs are written by hand with `koffi.address`.
 */

type Native = (...args: unknown[]) => number | bigint;

/** What an extended attribute, and a list of their names, has room for (xattr(7)). */
export const XATTR_BYTES_MAX = 64 << 10;
/** What is tried first: the kernel makes as much room, and clears it, whatever there is to be told. */
const XATTR_BYTES_SHORT = 256;

/** The C library of this process. */
export class Libc {
  readonly koffi: Koffi = loadKoffi();
  readonly #library = this.koffi.load(null);
  readonly #functions = new Map<string, Native>();
  readonly #xattrValue = Buffer.allocUnsafeSlow(XATTR_BYTES_MAX);

  /** The function with this C prototype, declared at first use. */
  get(prototype: string): Native {
    let native = this.#functions.get(prototype);
    if (native === undefined) {
      native = this.#library.func(prototype) as Native;
      this.#functions.set(prototype, native);
    }
    return native;
  }

  /** The same function, to be called on a thread of the pool; its last argument is `(error, result)`. */
  getAsync(prototype: string): (...args: unknown[]) => void {
    return (this.get(prototype) as Native & { async: (...args: unknown[]) => void }).async;
  }

  /** Calls, and throws on -1. */
  call(name: string, path: PathArg | undefined, prototype: string, ...args: unknown[]): number {
    const result = Number(this.get(prototype)(...args));
    if (result === -1) throw syscallError(name, this.koffi.errno(), textOf(path));
    return result;
  }

  /** The value of an extended attribute of `file`; undefined when there is none. */
  xattr(
    name: string,
    path: PathArg | undefined,
    prototype: string,
    file: PathArg | number,
    attribute: string,
  ): Uint8Array | undefined {
    const value = this.#xattrValue;
    const native = this.get(prototype);
    let length = Number(native(file, attribute, value, XATTR_BYTES_SHORT));
    let errno = length < 0 ? this.koffi.errno() : 0;
    if (errno === 34) {
      length = Number(native(file, attribute, value, value.length)); // ERANGE: it is longer
      errno = length < 0 ? this.koffi.errno() : 0;
    }
    if (length >= 0) return Uint8Array.prototype.slice.call(value, 0, length);
    if (errno === 61 || errno === 95) return undefined; // ENODATA, EOPNOTSUPP
    throw syscallError(name, errno, textOf(path));
  }
}

/** A path for an error's sentence. */
export function textOf(path: PathArg | undefined): string | undefined {
  if (path === undefined || typeof path === 'string') return path;
  return Buffer.from(path.buffer, path.byteOffset, Math.max(0, path.length - 1)).toString();
}
