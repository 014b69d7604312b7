import { invalidArgument } from '../base/errors.ts';

/** The keys that leave a container running, unless something else is configured. */
export const DEFAULT_DETACH_KEYS = 'ctrl-p,ctrl-q';

/** Keys between commas: a character, or `ctrl-` and one of `a-z@[\]^_`. */
const CONTROL: Readonly<Record<string, number>> = {
  '@': 0,
  '[': 27,
  '\\': 28,
  ']': 29,
  '^': 30,
  _: 31,
};

/** The bytes that a terminal sends for the keys. @throws invalidArgument */
export function parseDetachKeys(text: string): Uint8Array {
  const bytes = text.split(',').map((key) => {
    const m = /^ctrl-(.)$/.exec(key);
    const letter = m?.[1] ?? '';
    const code = /^[a-z]$/.test(letter) ? letter.charCodeAt(0) - 96 : CONTROL[letter];
    if (code !== undefined) return code;
    if (key.length === 1 && key.charCodeAt(0) < 128) return key.charCodeAt(0);
    throw invalidArgument(`Invalid detach keys (${text}) provided`);
  });
  return Uint8Array.from(bytes);
}

/** Passes on what is typed, and finds the detach keys in it. They themselves are kept back. */
export class DetachFilter {
  readonly #keys: Uint8Array;
  #matched = 0;

  constructor(keys: Uint8Array) {
    this.#keys = keys;
  }

  /** What to pass on; `detached` when the keys were typed: what follows them is dropped. */
  push(chunk: Uint8Array): { readonly bytes: Uint8Array; readonly detached: boolean } {
    const out: number[] = [];
    for (const byte of chunk) {
      if (byte === this.#keys[this.#matched]) {
        this.#matched += 1;
        if (this.#matched === this.#keys.length) {
          return { bytes: Uint8Array.from(out), detached: true };
        }
        continue;
      }
      // No match after all: what was kept back goes out, unless this key starts a new one.
      out.push(...this.#keys.subarray(0, this.#matched));
      this.#matched = byte === this.#keys[0] ? 1 : 0;
      if (this.#matched === 0) out.push(byte);
    }
    return { bytes: Uint8Array.from(out), detached: false };
  }
}
