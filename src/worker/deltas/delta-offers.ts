import type { DiffId, Digest } from '../../base/digest.ts';
import { isEngineError, unavailable } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import type { DeltaPart } from '../../formats/delta/envelope.ts';
import type { DeltaMode } from '../../policy/delta-mode.ts';
import type { WantedLayer } from '../../policy/pull-plan.ts';
import type { BasesAnswer, LocalBase } from '../pull-protocol.ts';
import {
  checkEnvelope,
  type DeltaPlace,
  fetchEnvelope,
  type ListedDelta,
  listDeltas,
} from './remote-delta.ts';

/** What is pulled, and how the daemon is asked for what is here. */
export type DeltaQuest = {
  readonly place: DeltaPlace;
  readonly mode: DeltaMode;
  readonly manifest: Digest;
  readonly target: { readonly id: Digest; readonly diffIds: readonly DiffId[] };
  /** The layers that are not here. */
  readonly wanted: readonly WantedLayer[];
  /** Which of these images are here; those that are stay held. In the order asked for. */
  readonly bases: (ids: readonly string[]) => Promise<BasesAnswer>;
};

/** A delta in the registry, seen from here. */
export type DeltaOffer = ListedDelta & {
  /** Undefined when it is not here. */
  readonly local: LocalBase | undefined;
  /** What its own words say, where they were read: those whose base is here, the smallest first. */
  readonly read?: {
    readonly parts: readonly (DeltaPart | undefined)[];
    /** Bytes that were fetched to know. */
    readonly envelopeBytes: number;
    /** True when a pull would use it. */
    readonly isChosen: boolean;
  };
  /** Why it cannot be used. */
  readonly failure?: unknown;
};

/** Bytes of the layers that are not here. */
export function layerBytes({ wanted }: Pick<DeltaQuest, 'wanted'>): number {
  return wanted.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}

/**
 * The deltas to an image, the smallest first; of those that were read `sizeBytes` is what is to be
 * fetched. One that cannot be used, as it is damaged or of a later version, is no reason to leave
 * the next one.
 *
 * @throws the registry's error; at the end unavailable when it is not known of all whether their
 *     base is here
 */
export async function* deltaOffers(quest: DeltaQuest): AsyncGenerator<DeltaOffer, void> {
  const listed = await listDeltas(quest.place, quest.manifest);
  if (listed.length === 0) return;
  const { bases, problem } = await quest.bases(listed.map(({ base }) => base));
  let tries = 0;
  for (const [i, each] of listed.entries()) {
    const local = bases[i] ?? undefined;
    if (local === undefined || tries === LIMITS.deltasTriedMax) {
      yield { ...each, local };
      continue;
    }
    tries += 1;
    yield await read(quest, each, local);
  }
  if (problem !== '') throw unavailable(problem);
}

async function read(quest: DeltaQuest, listed: ListedDelta, local: LocalBase): Promise<DeltaOffer> {
  const { place, target, wanted, mode } = quest;
  try {
    const { envelope, bytes } = await fetchEnvelope(place, listed.digest);
    checkEnvelope(envelope, local, target);
    const parts = wanted.map(({ position }) => envelope.parts[position]);
    const sizeBytes = parts.reduce((sum, part) => sum + (part?.sizeBytes ?? 0), 0);
    const isWhole = wanted.every(
      ({ diffId }, n) => parts[n] !== undefined || local.diffIds.includes(diffId),
    );
    const isChosen =
      mode === 'require' ? isWhole : mode === 'auto' && sizeBytes < layerBytes(quest);
    const said = { parts: envelope.parts, envelopeBytes: bytes, isChosen };
    return { ...listed, sizeBytes, local, read: said };
  } catch (failure) {
    place.session.signal.throwIfAborted();
    if (!isEngineError(failure) || isEngineError(failure, 'unavailable')) throw failure;
    return { ...listed, local, failure };
  }
}
