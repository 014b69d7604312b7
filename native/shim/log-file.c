/*
 * The drivers json-file and local: files with rotation.
 *
 * json-file is Docker's, one line a message:
 *
 *   {"log":"text\n","stream":"stdout","attrs":{"k":"v"},"time":"2006-01-02T15:04:05.999999999Z"}
 *
 * local is a sequence of records; numbers are little endian:
 *
 *   u32 size            of what lies between this and the second size
 *   u8  kind            0 attributes of all messages that follow, 1 stdout, 2 stderr
 *   u8  flags           bit 0: partial, no newline follows
 *   i64 time            nanoseconds since the epoch
 *   …   bytes           the line without its newline, or the attributes as a JSON object
 *   u32 size            again, so that a reader can go backwards
 *
 * A file that has reached log-max-size is renamed to PATH.1, PATH.1 to PATH.2 and so on; what a
 * reader holds open it can read to its end, and then finds the next file by its inode number. With
 * log-compress PATH.1 is then packed (pack.h), and is PATH.1.gz, PATH.2.gz and so on.
 */
#include "local.h"
#include "log.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "json.h"
#include "pack.h"

enum {
  ATTRS_MAX = 32 << 10,
  RECORD_MAX = JSON_GROWTH_MAX * LINE_MAX_BYTES + ATTRS_MAX + 256,
  BATCH_HIGH = 32 << 10, /* written at the latest then: pages that were never touched cost nothing */
  BATCH_MAX = BATCH_HIGH + RECORD_MAX,
  FILES_MAX = 1000,
};

static char batch_bytes[BATCH_MAX];
static struct text batch = {batch_bytes, 0, sizeof batch_bytes, false};

static const char *path, *attrs;
static int64_t size_max;
static int files_max;
static bool is_local, packs;
/* A shim that went before may have left a file unpacked. */
static bool pack_is_due;

static int file = -1;
static int64_t file_size;

static void put_local_record(struct text *to, int kind, int flags, int64_t time_ns,
                             const void *bytes, size_t size) {
  struct local_header header = {
      .size = htole32((uint32_t)(LOCAL_FIXED + size)),
      .kind = (uint8_t)kind,
      .flags = (uint8_t)flags,
      .time_ns = (int64_t)htole64((uint64_t)time_ns),
  };
  put_bytes(to, &header, sizeof header);
  put_bytes(to, bytes, size);
  put_bytes(to, &header.size, sizeof header.size);
}

static void drop_file(void) {
  if (file >= 0) close(file);
  file = -1;
}

/* When the disk is full or gone these bytes are lost. The container runs on. */
static void append(const struct text *text) {
  if (write_all(file, text->bytes, text->size)) {
    file_size += (int64_t)text->size;
  } else if (ftruncate(file, file_size) < 0) {
    drop_file(); /* what was begun is mended when it is opened again */
  }
}

/* A new file of the driver local begins with the attributes. */
static void begin_file(void) {
  static char bytes[ATTRS_MAX + 64];
  struct text record = {bytes, 0, sizeof bytes, false};
  if (!is_local || file_size > 0 || *attrs == '\0') return;
  put_local_record(&record, LOCAL_ATTRS, 0, 0, attrs, strlen(attrs));
  append(&record);
}

/* Bytes of the whole record of the driver local at `at`; 0 when there is none. */
static int64_t record_at(int64_t at) {
  uint32_t head, tail;
  if (pread(file, &head, sizeof head, at) != sizeof head) return 0;
  int64_t size = le32toh(head);
  if (size < LOCAL_FIXED || size > RECORD_MAX) return 0;
  at += (int64_t)sizeof head + size;
  if (pread(file, &tail, sizeof tail, at) != sizeof tail || tail != head) return 0;
  return (int64_t)sizeof head + size + (int64_t)sizeof tail;
}

/* Takes off what comes after the last whole record: readers would take no record behind it. */
static void cut_torn_record(void) {
  uint32_t tail;
  int64_t end = file_size - (int64_t)sizeof tail;
  if (end < 0 || pread(file, &tail, sizeof tail, end) != sizeof tail) tail = 0;
  int64_t start = end - (int64_t)sizeof tail - le32toh(tail);
  if (start >= 0 && record_at(start) == file_size - start) return;
  int64_t whole = 0;
  for (int64_t size; (size = record_at(whole)) > 0;) whole += size;
  if (whole < file_size && ftruncate(file, whole) == 0) file_size = whole;
}

/* A power cut may have left half a line, which the next one must not be part of. */
static void end_torn_line(void) {
  char last = '\n';
  if (file_size > 0 && pread(file, &last, 1, file_size - 1) != 1) return;
  if (last != '\n' && write_all(file, "\n", 1)) file_size++;
}

/* It ends with a whole record, whatever a power cut or a full disk left. */
static bool open_file(void) {
  struct stat info;
  file = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (file < 0 || fstat(file, &info) < 0) return false;
  file_size = info.st_size;
  if (is_local) cut_torn_record();
  else end_torn_line();
  return true;
}

static void close_file(void) {
  pack_abandon();
  drop_file();
}

/* A rotated file's name; 0 is the file that is written. False when it is too long. */
static bool rotated_name(char *name, int number, const char *suffix) {
  struct text text = {name, 0, PATH_MAX - 1, false};
  put(&text, path);
  if (number > 0) {
    put(&text, ".");
    put_number(&text, number);
    put(&text, suffix);
  }
  name[text.size] = '\0';
  return !text.full;
}

/* Each number is one file, packed or not, whatever log-compress was when it was made. */
static const char *const suffixes[] = {"", ".gz"};

static void remove_oldest(void) {
  static char name[PATH_MAX];
  for (int i = 0; i < 2; i++) {
    if (rotated_name(name, files_max - 1, suffixes[i])) unlink(name);
  }
}

/* No window in which a message could fall: between two writes there is one file or the other. */
static void rotate(void) {
  static char from[PATH_MAX], to[PATH_MAX];
  pack_finish();
  close(file);
  remove_oldest();
  for (int number = files_max - 1; number > 0; number--) {
    for (int i = 0; i < (number == 1 ? 1 : 2); i++) {
      /* ENOENT: there are not yet so many. */
      if (rotated_name(from, number - 1, suffixes[i]) && rotated_name(to, number, suffixes[i])) {
        rename(from, to);
      }
    }
  }
  open_file();
  pack_is_due = packs;
}

static void pack_if_due(void) {
  if (pack_is_due) pack_start(path);
  pack_is_due = false;
}

static void flush_file(void) {
  if (batch.size == 0) return;
  pack_if_due();
  if (file >= 0 || open_file()) begin_file();
  if (file >= 0) append(&batch);
  batch.size = 0;
}

static void make_room(void) {
  if (size_max > 0 && file_size + (int64_t)batch.size >= size_max) {
    flush_file();
    if (file >= 0 && file_size >= size_max) rotate();
  } else if (batch.size >= BATCH_HIGH) {
    flush_file();
  }
}

static void json_file_line(const struct line *line) {
  make_room();
  put(&batch, "{\"log\":\"");
  put_json(&batch, line->bytes, line->size);
  put(&batch, line->partial ? "\",\"stream\":\"" : "\\n\",\"stream\":\"");
  put(&batch, line->stream == STDERR ? "stderr\"" : "stdout\"");
  if (*attrs != '\0') {
    put(&batch, ",\"attrs\":");
    put(&batch, attrs);
  }
  put(&batch, ",\"time\":\"");
  put_time(&batch, line->time_ns, false);
  put(&batch, "\"}\n");
}

static void local_line(const struct line *line) {
  make_room();
  put_local_record(&batch, line->stream, line->partial ? LOCAL_PARTIAL : 0, line->time_ns, line->bytes,
                   line->size);
}

static const char *open_log_file(bool local) {
  is_local = local;
  path = setting("log-path", "");
  attrs = setting("log-attrs", "");
  size_max = number_setting("log-max-size", 0);
  files_max = (int)number_setting("log-max-files", 1);
  packs = pack_is_due = files_max > 1 && flag_setting("log-compress");
  if (files_max < 1 || files_max > FILES_MAX || strlen(attrs) > ATTRS_MAX) {
    errno = EINVAL;
    return "log-max-files or log-attrs";
  }
  return open_file() ? NULL : path;
}

static const char *open_json_file(void) {
  return open_log_file(false);
}

static const char *open_local(void) {
  return open_log_file(true);
}

const struct sink json_file_sink = {open_json_file, json_file_line, flush_file, close_file};
const struct sink local_sink = {open_local, local_line, flush_file, close_file};
