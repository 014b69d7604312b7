/** Memory for bytes that are needed one after the other: it would be much garbage outside of the heap. */
export class ReusedBuffer {
  #bytes = new Uint8Array();

  /** So many bytes, with anything in them; what was taken before is overwritten. */
  take(length: number): Uint8Array {
    if (this.#bytes.length < length) {
      // What it had is free at once, and not when garbage is collected.
      this.#bytes.buffer.transfer(0);
      this.#bytes = new Uint8Array(length);
    }
    return this.#bytes.subarray(0, length);
  }
}
