import { createHash } from 'node:crypto';
import type { ChainId, DiffId } from './digest.ts';

/**
 * ChainIDs of a stack of layers, bottom first (OCI image-spec config.md):
 * `chain(L0) = diffID(L0)`, `chain(L0…Ln) = sha256(chain(L0…Ln-1) + " " + diffID(Ln))`.
 */
export function chainIds(diffIds: readonly DiffId[]): ChainId[] {
  const chains: ChainId[] = [];
  let below: ChainId | undefined;
  for (const diffId of diffIds) {
    below = (
      below === undefined
        ? diffId
        : `sha256:${createHash('sha256').update(`${below} ${diffId}`).digest('hex')}`
    ) as ChainId;
    chains.push(below);
  }
  return chains;
}
