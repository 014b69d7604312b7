import { createHash, type Hash } from 'node:crypto';
import path from 'node:path';
import { dataLoss } from '../../base/errors.ts';
import { toText } from '../../formats/byte-string.ts';
import type { TarSpan } from '../../formats/delta/entry-table.ts';
import type { DeltaPart } from '../../formats/delta/envelope.ts';
import { HEADER_BYTES, paddingBytes } from '../../formats/delta/head-codec.ts';
import {
  type Coded,
  LayerEncoder,
  SourceIndex,
  type TargetEntry,
} from '../../formats/delta/layer-encoder.ts';
import type { DeltaImage, EntrySource } from './delta-source.ts';
import { PartWriter } from './part-writer.ts';

/** What becomes of one base: a part for each layer of the target that it does not have. */
export type MadeDelta = {
  readonly base: DeltaImage;
  readonly parts: readonly (MadePart | undefined)[];
};

/** A part in a file, and how its entries were coded. */
export type MadePart = DeltaPart & {
  readonly file: string;
  readonly coded: readonly Coded[];
  /** About how many compressed bytes are no content. */
  readonly headBytes: number;
};

export type MakeOptions = {
  readonly target: DeltaImage;
  readonly bases: readonly DeltaImage[];
  /** Absolute, for the parts. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /**
   * Compressed bytes, as they are estimated, after which a frame ends (1 MiB). A reader that was cut
   * off begins at a frame, so each may be fetched twice; but none knows what came before it.
   */
  readonly frameBytes?: number;
  /** Bytes of the target that are dealt with, of how many. */
  readonly onProgress: (bytes: number, total: number) => void;
};

/**
 * Makes deltas from each of the bases to the target, reading the target once. The same images give
 * the same bytes.
 * @throws dataLoss when a layer of the target is not what its diffID says
 */
export async function makeDeltas(options: MakeOptions): Promise<MadeDelta[]> {
  const { target, bases } = options;
  const made = bases.map((base) => ({ base, sources: undefined as SourceIndex | undefined }));
  const parts: (MadePart | undefined)[][] = bases.map(() => []);
  const total = target.entries.spans.reduce((sum, span) => sum + tarBytesOf(target, span), 0);
  let before = 0;
  for (const [position, diffId] of target.diffIds.entries()) {
    const span = target.entries.spans[position];
    if (span === undefined) throw new Error('assertion failed: a layer without entries');
    const isFirst = target.diffIds.indexOf(diffId) === position;
    const encodings: { index: number; encoding: Encoding }[] = [];
    for (const [index, each] of made.entries()) {
      if (!isFirst || each.base.diffIds.includes(diffId)) continue;
      each.sources ??= sourcesOf(each.base.entries);
      const file = path.join(options.folder, `${index}-${position}`);
      const encoding = new Encoding(file, each.sources, options.frameBytes ?? FRAME_BYTES);
      encodings.push({ index, encoding });
    }
    if (encodings.length > 0) {
      const coded = await encodeLayer({
        ...{ target, position, span, signal: options.signal },
        encodings: encodings.map(({ encoding }) => encoding),
        onProgress: (bytes) => options.onProgress(before + bytes, total),
      });
      for (const [i, { index }] of encodings.entries()) {
        const list = parts[index];
        if (list !== undefined) list[position] = coded[i];
      }
    }
    before += tarBytesOf(target, span);
    options.onProgress(before, total);
  }
  return made.map(({ base }, index) => ({
    base,
    // A layer that the target has twice has one part.
    parts: target.diffIds.map((diffId) => parts[index]?.[target.diffIds.indexOf(diffId)]),
  }));
}

function tarBytesOf({ entries }: DeltaImage, { first, count, trailer }: TarSpan): number {
  let bytes = trailer.length;
  for (let i = first; i < first + count; i++) {
    const content = entries.table.contentBytes(i);
    bytes += entries.table.headBytes(i) + content + paddingBytes(content);
  }
  return bytes;
}

const FRAME_BYTES = 1 << 20;
const NOTHING = new Uint8Array();

/** One layer's way into one part. */
class Encoding implements AsyncDisposable {
  readonly #file: string;
  readonly #sources: SourceIndex;
  readonly #writer: PartWriter;
  readonly #frameBytes: number;
  #encoder: LayerEncoder;
  readonly #coded: Coded[] = [];
  #headBytes = 0;

  constructor(file: string, sources: SourceIndex, frameBytes: number) {
    this.#file = file;
    this.#sources = sources;
    this.#frameBytes = frameBytes;
    this.#writer = new PartWriter(file);
    this.#encoder = this.#openEncoder();
  }

  #openEncoder(): LayerEncoder {
    return new LayerEncoder(
      this.#sources,
      (bytes) => this.#writer.write(bytes),
      (coded) => void this.#coded.push(coded),
    );
  }

  async add(entry: TargetEntry): Promise<void> {
    if (this.#encoder.estimatedBytes >= this.#frameBytes) {
      this.#endStretch(NOTHING);
      await this.#writer.endFrame();
      this.#encoder = this.#openEncoder();
    }
    this.#encoder.add(entry);
    await this.#writer.drained();
  }

  #endStretch(trailer: Uint8Array): void {
    this.#encoder.end(trailer);
    this.#headBytes += this.#encoder.headBytes;
  }

  /** Ends the part, of a tar of so many bytes. */
  async finish(trailer: Uint8Array, tarBytes: number): Promise<MadePart> {
    this.#endStretch(trailer);
    const part = await this.#writer.finish(tarBytes);
    return { ...part, file: this.#file, coded: this.#coded, headBytes: this.#headBytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer[Symbol.asyncDispose]();
  }
}

async function encodeLayer(options: {
  readonly target: DeltaImage;
  readonly position: number;
  readonly span: TarSpan;
  readonly encodings: readonly Encoding[];
  readonly signal: AbortSignal;
  readonly onProgress: (bytes: number) => void;
}): Promise<MadePart[]> {
  const { target, position, span, encodings, signal } = options;
  await using stack = new AsyncDisposableStack();
  for (const encoding of encodings) stack.use(encoding);
  const hash = createHash('sha256');
  let tarBytes = 0;
  const { items, trailer } = span.isRegular
    ? { items: entriesOf(target.entries, span), trailer: span.trailer }
    : wholeOf(target.tar(position));
  for (const { entry, padding } of items) {
    signal.throwIfAborted();
    for (const encoding of encodings) await encoding.add(entry);
    tarBytes += hashed(hash, entry.head, entry.content, padding);
    options.onProgress(tarBytes);
  }
  tarBytes += hashed(hash, trailer);
  const sum = `sha256:${hash.digest('hex')}`;
  if (sum !== target.diffIds[position]) {
    throw dataLoss(`layer ${target.diffIds[position]} is damaged: its files add up to ${sum}`);
  }
  const made: MadePart[] = [];
  for (const encoding of encodings) made.push(await encoding.finish(trailer, tarBytes));
  return made;
}

function hashed(hash: Hash, ...pieces: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const piece of pieces) {
    hash.update(piece);
    bytes += piece.length;
  }
  return bytes;
}

type Item = { readonly entry: TargetEntry; readonly padding: Uint8Array };

function* entriesOf(source: EntrySource, { first, count }: TarSpan): Generator<Item> {
  const { table } = source;
  for (let i = first; i < first + count; i++) {
    const content = contentOf(source, i);
    const entry = { path: toText(table.path(i)), head: table.head(i), content };
    yield { entry, padding: new Uint8Array(paddingBytes(content.length)) };
  }
}

function contentOf(source: EntrySource, index: number): Buffer {
  const content = Buffer.allocUnsafeSlow(source.table.contentBytes(index));
  if (!source.read(index, content, 0)) {
    throw dataLoss(`${toText(source.table.path(index))} is shorter than it was`);
  }
  return content;
}

/**
 * A tar with bytes where there should be none (between its entries) comes back too: as one entry
 * whose head is the first block and whose content is the rest.
 */
function wholeOf(chunks: Iterable<Uint8Array>): { items: Item[]; trailer: Uint8Array } {
  const tar = Buffer.concat([...chunks]);
  const end = tar.length - (tar.length % HEADER_BYTES);
  const head = tar.subarray(0, HEADER_BYTES);
  const entry = { path: '', head, content: tar.subarray(HEADER_BYTES, end) };
  return { items: [{ entry, padding: new Uint8Array() }], trailer: tar.subarray(end) };
}

/** What a producer knows of a base: reads all of it, to know its contents by their digests. */
function sourcesOf(source: EntrySource): SourceIndex {
  const { table } = source;
  return new SourceIndex(
    Array.from({ length: table.count }, (_, i) => {
      const contentBytes = table.contentBytes(i);
      return {
        path: toText(table.path(i)),
        head: table.head(i),
        contentBytes,
        digest: contentBytes === 0 ? undefined : digestOf(source, i),
        read: () => contentOf(source, i),
      };
    }),
  );
}

const HASHED_BYTES = 1 << 20;

function digestOf(source: EntrySource, index: number): string {
  const hash = createHash('sha256');
  const bytes = source.table.contentBytes(index);
  const buffer = Buffer.allocUnsafe(Math.min(bytes, HASHED_BYTES));
  for (let at = 0; at < bytes; at += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, bytes - at));
    if (!source.read(index, piece, at)) throw dataLoss('a file of the base is shorter than it was');
    hash.update(piece);
  }
  return hash.digest('hex');
}
