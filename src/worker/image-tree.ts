import { createHash } from 'node:crypto';
import { constants, mkdirSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, internal } from '../base/errors.ts';
import type { ByteString } from '../formats/byte-string.ts';
import type { ContentRecord } from '../formats/layer-contents.ts';
import type { ContentPlace } from '../formats/layer-headers.ts';
import { cleanLayerPath } from '../formats/layer-path.ts';
import { NameTree } from '../formats/name-tree.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import type { TarXattr } from '../formats/tar-pax.ts';
import { collectGarbage } from '../kernel/collect-garbage.ts';
import { O_CLOEXEC } from '../kernel/constants.ts';
import { errnoText } from '../kernel/errno.ts';
import { imageSum, LAYER_IMAGE } from '../store/layers/layer-images.ts';
import type { LayerTail } from '../store/layers/layer-tar.ts';
import { objectPlace, STAGED_OBJECTS } from '../store/layers/object-place.ts';
import { METACOPY, NO_VALUE, REDIRECT, redirectTo } from '../store/layers/objects.ts';
import type { ContentWriter } from './content-writer.ts';
import type { EarlierFile } from './earlier-files.ts';
import { explain } from './extract-error.ts';
import { LayerTree } from './extract-tree.ts';
import type { LayerTreeOptions } from './layer-places.ts';
import type { LayerSharing } from './layer-sharing.ts';

/** What the entries of a layer's tar go to. */
export type LayerSink = Disposable &
  Pick<
    LayerTree,
    | 'entry'
    | 'content'
    | 'entryEnd'
    | 'finish'
    | 'firstOf'
    | 'fileBytes'
    | 'hasApart'
    | 'writtenBytes'
    | 'unfinished'
  >;

type HeldFile = {
  readonly entry: TarEntry;
  readonly clean: ByteString;
  readonly writer: ContentWriter;
};

/** So many files may be new before it counts what share they are. */
const FEW_FILES = 32;
const FEW_BYTES = 1 << 20;
/** A layer that shares fewer files is as well off with a tree. */
const SHARED_FILES_MIN = 16;
const METACOPY_XATTR = { name: METACOPY, value: NO_VALUE } as const;

/** Where a layer's names go: to an image of them if it may become one, else to a tree at once. */
export function openSink(options: LayerTreeOptions): LayerSink {
  const { sharing, earlier } = options;
  const mayBeImage = sharing?.mayBeImage === true && earlier?.hasTree !== true;
  return mayBeImage ? new ImageTree(options, sharing) : new LayerTree(options);
}

/**
 * Makes a layer of which most content is here already an image of its names
 * (`formats/erofs.ts`): a rebuild of an app then writes some 150 bytes for each of its files, where a
 * tree of inodes and directories takes 1.6 kB. Names are collected in memory, contents that are new
 * become objects. When it turns out that much is new, or that there are names of a kind that is
 * better left to the kernel, all names so far become a tree, and it goes on as one.
 */
class ImageTree implements LayerSink {
  readonly #options: LayerTreeOptions;
  readonly #sharing: LayerSharing;
  #names: NameTree | undefined = new NameTree();
  #tree: LayerTree | undefined;
  #held: HeldFile | undefined;
  /** The object that is being written. */
  #object: { readonly fd: number; readonly number: number } | undefined;
  #fileBytes = 0;
  #ownBytes = 0;
  #writtenBytes = 0;

  constructor(options: LayerTreeOptions, sharing: LayerSharing) {
    this.#options = options;
    this.#sharing = sharing;
  }

  get fileBytes(): number {
    return this.#fileBytes + (this.#tree?.fileBytes ?? 0);
  }

  get writtenBytes(): number {
    return this.#writtenBytes + (this.#tree?.writtenBytes ?? 0);
  }

  get hasApart(): boolean {
    return this.#tree?.hasApart === true;
  }

  get unfinished(): LayerTail | undefined {
    if (this.#tree !== undefined) return this.#tree.unfinished;
    const lies = this.#held?.writer.lies;
    if (lies === undefined) return undefined;
    const number = this.#object?.number ?? 0;
    const place = objectPlace(lies.content ?? { group: STAGED_OBJECTS, number });
    return { path: place as ByteString, isObject: true, bytes: lies.bytes };
  }

  entry(entry: TarEntry): void {
    if (this.#names?.takes(entry) !== true || !this.#canHold(entry)) {
      this.#asTree().entry(entry);
      return;
    }
    this.#fileBytes += entry.sizeBytes;
    if (entry.storedBytes === 0) {
      this.#link(entry);
      this.#names.add(entry, undefined);
      return;
    }
    const clean = cleanLayerPath(entry.path);
    const writer = this.#sharing.writer(entry, clean, {
      create: () => this.#create(entry),
      onWritten: (bytes) => {
        this.#writtenBytes += bytes;
        this.#options.writeback.wrote(bytes);
      },
    });
    this.#held = { entry, clean, writer };
  }

  /** Its content, if it has any, can be shared. */
  #canHold(entry: TarEntry): boolean {
    return entry.storedBytes === 0 ? entry.sizeBytes === 0 : this.#sharing.takes(entry);
  }

  #link(entry: TarEntry): void {
    if (entry.kind === 'hardlink') this.#sharing.linked(cleanLayerPath(entry.link));
  }

  /** Something of the file's content is new. */
  #create(entry: TarEntry): EarlierFile {
    const held = this.#held;
    if (held === undefined) throw new Error('assertion failed: content without a file');
    this.#ownBytes += entry.sizeBytes;
    if (!this.#isMostlyShared) {
      const tree = this.#asTree();
      this.#held = undefined;
      return tree.goOn(entry, held.writer);
    }
    this.#object = this.#sharing.create();
    this.#options.writeback.opened(this.#object.fd);
    return { fd: this.#object.fd, filledBytes: 0 };
  }

  get #isMostlyShared(): boolean {
    const { sharedFiles, offeredFiles, sharedBytes } = this.#sharing;
    return (
      offeredFiles < Math.max(FEW_FILES, sharedFiles) &&
      this.#ownBytes <= Math.max(FEW_BYTES, sharedBytes)
    );
  }

  content(bytes: Buffer, offset: number): void {
    const held = this.#held;
    if (held === undefined) {
      this.#tree?.content(bytes, offset);
      return;
    }
    try {
      held.writer.write(bytes);
    } catch (error) {
      throw explain(error, held.entry);
    }
  }

  entryEnd(): ContentPlace | undefined {
    const held = this.#held;
    if (held === undefined) return this.#tree?.entryEnd();
    this.#held = undefined;
    const object = this.#objectOf(held);
    this.#names?.add(held.entry, object);
    return { kind: 'object', group: object.group, number: object.number };
  }

  #objectOf({ entry, clean, writer }: HeldFile): ContentRecord {
    using found = writer.end();
    if (found !== undefined) {
      this.#sharing.shared(found.content, clean);
      return found.content;
    }
    const object = this.#object;
    if (object === undefined) throw new Error('assertion failed: a file without a content');
    this.#object = undefined;
    this.#options.writeback.closed();
    const { number } = object;
    const { sum } = writer;
    return this.#sharing.offered({ number, path: clean, sum, bytes: entry.sizeBytes });
  }

  /** Makes a tree of all names so far, once. */
  #asTree(): LayerTree {
    if (this.#tree !== undefined) return this.#tree;
    const tree = new LayerTree(this.#options);
    this.#tree = tree;
    const names = this.#names;
    this.#names = undefined;
    for (const { entry, object } of names?.entries() ?? []) {
      if (object !== undefined) tree.adopt(entry, object);
      else {
        tree.entry(entry);
        tree.entryEnd();
      }
    }
    return tree;
  }

  firstOf(error: unknown): unknown {
    return this.#tree === undefined ? error : this.#tree.firstOf(error);
  }

  finish(): void {
    const { sharedFiles } = this.#sharing;
    if (sharedFiles < SHARED_FILES_MIN || !this.#isMostlyShared) this.#asTree();
    if (this.#names === undefined) this.#tree?.finish();
    else this.#writeImage(this.#names);
  }

  /** The image, and the folder on which it will be mounted. */
  #writeImage(names: NameTree): void {
    const { directory, writeback } = this.#options;
    const { group: own } = this.#sharing;
    // Making it is the end of the work: the garbage of all that came before goes first.
    collectGarbage();
    const id = createHash('sha256').update(own).digest().subarray(0, 16);
    const objectXattrs = ({ group, number }: ContentRecord): TarXattr[] => [
      METACOPY_XATTR,
      { name: REDIRECT, value: redirectTo({ group: group || own, number }) },
    ];
    try {
      mkdirSync(path.join(directory, 'diff'), { mode: 0o755 });
      const { O_WRONLY, O_CREAT, O_EXCL } = constants;
      const flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC;
      const fd = openSync(path.join(directory, LAYER_IMAGE), flags, 0o600);
      writeback.opened(fd);
      const write = (bytes: Buffer): void => {
        for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
        writeback.wrote(bytes.length);
        this.#writtenBytes += bytes.length;
      };
      const sum = imageSum();
      names.encode({ id, objectXattrs, common: [METACOPY_XATTR] }, (piece) => {
        sum.update(piece);
        write(piece);
      });
      write(sum.digest());
      writeback.closed();
    } catch (cause) {
      const errno = errnoOf(cause) ?? '';
      throw internal(`failed to register layer: write ${LAYER_IMAGE}: ${errnoText(errno)}`, {
        ...{ cause, detail: { errno } },
      });
    }
  }

  [Symbol.dispose](): void {
    this.#held?.writer[Symbol.dispose]();
    this.#tree?.[Symbol.dispose]();
  }
}
