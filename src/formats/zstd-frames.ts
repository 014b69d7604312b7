/**
 * Where the frames of a zstd stream end (RFC 8878, 3): only there can decoding begin, as all it
 * knows of what was before is kept within a frame.
 *
 *   frame     = u32 0xFD2FB528, header, blocks, [u32 checksum]
 *   header    = u8 descriptor, [u8 window], [dictionary ID], [content size]
 *   block     = u24 (last: 1 bit, type: 2 bits, size: 21 bits), content; of type 1 (RLE) one byte
 *   skippable = u32 0x184D2A50 … 5F, u32 size, content
 *
 * All little-endian. The bytes are not checked: that is the decoder's part.
 */
const FRAME = 0xfd2fb528;
const SKIPPABLE = 0x184d2a50;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const RLE = 1;

type Field = 'magic' | 'descriptor' | 'skippable' | 'block' | 'end' | 'unknown';

/** Follows a stream from the beginning of a frame. */
export class ZstdFrames {
  #field: Field = 'magic';
  /** The field's bytes that have come, little-endian, and how many it has. */
  #value = 0;
  #have = 0;
  #want = 4;
  /** Bytes to pass over before the field. */
  #skip = 0;
  #hasChecksum = false;

  /** Takes bytes up to the end of a frame, or all: how many. `isAtEnd` tells whether one ends there. */
  take(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length) {
      if (this.#field === 'unknown') return bytes.length;
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, bytes.length - at);
        this.#skip -= skipped;
        at += skipped;
      } else {
        this.#value += (bytes[at] ?? 0) * 256 ** this.#have;
        this.#have += 1;
        at += 1;
      }
      if (this.#skip > 0 || this.#have < this.#want) continue;
      this.#next();
      if (this.#field === 'end' && this.#skip === 0) {
        this.#expect('magic', 4);
        return at;
      }
    }
    return at;
  }

  /** A frame has ended, and none has begun. */
  get isAtEnd(): boolean {
    return this.#field === 'magic' && this.#have === 0;
  }

  #expect(field: Field, bytes: number, skip = 0): void {
    this.#field = field;
    this.#value = 0;
    this.#have = 0;
    this.#want = bytes;
    this.#skip = skip;
  }

  #next(): void {
    const value = this.#value;
    switch (this.#field) {
      case 'magic':
        if (value === FRAME) this.#expect('descriptor', 1);
        else if (value - (value % 16) === SKIPPABLE) this.#expect('skippable', 4);
        else this.#expect('unknown', 0); // padding, or damage
        return;
      case 'skippable':
        this.#expect('end', 0, value);
        return;
      case 'descriptor': {
        const isSingle = (value & 0x20) !== 0;
        this.#hasChecksum = (value & 4) !== 0;
        const sized = CONTENT_SIZE_BYTES[value >> 6] ?? 0;
        const size = sized === 0 && isSingle ? 1 : sized;
        const window = isSingle ? 0 : 1;
        this.#expect('block', 3, window + (DICTIONARY_ID_BYTES[value & 3] ?? 0) + size);
        return;
      }
      case 'block': {
        const isLast = (value & 1) === 1;
        const bytes = ((value >> 1) & 3) === RLE ? 1 : value >> 3;
        if (isLast) this.#expect('end', 0, bytes + (this.#hasChecksum ? 4 : 0));
        else this.#expect('block', 3, bytes);
        return;
      }
      case 'end':
      case 'unknown':
        return;
    }
  }
}
