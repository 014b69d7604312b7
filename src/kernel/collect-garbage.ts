import { type Native, processFunctions } from './ffi-node.ts';

let functions: Readonly<Record<'malloc_trim', Native>> | null | undefined;

/**
 * Collects garbage now, and gives back the memory that is free then: some 10 ms. V8 lets its heap
 * grow by as much as it has before it does that by itself, and does not know what garbage holds
 * outside of the heap; glibc keeps what its compilers and such garbage have freed, until it is told
 * not to (malloc_trim(3), which other libraries do not have). A worker is started with `--expose-gc`;
 * elsewhere, in tests, this does nothing.
 */
export function collectGarbage(): void {
  const { gc } = globalThis as { readonly gc?: () => void };
  if (gc === undefined) return;
  gc();
  functions ??= processFunctions({ malloc_trim: 'int malloc_trim(size_t pad)' }) ?? null;
  functions?.malloc_trim(0);
}
