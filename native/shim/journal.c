/*
 * Entries of the journal in its export format (systemd.io/JOURNAL_EXPORT_FORMAT): fields, each
 *
 *   KEY=VALUE\n                      or, for a value that is no text,
 *   KEY\n  u64 size  VALUE  \n       little endian
 *
 * and an empty line after the last. The driver journald writes PRIORITY by stream, MESSAGE, and
 * CONTAINER_PARTIAL_MESSAGE (log-socket.c).
 */
#include "base.h"

#include "journal.h"

#include <endian.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "message.h"

enum { ARGUMENTS_MAX = 16, EXIT_CANNOT_RUN = 127 };
static const char PRIORITY_OF_STDERR = '3';

struct field {
  const char *name;
  size_t name_size;
  const char *value;
  size_t value_size;
};

/* Bytes of the field at the front; 0 when they are not all there. */
static size_t take_field(const char *bytes, size_t size, struct field *field) {
  const char *newline = memchr(bytes, '\n', size);
  if (newline == NULL) return 0;
  size_t line = (size_t)(newline - bytes);
  const char *equals = memchr(bytes, '=', line);
  field->name = bytes;
  if (equals != NULL) {
    field->name_size = (size_t)(equals - bytes);
    field->value = equals + 1;
    field->value_size = (size_t)(newline - equals) - 1;
    return line + 1;
  }
  uint64_t value_size;
  size_t head = line + 1 + sizeof value_size;
  if (size < head) return 0;
  memcpy(&value_size, newline + 1, sizeof value_size);
  value_size = le64toh(value_size);
  if (value_size >= size - head) return 0; /* a newline follows */
  field->name_size = line;
  field->value = bytes + head;
  field->value_size = (size_t)value_size;
  return head + field->value_size + 1;
}

static bool is_field(const struct field *field, const char *name) {
  return field->name_size == strlen(name) && memcmp(field->name, name, field->name_size) == 0;
}

/* Microseconds in decimal digits. */
static int64_t time_of(const struct field *field) {
  int64_t value = 0;
  for (size_t i = 0; i < field->value_size; i++) {
    char c = field->value[i];
    if (c < '0' || c > '9' || value > INT64_MAX / 10000 / 1000) return value * 1000;
    value = value * 10 + (c - '0');
  }
  return value * 1000;
}

/* Within an entry that is too long: to the empty line that ends it. */
static bool skipping;

static enum taken skip_entry(const char *bytes, size_t size, size_t *used) {
  const char *end = memmem(bytes, size, "\n\n", 2);
  skipping = end == NULL;
  /* The last byte may be the first newline of the two. */
  *used = end == NULL ? size - 1 : (size_t)(end - bytes) + 2;
  return size == 1 ? INCOMPLETE : TAKEN;
}

static enum taken take_entry(const char *bytes, size_t size, const struct wanted *wanted,
                             bool flushing, size_t *used) {
  if (skipping) return skip_entry(bytes, size, used);
  struct field field, message = {NULL, 0, NULL, 0};
  int stream = STDOUT;
  int64_t time_ns = 0;
  bool partial = false;
  size_t at = 0;
  while (at < size && bytes[at] != '\n') {
    size_t taken = take_field(bytes + at, size - at, &field);
    if (taken == 0) {
      at = size;
      break;
    }
    at += taken;
    if (is_field(&field, "MESSAGE")) {
      message = field;
    } else if (is_field(&field, "PRIORITY")) {
      if (field.value_size == 1 && *field.value == PRIORITY_OF_STDERR) stream = STDERR;
    } else if (is_field(&field, "__REALTIME_TIMESTAMP")) {
      time_ns = time_of(&field);
    } else if (is_field(&field, "CONTAINER_PARTIAL_MESSAGE")) {
      partial = true;
    }
  }
  if (at >= size && !flushing && size < WINDOW) return INCOMPLETE;
  if (at >= size && !flushing) return skip_entry(bytes, size, used);
  *used = at < size ? at + 1 : size; /* one that is cut off at the end is no message */
  if (at >= size || message.value == NULL || message.value_size > LINE_MAX_BYTES) return TAKEN;
  if (message_is_past(wanted, time_ns)) return REACHED_END;
  message_put(wanted, stream, time_ns, message.value, message.value_size, partial);
  return TAKEN;
}

const struct format journal_format = {.take = take_entry};

static _Noreturn void become_journalctl(int64_t tail, bool follow, const bool *streams) {
  char match_bytes[128], lines_bytes[32];
  struct text match = {match_bytes, 0, sizeof match_bytes - 1, false};
  struct text lines = {lines_bytes, 0, sizeof lines_bytes - 1, false};
  const char *words[ARGUMENTS_MAX] = {
      setting("journalctl", ""),
      "--quiet",
      "--no-pager",
      "--output=export",
      "--output-fields=MESSAGE,PRIORITY,CONTAINER_PARTIAL_MESSAGE",
  };
  int count = 5;
  put(&match, "CONTAINER_ID_FULL=");
  put(&match, setting("id", ""));
  match_bytes[match.size] = '\0';
  words[count++] = match_bytes;
  if (!streams[STDERR]) words[count++] = "PRIORITY=6";
  if (!streams[STDOUT]) words[count++] = "PRIORITY=3";
  if (follow) words[count++] = "--follow";
  if (follow && tail < 0) words[count++] = "--no-tail";
  if (tail >= 0) {
    put(&lines, "--lines=");
    put_number(&lines, tail);
    lines_bytes[lines.size] = '\0';
    words[count++] = lines_bytes;
  }
  execv(words[0], (char **)words);
  _exit(EXIT_CANNOT_RUN);
}

int journal_open(int64_t tail, bool follow, const bool *streams, pid_t *pid) {
  int ends[2];
  if (pipe(ends) < 0) return -1;
  *pid = fork();
  if (*pid < 0) return -1;
  if (*pid == 0) {
    dup2(ends[1], STDOUT_FILENO);
    close(ends[0]);
    close(ends[1]);
    become_journalctl(tail, follow, streams);
  }
  close(ends[1]);
  return ends[0];
}
