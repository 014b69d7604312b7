/* One of the container's output streams: to attached clients as it comes, to the log in lines. */
#ifndef CORACLE_SHIM_OUTPUT_H
#define CORACLE_SHIM_OUTPUT_H

#include "base.h"

enum { OUTPUT_BUFFER = 2 * LINE_MAX_BYTES };

struct output {
  int id; /* STDOUT or STDERR */
  int fd; /* -1 when it has ended */
  size_t held; /* bytes of an unfinished line at the front of the buffer */
  /* After the container's end: bytes that were in the pipe at that moment and are not read yet. */
  int64_t owed;
  uint8_t buffer[OUTPUT_BUFFER];
};

/* Reads what is there. Closes `fd` at the end of the stream. */
void output_read(struct output *output, bool whatever);
/* Closes the stream and logs what was left of a line. */
void output_end(struct output *output);

#endif
