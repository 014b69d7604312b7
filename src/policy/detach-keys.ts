import { invalidArgument } from '../base/errors.ts';

/** The keys that leave a terminal without ending its process. Source: docs.docker.com, `attach --detach-keys`. */

/** Control characters by the key that is held with ctrl. */
const CTRL = '@abcdefghijklmnopqrstuvwxyz[\\]^_';

/** Bytes of `ctrl-p,ctrl-q`, `a,b`, `ctrl-@`; '' is the default. @throws invalidArgument */
export function parseDetachKeys(text: string): Buffer {
  if (text === '') return Buffer.from([16, 17]);
  const bytes = text.split(',').map((key) => {
    if (/^[\x20-\x7e]$/.test(key)) return key.charCodeAt(0);
    if (key.toUpperCase() === 'DEL') return 127;
    const control = /^ctrl-(.)$/i.exec(key)?.[1]?.toLowerCase() ?? '';
    const code = control === '' ? -1 : CTRL.indexOf(control);
    if (code < 0) throw invalidArgument(`Invalid detach keys (${text}) provided`);
    return code;
  });
  return Buffer.from(bytes);
}

/** Looks for the keys in what a client types. Bytes that may be their beginning are held back. */
export class DetachFilter {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** What is to be passed on of `chunk`, and whether the keys were complete; what follows them is dropped. */
  push(chunk: Uint8Array): { readonly bytes: Uint8Array; readonly detached: boolean } {
    const isPlain = this.#matched === 0 && !chunk.includes(this.#keys[0] ?? 0);
    if (isPlain) return { bytes: chunk, detached: false };
    const out: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched += 1;
        if (this.#matched < this.#keys.length) continue;
        return { bytes: Uint8Array.from(out), detached: true };
      }
      // What was held back was not the keys; this byte may start them anew.
      out.push(...this.#keys.subarray(0, this.#matched));
      this.#matched = 0;
      if (byte === this.#keys[0]) this.#matched = 1;
      else out.push(byte);
    }
    return { bytes: Uint8Array.from(out), detached: false };
  }
}
