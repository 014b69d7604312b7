#include "output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "log.h"
#include "peers.h"

/* Reads at one go; between two the supervisor looks after everything else. */
enum { READS_MAX = 8 };

/* How often to look whether a terminal is open again; poll cannot tell, it only says hung up. */
static const int64_t REOPEN_NS = 500000000;

static void log_part(const struct output *output, const uint8_t *bytes, size_t size, bool partial) {
  log_line(&(struct line){output->id, partial, clock_ns(CLOCK_REALTIME), bytes, size});
}

/* Logs the lines that are whole. The first `held` bytes are known to have no newline. */
static void log_lines(struct output *output, size_t fresh) {
  const uint8_t *at = output->buffer, *end = output->buffer + output->held + fresh;
  const uint8_t *search = output->buffer + output->held;
  for (;;) {
    size_t limit = (size_t)(end - search);
    if (search - at + (ptrdiff_t)limit > LINE_MAX_BYTES) {
      limit = LINE_MAX_BYTES - (size_t)(search - at);
    }
    const uint8_t *newline = memchr(search, '\n', limit);
    if (newline != NULL) {
      log_part(output, at, (size_t)(newline - at), false);
      at = newline + 1;
    } else if (end - at >= LINE_MAX_BYTES) {
      size_t size = utf8_whole(at, LINE_MAX_BYTES);
      log_part(output, at, size, true);
      at += size;
    } else {
      break;
    }
    search = at;
  }
  output->held = (size_t)(end - at);
  memmove(output->buffer, at, output->held);
}

void output_read(struct output *output, bool last) {
  for (int i = 0; i < READS_MAX && (last || peers_have_room()); i++) {
    uint8_t *into = output->buffer + output->held;
    size_t room = sizeof output->buffer - output->held;
    ssize_t size = read(output->fd, into, room);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) break;
    if (size < 0 && errno == EIO && !last) {
      output->resume_ns = clock_ns(CLOCK_MONOTONIC) + REOPEN_NS;
      break;
    }
    if (size <= 0) {
      output_end(output);
      break;
    }
    output->owed -= size;
    peers_output(output->id, into, (size_t)size);
    if (!log_is_none()) log_lines(output, (size_t)size);
    if ((size_t)size < room) break;
  }
  log_flush();
}

void output_end(struct output *output) {
  if (output->fd < 0) return;
  close(output->fd);
  output->fd = -1;
  if (output->held > 0) log_part(output, output->buffer, output->held, true);
  output->held = 0;
  log_flush();
}
