import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Native, processFunctions } from './ffi-node.ts';

let collect: (() => void) | undefined;
let functions: Readonly<Record<'malloc_trim', Native>> | null | undefined;

/**
 * Collects garbage now, and gives back the memory that is free then: some 10 ms. V8 lets its heap
 * grow by as much as it has before it does that by itself, and does not know what garbage holds
 * outside of the heap; glibc keeps what its compilers and such garbage have freed, until it is told
 * not to (malloc_trim(3), which other libraries do not have). The option that shows `gc` to new
 * contexts is set at first use: given at the start it voids Node's own code cache.
 */
export function collectGarbage(): void {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
  functions ??= processFunctions({ malloc_trim: 'int malloc_trim(size_t pad)' }) ?? null;
  functions?.malloc_trim(0);
}
