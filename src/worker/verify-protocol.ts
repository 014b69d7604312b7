import type { DiffId } from '../base/digest.ts';

/** What the daemon and a worker say to each other about verifying layers. Types only. */

/** Input of the job `verify`. */
export type VerifyInput = {
  readonly layers: readonly {
    readonly diffId: DiffId;
    /** Absolute folder with `diff/` and `headers`. */
    readonly directory: string;
  }[];
};

/** Report for each layer, when it is begun and when it is done. */
export type VerifyReport =
  | { readonly diffId: DiffId; readonly state: 'begun' | 'whole' }
  | { readonly diffId: DiffId; readonly state: 'damaged'; readonly why: string };
