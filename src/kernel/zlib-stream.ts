import { WORD } from './ffi-node.ts';

/** Offsets of z_stream's fields (zlib.h), and its size, for both sizes of a word. */
export const Z_STREAM =
  WORD === 8
    ? { nextIn: 0, availIn: 8, nextOut: 24, availOut: 32, msg: 48, dataType: 88, size: 112 }
    : { nextIn: 0, availIn: 4, nextOut: 12, availOut: 16, msg: 24, dataType: 44, size: 56 };
