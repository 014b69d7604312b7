import { Readable } from 'node:stream';
import { Semaphore } from '../../base/async.ts';
import { humanSize } from '../../base/bytes.ts';
import { isEngineError, messageOf, notFound } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import type { DeltaPart } from '../../formats/delta/envelope.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import type { WantedLayer } from '../../policy/pull-plan.ts';
import { readBlob } from '../../registry/blobs.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import { LayerEntries } from '../../store/layers/layer-entries.ts';
import { layerTar } from '../../store/layers/layer-tar.ts';
import { dropPartial, takeEarlier } from '../../store/layers/partials.ts';
import { extractLayer } from '../extract.ts';
import type { LayerProgress } from '../layer-progress.ts';
import type { LocalBase } from '../pull-protocol.ts';
import { type DeltaQuest, deltaOffers, layerBytes } from './delta-offers.ts';
import { extractPart } from './part-decoder.ts';

/** What is pulled, and who is told of it. */
export type DeltaSearch = DeltaQuest & {
  readonly sys: Syscalls;
  /** As the user reads it. */
  readonly familiar: string;
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
    const { say } = search;
    const failed: { readonly name: string; readonly failure: unknown }[] = [];
    for await (const { sizeBytes, local, read, failure } of deltaOffers(search)) {
      if (local !== undefined && failure !== undefined) failed.push({ name: local.name, failure });
      if (local === undefined || read?.isChosen !== true) continue;
      for (const { name, failure } of failed) {
        say(`A delta from ${name} cannot be used: ${messageOf(failure)}`);
      }
      const sizes = `${humanSize(sizeBytes, 3)} instead of ${humanSize(layerBytes(search), 3)}`;
      say(`Using a delta from ${local.name}: ${sizes}`);
      return new DeltaPull(search, local, read.parts, read.envelopeBytes);
    }
    const [first] = failed;
    if (first !== undefined) throw first.failure;
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
    // What that leaves is collected before the first frame.
    this.#entries ??= new LayerEntries(sys, this.#base.directories);
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
