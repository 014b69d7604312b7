import type { DiffId, ImageId } from '../../base/digest.ts';
import type { EntryTable, TarSpan } from '../../formats/delta/entry-table.ts';

/** The layers of an image entry by entry, wherever they lie. */
export type EntrySource = {
  readonly table: EntryTable;
  /** One for each layer, bottom first. */
  readonly spans: readonly TarSpan[];
  /** Fills `into` from an entry's content; false when that goes beyond its end. */
  readonly read: (index: number, into: Uint8Array, position: number) => boolean;
};

/** One end of a delta. */
export type DeltaImage = {
  readonly id: ImageId;
  readonly config: Uint8Array;
  /** Bottom first. */
  readonly diffIds: readonly DiffId[];
  readonly entries: EntrySource;
  /** The whole tar of a layer. */
  readonly tar: (position: number) => Iterable<Uint8Array>;
};
