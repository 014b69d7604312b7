import { createHash } from 'node:crypto';
import { constants as zlib, zstdCompressSync } from 'node:zlib';
import { encodeAdd } from './add-codec.ts';
import { encodeHead, type HeadWriters, NO_HEAD } from './head-codec.ts';
import { COLUMNS, CONTENT, type Columns, GROUP_ENTRIES_MAX } from './layer-codec.ts';
import { LikenessIndex, pathWithoutVersion } from './likeness.ts';
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

/** An entry of the target. */
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
  readonly codedBytes: number;
};

/** Coded content of a group at which it is closed. */
const GROUP_BYTES = 4 << 20;
/** Smaller files are not worth a search for a source by content. */
const LIKENESS_BYTES_MIN = 2048;
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

  /** Files that a file may have been made from, the most promising first. */
  candidates(path: string, content: Uint8Array): number[] {
    const found: number[] = [];
    for (const index of [this.#byPath.get(path), this.#byShape.get(pathWithoutVersion(path))]) {
      const entry = index === undefined ? undefined : this.entries[index];
      if (index === undefined || entry === undefined || entry.contentBytes === 0) continue;
      if (!found.includes(index)) found.push(index);
    }
    if (found.length === 0 && content.length >= LIKENESS_BYTES_MIN) {
      const like = this.#likenessIndex().find(content);
      if (like !== undefined) found.push(like);
    }
    return found;
  }

  /** Made at the first file that needs it: it reads the whole base. */
  #likenessIndex(): LikenessIndex {
    if (this.#likeness === undefined) {
      this.#likeness = new LikenessIndex();
      for (const [i, entry] of this.entries.entries()) {
        if (entry.contentBytes >= LIKENESS_BYTES_MIN) this.#likeness.add(i, entry.read());
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

type Choice = { kind: keyof typeof CONTENT; source: number; coded: readonly Uint8Array[] };

/** Encodes one layer; `emit` gets what belongs into the compressed stream (see `layer-codec.ts`). */
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
    let codedBytes = 0;
    for (const part of choice.coded) codedBytes += part.length;
    this.#contents.push(...choice.coded);
    this.#contentBytes += codedBytes;
    this.#entries += 1;
    const { path, content } = entry;
    this.#report({ path, kind: choice.kind, contentBytes: content.length, codedBytes });
    if (this.#entries === GROUP_ENTRIES_MAX || this.#contentBytes >= GROUP_BYTES) this.#flush();
  }

  /** Ends the layer with the bytes behind its last entry. */
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
    this.#emit(out.finish());
    for (const part of this.#contents) this.#emit(part);
    this.#columns = newColumns();
    this.#contents = [];
    this.#contentBytes = 0;
    this.#entries = 0;
  }

  #choose({ path, content }: TargetEntry, reference: number): Choice {
    if (content.length === 0) return { kind: 'none', source: -1, coded: [] };
    const digest = createHash('sha256').update(content).digest('hex');
    if (this.#sources.entries[reference]?.digest === digest) {
      return { kind: 'same', source: reference, coded: [] };
    }
    const equal = this.#sources.findDigest(digest);
    if (equal !== undefined) return { kind: 'copy', source: equal, coded: [] };
    let best: Choice = { kind: 'literal', source: -1, coded: [Uint8Array.from(content)] };
    if (content.length > MATCH_BYTES_MAX) return best;
    let bestBytes = estimate(content);
    for (const source of this.#sources.candidates(path, content)) {
      const entry = this.#sources.entries[source];
      if (entry === undefined || entry.contentBytes > MATCH_BYTES_MAX) continue;
      const old = entry.read();
      const coded = [...encodeAdd(old, content, matchFiles(old, content))];
      const bytes = estimate(Buffer.concat(coded));
      if (bytes >= bestBytes) continue;
      bestBytes = bytes;
      best = { kind: source === reference ? 'addSame' : 'addOther', source, coded };
    }
    return best;
  }
}

function newColumns(): Columns<ByteWriter> & HeadWriters {
  return Object.fromEntries(
    COLUMNS.map((name) => [name, new ByteWriter()]),
  ) as unknown as Columns<ByteWriter>;
}
