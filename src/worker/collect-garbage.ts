/**
 * Collects garbage now: some 10 ms. V8 lets its heap grow by as much as it has before it does that
 * by itself, and does not know what garbage holds outside of the heap. A worker is started with
 * `--expose-gc`; elsewhere, in tests, this does nothing.
 */
export function collectGarbage(): void {
  (globalThis as { readonly gc?: () => void }).gc?.();
}
