import { createHash } from 'node:crypto';
import { constants as zlib, zstdCompressSync } from 'node:zlib';
import { encodeAdd } from './add-codec.ts';
import { encodeHead, type HeadWriters, NO_HEAD } from './head-codec.ts';
import {
  COLUMNS,
  COLUMNS_BYTES_MAX,
  CONTENT,
  type Columns,
  GROUP_ENTRIES_MAX,
} from './layer-codec.ts';
import { LikenessIndex, pathWithoutVersion, samplesOf, sharedSamples } from './likeness.ts';
import { matchFiles } from './match.ts';
import { ReferenceOrder } from './order.ts';
import { ByteWriter } from './varint.ts';

/** An entry of the base, with what a producer needs to know of it. */
export type SourceEntry = {
  readonly path: string;
  readonly head: Uint8Array;
  /** sha256 of its content, in hex; undefined when it has none. */
  readonly digest: string | undefined;
  readonly contentBytes: number;
  readonly read: () => Uint8Array;
};

/** An entry of the target. Its bytes are the encoder's to keep. */
export type TargetEntry = {
  readonly path: string;
  readonly head: Uint8Array;
  readonly content: Uint8Array;
};

/** How one entry's content is coded, for reports of where the bytes go. */
export type Coded = {
  readonly path: string;
  readonly kind: keyof typeof CONTENT;
  readonly contentBytes: number;
  /** About how many bytes it takes, once it is compressed. */
  readonly codedBytes: number;
};

/** Coded content of a group at which it is closed. */
const GROUP_BYTES = 4 << 20;
/** Smaller files are not worth a search for a source by content. */
const LIKENESS_BYTES_MIN = 2048;
/** A file of a like path is compared with when it shares this part of what the likeliest does. */
const LIKELY_SHARE = 0.7;
/** Files above this are not held in memory twice for a comparison; they go literally. */
const MATCH_BYTES_MAX = 512 << 20;

/** What of a base can be found: by path, by content, by likeness. */
export class SourceIndex {
  readonly entries: readonly SourceEntry[];
  readonly #byPath = new Map<string, number>();
  readonly #byDigest = new Map<string, number>();
  readonly #byShape = new Map<string, number>();
  #likeness: LikenessIndex | undefined;

  /** `entries` in the order of the base's layers, bottom first; of equal paths the last one counts. */
  constructor(entries: readonly SourceEntry[]) {
    this.entries = entries;
    for (const [i, { path, digest, contentBytes }] of entries.entries()) {
      this.#byPath.set(path, i);
      if (digest === undefined || contentBytes === 0) continue;
      if (!this.#byDigest.has(digest)) this.#byDigest.set(digest, i);
      this.#byShape.set(pathWithoutVersion(path), i);
    }
  }

  findPath(path: string): number | undefined {
    return this.#byPath.get(path);
  }

  findDigest(digest: string): number | undefined {
    return this.#byDigest.get(digest);
  }

  /**
   * Files that a file may have been made from, the most promising first: those of a like path, or
   * where another file has clearly more in common with it, that one.
   */
  candidates(path: string, content: Uint8Array): number[] {
    const named = [this.#byPath.get(path), this.#byShape.get(pathWithoutVersion(path))];
    const found = [...new Set(named)].filter(
      (index): index is number =>
        index !== undefined && (this.entries[index]?.contentBytes ?? 0) > 0,
    );
    if (content.length < LIKENESS_BYTES_MIN) return found;
    const samples = samplesOf(content);
    const like = this.#likenessIndex().find(samples);
    if (like === undefined) return found;
    const good = found.filter((index) => {
      if (index === like.file) return true;
      const bytes = this.entries[index]?.read();
      return bytes && sharedSamples(samples, bytes) >= like.shared * LIKELY_SHARE;
    });
    return good.length > 0 ? good : [like.file];
  }

  /** Made at the first file that needs it: it reads the whole base. */
  #likenessIndex(): LikenessIndex {
    if (this.#likeness === undefined) {
      this.#likeness = new LikenessIndex();
      for (const [i, entry] of this.entries.entries()) {
        if (entry.contentBytes < LIKENESS_BYTES_MIN || entry.digest === undefined) continue;
        // Of equal contents one is enough: that which copies refer to as well.
        if (this.#byDigest.get(entry.digest) === i) this.#likeness.add(i, entry.read());
      }
    }
    return this.#likeness;
  }
}

/** Size after a quick compression: what decides between ways to code a content. */
function estimate(bytes: Uint8Array): number {
  const params = { [zlib.ZSTD_c_compressionLevel]: 3 };
  return zstdCompressSync(bytes, { params }).length;
}

/** How a content is coded, and about how many bytes that takes once it is compressed. */
type Choice = {
  readonly kind: keyof typeof CONTENT;
  readonly source: number;
  readonly coded: readonly Uint8Array[];
  readonly bytes: number;
};

/** Corrections that are so many times smaller than the content need no comparison with it. */
const CLEARLY_SMALLER = 8;

/** Encodes one stretch of a layer; `emit` gets what belongs into its compressed frame (see `layer-codec.ts`). */
export class LayerEncoder {
  readonly #sources: SourceIndex;
  readonly #emit: (bytes: Uint8Array) => void;
  readonly #report: (coded: Coded) => void;
  readonly #order: ReferenceOrder;
  #previous: Uint8Array = NO_HEAD;
  #columns = newColumns();
  #contents: Uint8Array[] = [];
  #contentBytes = 0;
  #entries = 0;
  #headBytes = 0;
  #codedBytes = 0;

  constructor(
    sources: SourceIndex,
    emit: (bytes: Uint8Array) => void,
    report: (coded: Coded) => void = () => undefined,
  ) {
    this.#sources = sources;
    this.#emit = emit;
    this.#report = report;
    this.#order = new ReferenceOrder(sources.entries.length);
  }

  /** About how many bytes heads and references take, once they are compressed. */
  get headBytes(): number {
    return this.#headBytes;
  }

  /** About how many bytes all so far takes. */
  get estimatedBytes(): number {
    return this.#headBytes + this.#codedBytes;
  }

  /** Takes the next entry of the target. */
  add(entry: TargetEntry): void {
    const found = this.#sources.findPath(entry.path);
    const reference = found === undefined || this.#order.isUsed(found) ? -1 : found;
    const columns = this.#columns;
    columns.references.unsigned(reference < 0 ? 0 : this.#order.distanceTo(reference) + 1);
    const like = this.#sources.entries[reference]?.head ?? this.#previous;
    encodeHead(columns, entry.head, like, this.#previous);
    this.#previous = entry.head;
    const choice = this.#choose(entry, reference);
    columns.contents.unsigned(CONTENT[choice.kind]);
    if (choice.kind === 'copy' || choice.kind === 'addOther') {
      columns.sources.unsigned(choice.source);
    }
    if (choice.kind === 'literal') columns.lengths.unsigned(entry.content.length);
    for (const part of choice.coded) this.#contentBytes += part.length;
    this.#contents.push(...choice.coded);
    this.#entries += 1;
    this.#codedBytes += choice.bytes;
    const { path, content } = entry;
    const contentBytes = content.length;
    this.#report({ path, kind: choice.kind, contentBytes, codedBytes: choice.bytes });
    const columnsBytes = COLUMNS.reduce((sum, name) => sum + columns[name].length, 0);
    const isFull = this.#contentBytes >= GROUP_BYTES || columnsBytes >= COLUMNS_BYTES_MAX / 2;
    if (this.#entries === GROUP_ENTRIES_MAX || isFull) this.#flush();
  }

  /** Ends it; `trailer` are the bytes behind the last entry of the layer. */
  end(trailer: Uint8Array): void {
    this.#flush();
    const out = new ByteWriter();
    out.unsigned(0);
    out.unsigned(trailer.length);
    out.bytes(trailer);
    this.#emit(out.finish());
  }

  #flush(): void {
    if (this.#entries === 0) return;
    const out = new ByteWriter();
    out.unsigned(this.#entries);
    const columns = COLUMNS.map((name) => this.#columns[name].finish());
    for (const column of columns) out.unsigned(column.length);
    for (const column of columns) out.bytes(column);
    const bytes = out.finish();
    this.#headBytes += estimate(bytes);
    this.#emit(bytes);
    for (const part of this.#contents) this.#emit(part);
    this.#columns = newColumns();
    this.#contents = [];
    this.#contentBytes = 0;
    this.#entries = 0;
  }

  #choose({ path, content }: TargetEntry, reference: number): Choice {
    const whole = { coded: [], bytes: 0 };
    if (content.length === 0) return { kind: 'none', source: -1, ...whole };
    const digest = createHash('sha256').update(content).digest('hex');
    if (this.#sources.entries[reference]?.digest === digest) {
      return { kind: 'same', source: reference, ...whole };
    }
    const equal = this.#sources.findDigest(digest);
    if (equal !== undefined) return { kind: 'copy', source: equal, ...whole };
    const corrections = this.#corrections(path, content, reference);
    if (corrections !== undefined && corrections.bytes * CLEARLY_SMALLER < content.length) {
      return corrections;
    }
    const bytes = estimate(content);
    if (corrections !== undefined && corrections.bytes < bytes) return corrections;
    return { kind: 'literal', source: -1, coded: [content], bytes };
  }

  /** The smallest corrections to a file of the base; undefined when there is no such file. */
  #corrections(path: string, content: Uint8Array, reference: number): Choice | undefined {
    if (content.length > MATCH_BYTES_MAX) return undefined;
    let best: Choice | undefined;
    for (const source of this.#sources.candidates(path, content)) {
      const entry = this.#sources.entries[source];
      if (entry === undefined || entry.contentBytes > MATCH_BYTES_MAX) continue;
      const old = entry.read();
      const coded = [...encodeAdd(old, content, matchFiles(old, content))];
      const bytes = estimate(Buffer.concat(coded));
      if (best !== undefined && bytes >= best.bytes) continue;
      best = { kind: source === reference ? 'addSame' : 'addOther', source, coded, bytes };
    }
    return best;
  }
}

function newColumns(): Columns<ByteWriter> & HeadWriters {
  return Object.fromEntries(
    COLUMNS.map((name) => [name, new ByteWriter()]),
  ) as unknown as Columns<ByteWriter>;
}
