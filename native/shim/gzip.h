/*
 * gzip (RFC 1952, RFC 1951) for rotated logs, both ways, in bounded memory.
 *
 * The header carries an extra field `Co` of 8 bytes, little endian: what the file was before it was
 * packed (chain_origin), so that a reader that still holds that file knows where it is.
 */
#ifndef CORACLE_SHIM_GZIP_H
#define CORACLE_SHIM_GZIP_H

#include "base.h"

#include <sys/types.h>

/* Packs all of `from` into `to`. False with errno when it cannot be read or written. */
bool gzip_file(int from, int to, uint64_t origin);

/* The number in the extra field of the file's header; 0 when there is none. */
uint64_t gunzip_origin(int fd);

/*
 * Reads unpacked bytes at a place, as pread does; fewer than `size` only at the end, or where the
 * file is damaged. Going on behind the last read is cheap, going back begins the file anew. One file
 * at a time: another descriptor, or gunzip_forget, begins anew as well.
 */
ssize_t gunzip_pread(int fd, void *bytes, size_t size, off_t at);
void gunzip_forget(void);

/* Length and distance codes: what a symbol stands for at least, and how many extra bits it has. */
enum { LENGTH_CODES = 29, DISTANCE_CODES = 30, FIRST_LENGTH_CODE = 257, BLOCK_END = 256 };
struct code_range {
  uint16_t least;
  uint8_t extra_bits;
};
extern const struct code_range gzip_lengths[LENGTH_CODES], gzip_distances[DISTANCE_CODES];
/* The order in which a block tells the lengths of the codes for its code lengths. */
enum { LENGTH_LENGTHS = 19 };
extern const uint8_t gzip_length_order[LENGTH_LENGTHS];

#endif
