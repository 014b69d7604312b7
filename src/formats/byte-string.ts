/**
 * Names in archives and on Linux filesystems are bytes, mostly but not always UTF-8. They are
 * carried here as strings of one character for each byte (latin1), which loses nothing, compares
 * and splits fast, and is told apart from text by its type.
 */
export type ByteString = string & { readonly __brand: 'ByteString' };

/** The bytes `start` … `end` of `bytes`. */
export function byteString(bytes: Uint8Array, start = 0, end = bytes.length): ByteString {
  return asBuffer(bytes).toString('latin1', start, end) as ByteString;
}

/** The UTF-8 bytes of a text. */
export function fromText(text: string): ByteString {
  return Buffer.from(text, 'utf8').toString('latin1') as ByteString;
}

/** The text, for people: what is not UTF-8 becomes U+FFFD. */
export function toText(name: ByteString): string {
  return isAscii(name) ? name : Buffer.from(name, 'latin1').toString('utf8');
}

/** The bytes themselves. */
export function toBytes(name: ByteString): Buffer {
  return Buffer.from(name, 'latin1');
}

const NOT_ASCII = /[^\x00-\x7f]/;

/** True when every byte is below 128, so that name and text are the same string. */
export function isAscii(name: string): boolean {
  return !NOT_ASCII.test(name);
}

/** What a syscall takes: the string itself where it is ASCII, else the bytes with a NUL. */
export function pathArg(name: ByteString): string | Uint8Array {
  return isAscii(name) ? name : Buffer.from(`${name}\0`, 'latin1');
}

/** A Buffer over the same memory. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
