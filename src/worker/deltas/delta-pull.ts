import { Readable } from 'node:stream';
import { Semaphore } from '../../base/async.ts';
import { humanSize } from '../../base/bytes.ts';
import type { DiffId, Digest } from '../../base/digest.ts';
import { isEngineError, messageOf, notFound } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import type { DeltaPart } from '../../formats/delta/envelope.ts';
import { collectGarbage } from '../../kernel/collect-garbage.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import type { DeltaMode } from '../../policy/delta-mode.ts';
import type { WantedLayer } from '../../policy/pull-plan.ts';
import { readBlob } from '../../registry/blobs.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import { LayerEntries } from '../../store/layers/layer-entries.ts';
import { layerTar } from '../../store/layers/layer-tar.ts';
import { dropPartial, takeEarlier } from '../../store/layers/partials.ts';
import { extractLayer } from '../extract.ts';
import type { LayerProgress } from '../layer-progress.ts';
import { extractPart } from './part-decoder.ts';
import { checkEnvelope, type DeltaPlace, fetchEnvelope, listDeltas } from './remote-delta.ts';

/** An image that is here, with what a delta from it needs. */
export type LocalBase = {
  readonly id: Digest;
  /** As its user knows it. */
  readonly name: string;
  readonly diffIds: readonly DiffId[];
  /** Absolute folders of its layers, bottom first. */
  readonly directories: readonly string[];
};

/** What is pulled, and how the daemon is asked for what is here. */
export type DeltaSearch = {
  readonly sys: Syscalls;
  readonly place: DeltaPlace;
  readonly mode: DeltaMode;
  /** As the user reads it. */
  readonly familiar: string;
  readonly manifest: Digest;
  readonly target: { readonly id: Digest; readonly diffIds: readonly DiffId[] };
  /** The layers that are not here. */
  readonly wanted: readonly WantedLayer[];
  /** Which of these images are here; those that are stay held. In the order asked for. */
  readonly bases: (ids: readonly string[]) => Promise<readonly (LocalBase | null)[]>;
  readonly say: (status: string) => void;
};

/** What a delta that failed in all its forms says to who insists on one. */
function required(familiar: string, why: string): Error {
  return notFound(
    `cannot pull ${familiar} by a delta: ${why}; pull it with --delta=auto to fetch its layers`,
  );
}

/** True for all that layers may help against: not a disk that fails, and not a cancellation. */
function mayFallBack(error: unknown): boolean {
  return isEngineError(error) && error.kind !== 'internal' && error.kind !== 'canceled';
}

const earlierOf = (directory: string): string => `${directory}-earlier`;

/** A delta that a pull uses in place of layers, until something is wrong with it. */
export class DeltaPull implements Disposable {
  readonly #search: DeltaSearch;
  readonly #base: LocalBase;
  readonly #parts: readonly (DeltaPart | undefined)[];
  /** One layer at a time: they read the same files, and memory is dear. */
  readonly #turn = new Semaphore(1);
  #entries: LayerEntries | undefined;
  #isUsable = true;
  /** Folders of layers that the link has cut off. */
  readonly #cut = new Set<string>();
  downloadedBytes: number;

  private constructor(
    search: DeltaSearch,
    base: LocalBase,
    parts: readonly (DeltaPart | undefined)[],
    downloadedBytes: number,
  ) {
    this.#search = search;
    this.#base = base;
    this.#parts = parts;
    this.downloadedBytes = downloadedBytes;
  }

  /**
   * Looks for a delta to the image: the smallest whose base is here and that is smaller than the
   * layers. Whatever fails on the way only means that there is none, unless one is required.
   * @throws notFound when a delta is required and there is none
   */
  static async find(search: DeltaSearch): Promise<DeltaPull | undefined> {
    const { mode, familiar, say } = search;
    if (mode === 'never' || search.wanted.length === 0) return undefined;
    try {
      const found = await DeltaPull.#find(search);
      if (found === undefined && mode === 'require') {
        throw required(familiar, 'the registry has none whose base is here');
      }
      return found;
    } catch (error) {
      search.place.session.signal.throwIfAborted();
      if (mode === 'require') throw error;
      if (!isEngineError(error)) throw error;
      say(`Deltas are not used: ${messageOf(error)}`);
      return undefined;
    }
  }

  static async #find(search: DeltaSearch): Promise<DeltaPull | undefined> {
    const { place, mode, target, wanted, say } = search;
    const listed = await listDeltas(place, search.manifest);
    if (listed.length === 0) return undefined;
    const bases = await search.bases(listed.map(({ base }) => base));
    const layerBytes = wanted.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
    const usable = listed.flatMap(({ digest }, i) => {
      const base = bases[i];
      return base === null || base === undefined ? [] : [{ digest, base }];
    });
    for (const { digest, base } of usable.slice(0, LIMITS.deltasTriedMax)) {
      const { envelope, bytes } = await fetchEnvelope(place, digest);
      checkEnvelope(envelope, base, target);
      const parts = wanted.map(({ position }) => envelope.parts[position]);
      const sizeBytes = parts.reduce((sum, part) => sum + (part?.sizeBytes ?? 0), 0);
      const isWhole = wanted.every(
        ({ diffId }, n) => parts[n] !== undefined || base.diffIds.includes(diffId),
      );
      if (mode === 'auto' ? sizeBytes >= layerBytes : !isWhole) continue;
      const sizes = `${humanSize(sizeBytes, 3)} instead of ${humanSize(layerBytes, 3)}`;
      say(`Using a delta from ${base.name}: ${sizes}`);
      return new DeltaPull(search, base, envelope.parts, bytes);
    }
    return undefined;
  }

  /** What comes over the link for a layer; undefined when the delta is of no use for it. */
  linkBytes(position: number): number | undefined {
    return this.#isUsable ? (this.#parts[position]?.sizeBytes ?? 0) : undefined;
  }

  /**
   * Makes a layer by its part; undefined when it must be fetched instead, which is said. `directory`
   * is the layer's in staging.
   * @throws what ends the pull: a cancellation, a disk that fails, a failure where deltas are required
   */
  async extract(
    layer: WantedLayer,
    directory: string,
    progress: LayerProgress,
  ): Promise<StagedLayer | undefined> {
    return await this.#turn.run(async () => {
      if (!this.#isUsable) return undefined;
      const part = this.#parts[layer.position];
      try {
        if (part === undefined) return await this.#copy(layer, directory);
        return await this.#extract(layer, part, directory, progress);
      } catch (error) {
        this.#search.place.session.signal.throwIfAborted();
        if (!mayFallBack(error) || this.#search.mode === 'require') throw error;
        this.#isUsable = false;
        if (isEngineError(error, 'unavailable')) this.#cut.add(directory);
        else dropPartial(directory);
        this.#search.say(`The delta cannot be used, fetching layers: ${messageOf(error)}`);
        return undefined;
      }
    });
  }

  /**
   * The layer comes by itself. Until then what the link has left of it is kept: when that is all
   * that comes, the next pull goes on with the delta.
   */
  forget(directory: string): void {
    if (!this.#cut.delete(directory)) return;
    dropPartial(directory);
    dropPartial(earlierOf(directory));
  }

  /** A layer that the base has, where the base does not lie here. */
  async #copy({ diffId }: WantedLayer, directory: string): Promise<StagedLayer | undefined> {
    const { sys, place } = this.#search;
    const from = this.#base.directories[this.#base.diffIds.indexOf(diffId)];
    if (from === undefined) return undefined;
    const {
      digest: _digest,
      sizeBytes: _bytes,
      compression: _none,
      ...staged
    } = await extractLayer({
      ...{ sys, directory, expected: { diffId }, origin: undefined },
      source: Readable.from(layerTar({ sys, directory: from, diffId })),
      signal: place.session.signal,
    });
    return staged;
  }

  /** Fetches a part and makes the layer of it, from where an earlier pull was cut off. */
  async #extract(
    layer: WantedLayer,
    part: DeltaPart,
    directory: string,
    progress: LayerProgress,
  ): Promise<StagedLayer> {
    const { sys, place } = this.#search;
    const { session, path, attempts } = place;
    if (this.#entries === undefined) {
      this.#entries = new LayerEntries(sys, this.#base.directories);
      collectGarbage();
    }
    const { digest, sizeBytes } = part;
    const earlier = takeEarlier(digest, ['delta'], earlierOf(directory));
    const fromByte = earlier?.checkpoint.hashedBytes ?? 0;
    progress.expect(sizeBytes, fromByte);
    if (fromByte > 0) progress.say(`Resuming at ${humanSize(fromByte, 3)}`);
    const source = readBlob(session, {
      ...{ path, digest, sizeBytes, fromByte, attempts },
      onRetry: (waitMs) => progress.say(`Retrying in ${Math.ceil(waitMs / 1000)} seconds`),
    });
    try {
      const staged = await extractPart({
        ...{ sys, base: this.#entries, source, part, directory, earlier },
        diffId: layer.diffId,
        signal: session.signal,
        checkpointMs: LIMITS.checkpointMs,
        onProgress: (bytes) => progress.bytes('Downloading', bytes, sizeBytes),
      });
      if (earlier !== undefined) dropPartial(earlier.directory);
      this.downloadedBytes += sizeBytes - fromByte;
      return staged;
    } catch (error) {
      if (earlier === undefined || isEngineError(error, 'unavailable', 'canceled')) throw error;
      dropPartial(earlier.directory);
      dropPartial(directory);
      progress.say('What was here is of no use, fetching all of it');
      return await this.#extract(layer, part, directory, progress);
    }
  }

  [Symbol.dispose](): void {
    this.#entries?.[Symbol.dispose]();
  }
}
