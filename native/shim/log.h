/*
 * Where a container's output goes besides to attached clients. Settings:
 *
 *   log-driver        json-file, local, journald, syslog or none
 *   log-path          file of json-file and local
 *   log-max-size      bytes at which a file is closed and a new one begun; 0: never
 *   log-max-files     files kept in all; the newest rotated one is PATH.1
 *   log-compress      1: rotated files are packed
 *   log-attrs         JSON object with the attributes of every message; '' for none
 *   log-non-blocking  1: messages that the driver cannot take at once are dropped
 *   log-buffer        bytes that may wait for the driver then
 *   log-option        KEY=VALUE, repeated: what journald and syslog need, see log-socket.c
 */
#ifndef CORACLE_SHIM_LOG_H
#define CORACLE_SHIM_LOG_H

#include "base.h"

/* One message: a line without its newline, or a part of one that was too long or had none. */
struct line {
  int stream;
  bool partial;
  int64_t time_ns;
  const uint8_t *bytes;
  size_t size;
};

/*
 * A driver. `open` returns NULL, or what failed with errno set. `flush` ends a batch of lines.
 * `close` lets go of files and sockets: what they lie on may be unmounted next.
 */
struct sink {
  const char *(*open)(void);
  void (*line)(const struct line *line);
  void (*flush)(void);
  void (*close)(void);
};

extern const struct sink json_file_sink, local_sink, journald_sink, syslog_sink;

/* Call it before other descriptors are open: in non-blocking mode it forks the writer. */
const char *log_open(void);
/* True when output goes nowhere but to attached clients. */
bool log_is_none(void);
void log_line(const struct line *line);
void log_flush(void);
/* Returns when everything is written. */
void log_close(void);

/* Value of the option KEY among the settings `log-option`. */
const char *log_option(const char *key, const char *fallback);

#endif
