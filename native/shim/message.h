/* Messages of the file drivers, taken from a log's bytes and made into what a client is sent. */
#ifndef CORACLE_SHIM_MESSAGE_H
#define CORACLE_SHIM_MESSAGE_H

#include "base.h"
#include "chain.h"

/* What of a log is wanted. Times in nanoseconds since the epoch; 0: no bound. */
struct wanted {
  bool streams[3];
  int64_t since_ns;
  int64_t until_ns;
  bool timestamps;
  bool details;
  bool raw; /* a terminal's: no frames */
};

/* Result of taking one message off the front of some bytes. */
enum taken {
  TAKEN,      /* `used` bytes were a message, wanted or not */
  INCOMPLETE, /* more bytes are needed */
  REACHED_END /* it is younger than until_ns, and so is all that follows */
};

/* A file driver's format. */
struct format {
  /* `flushing` tells that no more bytes will come: what is no message is stepped over. */
  enum taken (*take)(const char *bytes, size_t size, const struct wanted *wanted, bool flushing,
                     size_t *used);
  /* Whether what was taken is a message that `tail` counts. */
  bool (*counts)(const char *bytes, size_t used);
  /* See chain_tail; of files that are not packed. */
  int64_t (*back)(struct log_file *file, int64_t wanted);
  /* Called for each file before it is read from the middle. */
  void (*begin)(const struct log_file *file);
};

extern const struct format json_file_format, local_format, journal_format;

/* Puts one message, if it is wanted, as a client is sent it; a whole one gets its newline. */
void message_put(const struct wanted *wanted, int stream, int64_t time_ns, const char *bytes,
                 size_t size, bool partial);
/* True for a message that ends the reading. */
bool message_is_past(const struct wanted *wanted, int64_t time_ns);

/* Bytes that one message may take in a file; a longer one is stepped over. */
enum { WINDOW = 256 << 10 };

/* Everything for stdout gathers here. False when the reader's client is gone. */
bool message_flush(void);
/* True when it is time to flush. */
bool message_is_full(void);

#endif
