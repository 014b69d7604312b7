import type { DiffId } from '../../base/digest.ts';
import { dataLoss } from '../../base/errors.ts';
import type { DeltaPart } from '../../formats/delta/envelope.ts';
import { type BaseEntries, decodeLayer } from '../../formats/delta/layer-codec.ts';
import { collectGarbage } from '../../kernel/collect-garbage.ts';
import { inflatePieces } from '../../kernel/sync-inflate.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import type { PartCheckpoint } from '../../store/layers/layer-checkpoint.ts';
import { layerTarPrefix } from '../../store/layers/layer-tar.ts';
import type { EarlierPart } from '../../store/layers/partials.ts';
import { EarlierFiles } from '../earlier-files.ts';
import { LayerExtraction } from '../layer-extraction.ts';
import type { FileIdentity } from '../local-contents.ts';
import { PartSource } from './part-source.ts';

/** Log2 of the window that a part may ask for: 4 MiB. */
const WINDOW_LOG_MAX = 22;
/** That of a writer: 1 MiB, which a reader has in memory. Four times as much gains 0.02 %. */
export const PART_WINDOW_LOG = 20;
const OUTPUT_BYTES = 64 << 10;
/** Copied contents of at most this are handed on together with the head that follows. */
const SMALL_BYTES = OUTPUT_BYTES / 2;
/** Garbage is collected each time that so many contents were copied. */
const COPIES_UNTIL_COLLECTED = 2048;
/** What a block of new content leaves, in copies. */
const BLOCK_IN_COPIES = 4;
const LIMITS_OF_ZSTD = { zstdWindowLogMax: WINDOW_LOG_MAX, outputBytes: OUTPUT_BYTES };

/** The base that a part is used on. */
export type PartBase = BaseEntries & {
  /** The file that is an entry's content as a whole; undefined where it is not one. */
  readonly identity: (index: number) => FileIdentity | undefined;
};

/** A part, and what becomes of it. */
export type PartOptions = {
  readonly sys: Syscalls;
  readonly base: PartBase;
  /** The part's bytes, from the checkpoint on; a piece is valid until the next is asked for. */
  readonly source: AsyncIterable<Uint8Array>;
  readonly part: DeltaPart;
  /** Absolute; does not exist yet. */
  readonly directory: string;
  readonly diffId: DiffId;
  readonly signal: AbortSignal;
  /** Bytes of the part that are dealt with. */
  readonly onProgress: (bytes: number) => void;
  /** Between two frames it notes how far it has come, but not more often than this. */
  readonly checkpointMs: number;
  /** An extraction of the same part that was cut off, to be gone on with. */
  readonly earlier?: EarlierPart<PartCheckpoint> | undefined;
};

/**
 * Makes a layer of a delta's part and the base in one pass: zstd → entries → tar → files. Nothing
 * is kept in between; contents of the base are read as they are needed. On failure the caller drops
 * `directory`.
 *
 * @throws dataLoss for a part that is damaged, lies, or does not fit the base
 */
export async function extractPart(options: PartOptions): Promise<StagedLayer> {
  const { sys, base, directory, diffId, part, signal, earlier } = options;
  using files = earlier && new EarlierFiles(sys, earlier.directory, earlier.checkpoint.tail);
  await using extraction = new LayerExtraction({
    ...{ sys, directory, files, origin: undefined },
    expected: { diffId, sizeBytes: part.tarBytes },
  });
  extraction.inflatedElsewhere('none');
  await using source = new PartSource({ ...options, from: earlier?.checkpoint });
  const tar = new TarOutput(extraction, part.tarBytes);
  if (earlier !== undefined) await replay(options, tar, earlier);
  // What was written behind the checkpoint may never have come to the disk.
  files?.[Symbol.dispose]();
  let notedMs = performance.now();
  for (const frame of source.frames()) {
    collectGarbage();
    const decoder = new PieceDriver(base, tar);
    for await (const piece of inflatePieces(frame, 'zstd', LIMITS_OF_ZSTD)) {
      for (let at = 0; at < piece.length || !decoder.isStarved; ) {
        signal.throwIfAborted();
        if (decoder.isDone) throw dataLoss('invalid delta: bytes after its end');
        at += decoder.push(piece.subarray(at));
        while (tar.copying !== undefined) {
          tar.copySome(base);
          await tar.caughtUp();
        }
      }
      await tar.caughtUp();
    }
    if (!decoder.isDone) throw dataLoss('invalid delta: it is cut off');
    tar.flush();
    if (performance.now() - notedMs < options.checkpointMs) continue;
    const due = source.checkpoint(tar.bytes);
    if (due !== undefined) await extraction.note(due);
    notedMs = performance.now();
  }
  await source.end();
  const {
    digest: _digest,
    sizeBytes: _sizeBytes,
    compression: _none,
    ...staged
  } = await extraction.finish();
  return staged;
}

/** Takes in the tar up to the checkpoint, as the earlier extraction left it. */
async function replay(
  { sys, signal }: PartOptions,
  tar: TarOutput,
  { directory, checkpoint }: EarlierPart<PartCheckpoint>,
): Promise<void> {
  const { point, tail } = checkpoint;
  for (const chunk of layerTarPrefix({ sys, directory }, point.outputBytes, tail)) {
    signal.throwIfAborted();
    tar.write(chunk);
    await tar.caughtUp();
  }
}

/** Gives the decoder the bytes that it asks for, from pieces of any size. */
class PieceDriver {
  readonly #decoder: Generator<number, void, Uint8Array>;
  /** Bytes that the decoder waits for, and those of them that came in earlier pieces. */
  #need = 0;
  #held = Buffer.alloc(0);
  #heldBytes = 0;
  isDone = false;

  constructor(base: PartBase, tar: TarOutput) {
    this.#decoder = decodeLayer(base, {
      raw: (bytes) => tar.write(bytes),
      content: (bytes) => tar.content(bytes),
      copy: (index) => tar.startCopy(index, base.contentBytes(index) ?? 0),
    });
    this.#take(this.#decoder.next());
  }

  /** True when it cannot go on without further bytes. */
  get isStarved(): boolean {
    return this.isDone || this.#need > 0;
  }

  /** Makes one step, or keeps what comes for one; returns how many bytes it took. */
  push(bytes: Uint8Array): number {
    const taken = Math.min(this.#need - this.#heldBytes, bytes.length);
    if (this.#heldBytes === 0 && taken === this.#need) {
      this.#take(this.#decoder.next(bytes.subarray(0, taken)));
      return taken;
    }
    if (this.#held.length < this.#need) {
      const grown = Buffer.allocUnsafe(this.#need);
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    this.#held.set(bytes.subarray(0, taken), this.#heldBytes);
    this.#heldBytes += taken;
    if (this.#heldBytes === this.#need) {
      const whole = this.#held.subarray(0, this.#need);
      this.#heldBytes = 0;
      this.#take(this.#decoder.next(whole));
    }
    return taken;
  }

  #take(step: IteratorResult<number, void>): void {
    if (step.done === true) this.isDone = true;
    else this.#need = step.value;
  }
}

const shorter = (): Error =>
  dataLoss('cannot use the delta: a file of the base is shorter than it was');

/** Gathers the bytes of the tar, so that the extraction gets few large pieces. */
class TarOutput {
  readonly #extraction: LayerExtraction;
  readonly #bytesMax: number;
  readonly #buffer = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  #filled = 0;
  #sinceCollected = 0;
  #bytes = 0;
  /** The file that what is gathered begins with a content of. */
  #source: FileIdentity | undefined;
  /** Content of the base that is being copied. */
  copying: { readonly index: number; readonly bytes: number; at: number } | undefined;

  constructor(extraction: LayerExtraction, bytesMax: number) {
    this.#extraction = extraction;
    this.#bytesMax = bytesMax;
  }

  write(bytes: Uint8Array): void {
    this.#count(bytes.length);
    if (bytes.length >= OUTPUT_BYTES) {
      this.flush();
      this.#hand(bytes);
      return;
    }
    if (this.#filled + bytes.length > OUTPUT_BYTES) this.flush();
    this.#buffer.set(bytes, this.#filled);
    this.#filled += bytes.length;
  }

  /** Content that the base has not. */
  content(bytes: Uint8Array): void {
    this.write(bytes);
    this.#leave(BLOCK_IN_COPIES);
  }

  #leave(garbage: number): void {
    this.#sinceCollected += garbage;
    if (this.#sinceCollected < COPIES_UNTIL_COLLECTED) return;
    this.#sinceCollected = 0;
    collectGarbage();
  }

  startCopy(index: number, bytes: number): void {
    this.#count(bytes);
    this.flush();
    this.copying = { index, bytes, at: 0 };
    this.#leave(1);
  }

  /** Goes on with the copy, by at most one buffer. One that is small goes on with what follows. */
  copySome(base: PartBase): void {
    const { copying } = this;
    if (copying === undefined) return;
    if (copying.bytes <= SMALL_BYTES) {
      this.#gather(base, copying);
      this.copying = undefined;
      return;
    }
    if (copying.at === 0) this.#extraction.copiesFrom(base.identity(copying.index));
    const into = this.#buffer.subarray(0, Math.min(OUTPUT_BYTES, copying.bytes - copying.at));
    if (!base.read(copying.index, into, copying.at)) throw shorter();
    this.#hand(into);
    copying.at += into.length;
    if (copying.at < copying.bytes) return;
    this.copying = undefined;
    this.#extraction.copiesFrom(undefined);
  }

  /** A whole small content, at the start of the buffer. */
  #gather(base: PartBase, { index, bytes }: { index: number; bytes: number }): void {
    if (!base.read(index, this.#buffer.subarray(0, bytes), 0)) throw shorter();
    this.#filled = bytes;
    this.#source = base.identity(index);
  }

  /** Bytes of the tar so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Waits for the disk when it is behind. */
  async caughtUp(): Promise<void> {
    if (this.#extraction.isBehind) await this.#extraction.catchUp();
  }

  #count(bytes: number): void {
    this.#bytes += bytes;
    if (this.#bytes > this.#bytesMax) throw dataLoss('invalid delta: it makes more than it says');
  }

  flush(): void {
    if (this.#filled === 0) return;
    if (this.#source !== undefined) this.#extraction.copiesFrom(this.#source);
    this.#source = undefined;
    this.#hand(this.#buffer.subarray(0, this.#filled));
    this.#filled = 0;
  }

  #hand(bytes: Uint8Array): void {
    this.#extraction.received(bytes);
    this.#extraction.push(bytes);
  }
}
