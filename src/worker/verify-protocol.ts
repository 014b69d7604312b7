import type { DiffId } from '../base/digest.ts';

/** What the daemon and a worker say to each other about verifying layers. Types only. */

/** A layer to be verified. */
export type VerifiedLayer = {
  readonly diffId: DiffId;
  /** Absolute folder with `diff/` and `headers`. */
  readonly directory: string;
};

/** Input of the job `verify`. */
export type VerifyInput = {
  readonly layers: readonly VerifiedLayer[];
  /** All others: those that share contents with one that is damaged are verified as well. */
  readonly others: readonly VerifiedLayer[];
};

/** Report for each layer, when it is begun and when it is done. */
export type VerifyReport =
  | { readonly diffId: DiffId; readonly state: 'begun' | 'whole' }
  | { readonly diffId: DiffId; readonly state: 'damaged'; readonly why: string };
