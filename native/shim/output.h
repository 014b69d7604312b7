/* One of the container's output streams: to attached clients as it comes, to the log in lines. */
#ifndef CORACLE_SHIM_OUTPUT_H
#define CORACLE_SHIM_OUTPUT_H

#include "base.h"

enum { OUTPUT_BUFFER = 2 * LINE_MAX_BYTES };

struct output {
  int id; /* STDOUT or STDERR */
  int fd; /* -1 when it has ended */
  size_t held; /* bytes of an unfinished line at the front of the buffer */
  int64_t resume_ns; /* a terminal that nobody has open is not read before */
  /* After the container's end: bytes that were in the pipe at that moment and are not read yet. */
  int64_t owed;
  uint8_t buffer[OUTPUT_BUFFER];
};

/*
 * Reads what is there. At the end of the stream it closes `fd`; a terminal has one only when the
 * container has ended (`last`), because until then somebody may open it again. With `last` slow
 * clients do not matter.
 */
void output_read(struct output *output, bool last);
/* Closes the stream and logs what was left of a line. */
void output_end(struct output *output);

#endif
