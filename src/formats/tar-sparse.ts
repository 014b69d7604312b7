import { LIMITS } from '../base/limits.ts';
import { byteString } from './byte-string.ts';
import { BLOCK_BYTES, invalidHeader, parseNumber } from './tar-header.ts';
import { type PaxRecords, paxInteger } from './tar-pax.ts';

/**
 * Sparse files: the archive holds only the parts with data, and a map says where they belong.
 * Source: GNU tar manual, "Storing Sparse Files".
 *
 *   old GNU   type S; 4 segments in the header, then blocks of 21 while a flag is set
 *   PAX 0.0   GNU.sparse.offset and GNU.sparse.numbytes, once for each segment
 *   PAX 0.1   GNU.sparse.map = offset,bytes,offset,bytes…
 *   PAX 1.0   decimal numbers, a line each, before the data: count, then offset and bytes; padded
 *             to a block
 */

/** A part of a file that has data. */
export type Segment = { readonly offset: number; readonly bytes: number };

/** Segments of one file are bounded, as 16 bytes of archive can make one. */
const SEGMENTS_MAX = LIMITS.tarMetadataBytesMax / 16;

/** Segments at `start` of an old GNU header or extension block; a field of NULs ends them. */
export function oldGnuSegments(block: Buffer, start: number, count: number): Segment[] {
  const segments: Segment[] = [];
  for (let i = 0; i < count; i += 1) {
    const at = start + i * 24;
    if (block[at] === 0) break;
    segments.push({ offset: parseNumber(block, at, 12), bytes: parseNumber(block, at + 12, 12) });
  }
  return segments;
}

/** Where old GNU headers keep their segments, and whether an extension block follows. */
export const OLD_GNU = {
  header: { start: 386, count: 4, more: 482, realSize: 483 },
  extension: { start: 0, count: 21, more: 504 },
} as const;

/** The map of PAX 0.0 and 0.1; undefined when the records have none. */
export function paxSegments(records: PaxRecords): Segment[] | undefined {
  const map = records.values.get('GNU.sparse.map');
  if (map !== undefined) return pairs(map.split(','), 'GNU.sparse.map');
  if (records.sparseOffsets.length === 0) {
    // A file of one hole has a count of 0 and no segments.
    return records.values.get('GNU.sparse.numblocks') === '0' ? [] : undefined;
  }
  if (records.sparseOffsets.length !== records.sparseBytes.length) {
    throw invalidHeader('sparse map with an offset without bytes');
  }
  const numbers = records.sparseOffsets.flatMap((o, i) => [o, records.sparseBytes[i] ?? '']);
  return pairs(numbers, 'GNU.sparse.numbytes');
}

function pairs(numbers: readonly string[], key: string): Segment[] {
  if (numbers.length % 2 !== 0) throw invalidHeader('sparse map with an offset without bytes');
  const segments: Segment[] = [];
  for (let i = 0; i < numbers.length; i += 2) {
    segments.push({
      offset: paxInteger(numbers[i] ?? '', key),
      bytes: paxInteger(numbers[i + 1] ?? '', key),
    });
  }
  return segments;
}

/** Gathers the map of PAX 1.0, block by block. */
export class SparseMapReader {
  readonly #numbers: string[] = [];
  #rest = '';
  #bytes = 0;

  /** Takes the next 512 bytes; gives the segments when the map is complete. */
  push(block: Buffer): Segment[] | undefined {
    this.#bytes += block.length;
    if (this.#bytes > LIMITS.tarMetadataBytesMax) throw invalidHeader('sparse map is too large');
    const lines = (this.#rest + byteString(block)).split('\n');
    this.#rest = lines.pop() ?? '';
    this.#numbers.push(...lines);
    const first = this.#numbers[0];
    if (first === undefined) {
      if (this.#bytes >= BLOCK_BYTES) throw invalidHeader('sparse map without a count');
      return undefined;
    }
    const wanted = 1 + 2 * paxInteger(first, 'sparse map');
    if (this.#numbers.length < wanted) return undefined;
    return pairs(this.#numbers.slice(1, wanted), 'sparse map');
  }
}

/**
 * Checks that segments are in order, apart, inside the file, and hold exactly the bytes that are
 * in the archive. Empty ones are dropped.
 * @throws invalidArgument ("archive/tar: invalid tar header")
 */
export function checkSegments(
  segments: readonly Segment[],
  sizes: { realBytes: number; storedBytes: number },
): Segment[] {
  if (segments.length > SEGMENTS_MAX) throw invalidHeader('sparse map has too many segments');
  let end = 0;
  let stored = 0;
  for (const { offset, bytes } of segments) {
    if (offset < end || bytes < 0 || offset + bytes > sizes.realBytes) {
      throw invalidHeader('sparse map is not in order or leaves the file');
    }
    end = offset + bytes;
    stored += bytes;
  }
  if (stored !== sizes.storedBytes) throw invalidHeader('sparse map does not fit its data');
  return segments.filter(({ bytes }) => bytes > 0);
}
