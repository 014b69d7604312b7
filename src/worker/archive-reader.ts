import { createHash, type Hash } from 'node:crypto';
import path from 'node:path';
import { type DiffId, type Digest, isSha256 } from '../base/digest.ts';
import { dataLoss, errnoOf, invalidArgument, toEngineError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { toText } from '../formats/byte-string.ts';
import { cleanLayerPath, splitLayerPath } from '../formats/layer-path.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { BLOCK_BYTES, decodeHeader, isZeroBlock } from '../formats/tar-header.ts';
import { TarReader } from '../formats/tar-reader.ts';
import { detectCompression } from '../kernel/sync-inflate.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { MEDIA_TYPE } from '../spec/oci/image.ts';
import type { StagedLayer } from '../store/layer-store.ts';
import { LayerExtraction } from './layer-extraction.ts';

/**
 * Takes an image archive apart in one pass. Which of its files are layers is said by a manifest
 * that may come last, so the content decides: what begins like a compressed stream or a tar is
 * extracted to staging at once, small files stay in memory, all else is passed over. A file that
 * looked like a layer and was damaged only matters when the manifest names it.
 */
export type ArchiveReaderOptions = {
  readonly sys: Syscalls;
  /** A fresh folder of this name is made for each layer. */
  readonly staging: string;
  /** Layers that are here already, by digest and by diffID: they are checked and not extracted. */
  readonly known: Readonly<Record<string, DiffId>>;
  readonly onProgress: (name: string, bytes: number, totalBytes: number) => void;
};

/** What became of a file. */
export type ArchivedFile =
  | { readonly kind: 'small'; readonly content: Buffer }
  | { readonly kind: 'layer'; readonly diffId: DiffId; readonly staged: StagedLayer | undefined }
  | { readonly kind: 'link'; readonly target: string }
  | { readonly kind: 'damaged'; readonly error: Error }
  | { readonly kind: 'other' };

/** The file that is being read. */
type Current = {
  readonly path: string;
  readonly entry: TarEntry;
  /** What the path says that its sha256 is. */
  readonly digest: string | undefined;
  /** First bytes, until it is known what it is. */
  head: Buffer | undefined;
  take: (bytes: Buffer) => void;
  end: () => void;
  bytes: number;
};

type Finishing = { readonly path: string; readonly extraction: LayerExtraction };

/** Layers in a row that fit one slice would all be open at once. */
const SLICE_BYTES = 64 << 10;
const LINKS_MAX = 8;

export class ArchiveReader implements AsyncDisposable {
  readonly #options: ArchiveReaderOptions;
  readonly #files = new Map<string, ArchivedFile>();
  readonly #tar: TarReader;
  readonly #finishing: Finishing[] = [];
  #current: Current | undefined;
  #extraction: LayerExtraction | undefined;
  #layers = 0;
  #smallBytes = 0;

  constructor(options: ArchiveReaderOptions) {
    this.#options = options;
    this.#tar = new TarReader({
      entry: (entry) => this.#entry(entry),
      content: (bytes) => this.#content(bytes),
      entryEnd: () => this.#entryEnd(),
    });
  }

  /** Takes the next bytes of the plain archive. */
  async push(chunk: Buffer): Promise<void> {
    for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
      this.#tar.push(chunk.subarray(at, at + SLICE_BYTES));
      if (this.#extraction?.isBehind === true) await this.#extraction.catchUp();
      await this.#finishLayers();
    }
  }

  /** The archive has no more bytes. @throws dataLoss when it is cut off */
  end(): void {
    this.#tar.end();
  }

  /** A file of the archive, links followed; undefined when there is none. */
  find(name: string): ArchivedFile | undefined {
    let place = cleanName(name);
    for (let links = 0; links <= LINKS_MAX; links += 1) {
      const file = this.#files.get(place);
      if (file?.kind !== 'link') return file;
      place = file.target;
    }
    return undefined;
  }

  #entry(entry: TarEntry): void {
    const name = cleanName(toText(entry.path));
    if (this.#files.size >= LIMITS.archiveFilesMax) {
      throw invalidArgument(`invalid archive: more than ${LIMITS.archiveFilesMax} files`);
    }
    if (entry.kind === 'symlink') {
      const target = path.posix.join(path.posix.dirname(name), toText(entry.link));
      this.#files.set(name, { kind: 'link', target: cleanName(target) });
    } else if (entry.kind === 'hardlink') {
      this.#files.set(name, { kind: 'link', target: cleanName(toText(entry.link)) });
    }
    if (entry.kind !== 'file') return;
    this.#current = {
      path: name,
      entry,
      digest: digestIn(name),
      head: Buffer.alloc(0),
      take: () => undefined,
      end: () => undefined,
      bytes: 0,
    };
  }

  #content(bytes: Buffer): void {
    const current = this.#current;
    if (current === undefined) return;
    current.bytes += bytes.length;
    if (current.head === undefined) {
      current.take(bytes);
      return;
    }
    current.head = Buffer.concat([current.head, bytes]);
    if (current.head.length >= BLOCK_BYTES) this.#decide(current);
  }

  #entryEnd(): void {
    const current = this.#current;
    if (current === undefined) return;
    if (current.head !== undefined) this.#decide(current);
    current.end();
    this.#current = undefined;
  }

  #decide(current: Current): void {
    const head = current.head ?? Buffer.alloc(0);
    const known = current.digest === undefined ? undefined : this.#options.known[current.digest];
    current.head = undefined;
    if (known !== undefined) this.#check(current, known);
    else if (looksLikeLayer(head)) this.#extract(current);
    else if (current.entry.storedBytes <= LIMITS.imageConfigBytesMax) this.#keep(current);
    else this.#files.set(current.path, { kind: 'other' });
    current.take(head);
  }

  /** A layer that is here: its bytes only have to be what they say. */
  #check(current: Current, diffId: DiffId): void {
    const hash = createHash('sha256');
    current.take = (bytes) => {
      hash.update(bytes);
      this.#options.onProgress(current.path, current.bytes, current.entry.sizeBytes);
    };
    current.end = () => {
      const file: ArchivedFile = { kind: 'layer', diffId, staged: undefined };
      this.#files.set(current.path, mismatch(current, hash) ?? file);
    };
  }

  #keep(current: Current): void {
    const hash = createHash('sha256');
    const content = Buffer.allocUnsafe(current.entry.storedBytes);
    let at = 0;
    this.#smallBytes += content.length;
    if (this.#smallBytes > LIMITS.archiveSmallFilesBytesMax) {
      throw invalidArgument('invalid archive: its configs and manifests are too large');
    }
    current.take = (bytes) => {
      hash.update(bytes);
      at += bytes.copy(content, at);
    };
    current.end = () => {
      this.#files.set(current.path, mismatch(current, hash) ?? { kind: 'small', content });
    };
  }

  #extract(current: Current): void {
    this.#layers += 1;
    if (this.#layers > LIMITS.archiveLayersMax) {
      throw invalidArgument(`invalid archive: more than ${LIMITS.archiveLayersMax} layers`);
    }
    const { sys, staging } = this.#options;
    const directory = path.join(staging, String(this.#layers));
    const expected = current.digest === undefined ? {} : { digest: current.digest as Digest };
    const extraction = new LayerExtraction({
      ...{ sys, directory, expected, origin: undefined },
      // An image's config says what its layers are, and a layer that none has is not kept.
      isProved: true,
    });
    this.#extraction = extraction;
    let error: Error | undefined;
    current.take = (bytes) => {
      if (error !== undefined) return;
      try {
        extraction.received(bytes);
        extraction.push(bytes);
      } catch (thrown) {
        // A full disk ends everything; damage only matters to who names the layer.
        if (errnoOf(thrown) !== undefined) throw thrown;
        error = toEngineError(thrown);
      }
      this.#options.onProgress(current.path, current.bytes, current.entry.sizeBytes);
    };
    current.end = () => {
      this.#finishing.push({ path: current.path, extraction });
      this.#extraction = undefined;
      if (error !== undefined) this.#files.set(current.path, { kind: 'damaged', error });
    };
  }

  async #finishLayers(): Promise<void> {
    for (let next = this.#finishing.shift(); next !== undefined; next = this.#finishing.shift()) {
      await using extraction = next.extraction;
      if (this.#files.get(next.path)?.kind === 'damaged') continue;
      try {
        const { digest, sizeBytes, compression, ...layer } = await extraction.finish();
        const mediaType =
          compression === 'gzip' ? MEDIA_TYPE.ociLayerGzip : MEDIA_TYPE.ociLayerZstd;
        const blob =
          compression === 'none' ? undefined : { repository: '', mediaType, digest, sizeBytes };
        const { diffId } = layer;
        this.#files.set(next.path, { kind: 'layer', diffId, staged: { ...layer, blob } });
      } catch (error) {
        if (errnoOf(error) !== undefined) throw error;
        this.#files.set(next.path, { kind: 'damaged', error: toEngineError(error) });
      }
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#extraction?.[Symbol.asyncDispose]();
    for (const { extraction } of this.#finishing) await extraction[Symbol.asyncDispose]();
  }
}

/** One spelling for each path of an archive. */
function cleanName(name: string): string {
  return toText(cleanLayerPath(`/${name}` as ReturnType<typeof cleanLayerPath>));
}

/** The digest that a blob's path claims. */
function digestIn(name: string): string | undefined {
  const parts = /(?:^|\/)blobs\/sha256\/([0-9a-f]{64})$/.exec(name);
  const digest = `sha256:${parts?.[1] ?? ''}`;
  return isSha256(digest) ? digest : undefined;
}

function mismatch(current: Current, hash: Hash): ArchivedFile | undefined {
  const sum = `sha256:${hash.digest('hex')}`;
  if (current.digest === undefined || sum === current.digest) return undefined;
  const error = dataLoss(`invalid archive: ${current.path} is damaged, its digest is ${sum}`);
  return { kind: 'damaged', error };
}

/** True for the first bytes of a gzip or zstd stream or of a tar. */
function looksLikeLayer(head: Buffer): boolean {
  if (head.length < 2) return false;
  try {
    if (detectCompression(head) !== 'none') return true;
    if (head.length < BLOCK_BYTES) return false;
    const block = head.subarray(0, BLOCK_BYTES);
    if (!isZeroBlock(block)) decodeHeader(block);
    return true;
  } catch {
    return false; // not a header: the file is something else
  }
}

/** A short name for a layer in progress lines: the first digits of the hash in its path. */
export function layerLabel(name: string): string {
  const hex = /[0-9a-f]{64}/.exec(name)?.[0];
  return hex === undefined ? splitLayerPath(name as never).name : hex.slice(0, 12);
}
