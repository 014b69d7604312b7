import { dataLoss } from '../base/errors.ts';
import { fromText } from './byte-string.ts';
import { type RdiffBounds, RdiffReader } from './rdiff.ts';
import type { TarEntry } from './tar-entry.ts';
import { TarReader } from './tar-reader.ts';
import { encodeTarHeader } from './tar-writer.ts';

/**
 * A layer of one of balenaEngine's delta images:
 *
 *   header of one file `delta`, mode 0600, all else zero
 *   its content: a librsync delta that makes one layer of the target from all layers of the base
 *   padding, two blocks of zeros
 *
 * A layer that base and target have in common is an archive of no entries instead
 * ({@link COMMON_LAYER}). Whatever the first entry is called, it is the delta; what follows it means
 * nothing.
 */
export type DeltaCommand =
  | { readonly kind: 'literal'; readonly bytes: Uint8Array }
  /** A range of the basis. */
  | { readonly kind: 'copy'; readonly at: number; readonly bytes: number };

/** Reads a delta layer's tar that comes in chunks of any size. Every violation is `dataLoss`. */
export class DeltaLayerReader {
  readonly #tar: TarReader;
  readonly #rdiff: RdiffReader;
  #members = 0;
  #commands: DeltaCommand[] = [];

  constructor(bounds: RdiffBounds) {
    this.#rdiff = new RdiffReader(
      {
        literal: (bytes) => void this.#commands.push({ kind: 'literal', bytes }),
        copy: (at, bytes) => void this.#commands.push({ kind: 'copy', at, bytes }),
      },
      bounds,
    );
    this.#tar = new TarReader({
      entry: (entry) => this.#entry(entry),
      content: (bytes) => {
        if (this.#members === 1) this.#rdiff.push(bytes);
      },
      entryEnd: () => undefined,
    });
  }

  /** What the next bytes say to do. Literals are views of the chunk. */
  push(chunk: Uint8Array): readonly DeltaCommand[] {
    this.#commands = [];
    this.#tar.push(chunk);
    return this.#commands;
  }

  /** Says that no more bytes come. @throws dataLoss when some are missing */
  end(): void {
    this.#tar.end();
    this.#rdiff.end();
  }

  #entry({ kind }: TarEntry): void {
    this.#members += 1;
    if (this.#members === 1 && kind !== 'file') {
      throw dataLoss(`invalid delta: its layer holds a ${kind} in place of a delta`);
    }
  }
}

/** The header of a delta layer whose delta has so many bytes. */
export function deltaLayerHeader(deltaBytes: number): Buffer {
  const path = fromText('delta');
  return encodeTarHeader({ kind: 'file', path, mode: 0o600, sizeBytes: deltaBytes });
}

/** diffID of 1024 zeros: the archive of no entries. */
export const COMMON_LAYER =
  'sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef';
