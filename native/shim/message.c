#include "message.h"

#include <endian.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "local.h"

enum { OUT_HIGH = 64 << 10, OUT_MAX = OUT_HIGH + 2 * WINDOW, FRAME_HEADER = 8, BLOCK = 64 << 10 };

static char out_bytes[OUT_MAX];
static struct text out = {out_bytes, 0, sizeof out_bytes, false};

bool message_is_full(void) {
  return out.size >= OUT_HIGH;
}

bool message_flush(void) {
  bool written = write_all(STDOUT_FILENO, out.bytes, out.size);
  out.size = 0;
  return written;
}

/* --- what a client is sent ---------------------------------------------------------------------- */

/* Go's url.QueryEscape. */
static void put_query(const struct text *from) {
  static const char hex[] = "0123456789ABCDEF";
  for (size_t i = 0; i < from->size; i++) {
    unsigned char c = (unsigned char)from->bytes[i];
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '_' || c == '.' || c == '~';
    char escape[3] = {'%', hex[c >> 4], hex[c & 15]};
    if (plain) {
      put_bytes(&out, &c, 1);
    } else if (c == ' ') {
      put(&out, "+");
    } else {
      put_bytes(&out, escape, sizeof escape);
    }
  }
}

/* `{"k":"v","l":"w"}` as `k=v,l=w`. */
static void put_details(struct json attrs) {
  static char word_bytes[32 << 10];
  for (bool first = true; json_mark(&attrs, first ? '{' : ','); first = false) {
    struct text word = {word_bytes, 0, sizeof word_bytes, false};
    if (!json_string(&attrs, &word)) return;
    if (!first) put(&out, ",");
    put_query(&word);
    put(&out, "=");
    word.size = 0;
    if (!json_mark(&attrs, ':') || !json_string(&attrs, &word)) return;
    put_query(&word);
  }
}

/* Everything of a frame but the text; returns where the frame begins. */
static size_t begin_frame(const struct wanted *wanted, int stream, int64_t time_ns,
                          struct json attrs) {
  size_t start = out.size;
  const char header[FRAME_HEADER] = {(char)stream};
  if (!wanted->raw) put_bytes(&out, header, sizeof header);
  if (wanted->timestamps) {
    put_time(&out, time_ns, true);
    put(&out, " ");
  }
  if (wanted->details) {
    put_details(attrs);
    put(&out, " ");
  }
  return start;
}

static void end_frame(const struct wanted *wanted, size_t start) {
  if (wanted->raw) return;
  uint32_t size = htobe32((uint32_t)(out.size - start - FRAME_HEADER));
  memcpy(out.bytes + start + 4, &size, sizeof size);
}

static bool is_wanted(const struct wanted *wanted, int stream, int64_t time_ns) {
  return (stream == STDOUT || stream == STDERR) && wanted->streams[stream] &&
         time_ns >= wanted->since_ns;
}

bool message_is_past(const struct wanted *wanted, int64_t time_ns) {
  return wanted->until_ns > 0 && time_ns > wanted->until_ns;
}

void message_put(const struct wanted *wanted, int stream, int64_t time_ns, const char *bytes,
                 size_t size, bool partial) {
  if (!is_wanted(wanted, stream, time_ns)) return;
  size_t start = begin_frame(wanted, stream, time_ns, (struct json){bytes, bytes});
  put_bytes(&out, bytes, size);
  if (!partial) put(&out, "\n");
  end_frame(wanted, start);
}

/* --- json-file ---------------------------------------------------------------------------------- */

static bool digits(const char **at, int count, int64_t *value) {
  *value = 0;
  for (int i = 0; i < count; i++, (*at)++) {
    if (**at < '0' || **at > '9') return false;
    *value = *value * 10 + (**at - '0');
  }
  return true;
}

/* Days since 1970 (proleptic Gregorian). */
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
  year -= month <= 2;
  int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
  int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

/* RFC 3339 with any fraction; `text` ends with a NUL. */
static bool parse_time(const char *text, int64_t *time_ns) {
  int64_t year, month, day, hour, minute, second, nanoseconds = 0;
  if (!digits(&text, 4, &year) || *text++ != '-' || !digits(&text, 2, &month) ||
      *text++ != '-' || !digits(&text, 2, &day) || *text++ != 'T' || !digits(&text, 2, &hour) ||
      *text++ != ':' || !digits(&text, 2, &minute) || *text++ != ':' ||
      !digits(&text, 2, &second)) {
    return false;
  }
  if (*text == '.') {
    text++;
    for (int64_t unit = SECOND_NS / 10; *text >= '0' && *text <= '9'; text++, unit /= 10) {
      nanoseconds += (*text - '0') * unit;
    }
  }
  int64_t offset = 0;
  if (*text == '+' || *text == '-') {
    int64_t hours, minutes, sign = *text++ == '+' ? 1 : -1;
    if (!digits(&text, 2, &hours) || *text++ != ':' || !digits(&text, 2, &minutes)) return false;
    offset = sign * (hours * 3600 + minutes * 60);
  } else if (*text++ != 'Z') {
    return false;
  }
  int64_t seconds = days_of(year, month, day) * 86400 + hour * 3600 + minute * 60 + second - offset;
  /* Nanoseconds reach from 1677 to 2262; a time before or after that is as good as its end. */
  const int64_t seconds_max = INT64_MAX / SECOND_NS - 1;
  if (seconds > seconds_max) seconds = seconds_max;
  if (seconds < -seconds_max) seconds = -seconds_max;
  *time_ns = seconds * SECOND_NS + nanoseconds;
  return *text == '\0';
}

struct json_line {
  struct json log, attrs;
  int stream;
  int64_t time_ns;
};

/* One line, keys in any order. False when it is not a message. */
static bool parse_line(const char *bytes, size_t size, struct json_line *line) {
  struct json json = {bytes, bytes + size};
  bool has_time = false;
  *line = (struct json_line){.log = {"\"\"", NULL}, .attrs = {bytes, bytes}};
  line->log.end = line->log.at + 2;
  for (bool first = true; json_mark(&json, first ? '{' : ','); first = false) {
    char word_bytes[64];
    struct text word = {word_bytes, 0, sizeof word_bytes - 1, false};
    if (!json_string(&json, &word) || !json_mark(&json, ':')) return false;
    word_bytes[word.size] = '\0';
    struct json value = json;
    if (!json_skip(&json)) return false;
    value.end = json.at;
    if (strcmp(word_bytes, "log") == 0) {
      line->log = value;
    } else if (strcmp(word_bytes, "attrs") == 0) {
      line->attrs = value;
    } else {
      bool is_stream = strcmp(word_bytes, "stream") == 0;
      if (!is_stream && strcmp(word_bytes, "time") != 0) continue;
      word.size = 0;
      if (!json_string(&value, &word)) return false;
      word_bytes[word.size] = '\0';
      if (!is_stream) {
        has_time = parse_time(word_bytes, &line->time_ns);
      } else {
        line->stream = strcmp(word_bytes, "stderr") == 0   ? STDERR
                       : strcmp(word_bytes, "stdout") == 0 ? STDOUT
                                                           : STDIN;
      }
    }
  }
  return has_time && json_mark(&json, '}');
}

static enum taken take_json(const char *bytes, size_t size, const struct wanted *wanted,
                            bool flushing, size_t *used) {
  const char *newline = memchr(bytes, '\n', size);
  if (newline == NULL && !flushing && size < WINDOW) return INCOMPLETE;
  *used = newline == NULL ? size : (size_t)(newline - bytes) + 1;
  struct json_line line;
  /* Half a line that a full disk or a crash left is no message; the next one is. */
  if (newline == NULL || !parse_line(bytes, *used - 1, &line)) return TAKEN;
  if (message_is_past(wanted, line.time_ns)) return REACHED_END;
  if (!is_wanted(wanted, line.stream, line.time_ns)) return TAKEN;
  size_t start = begin_frame(wanted, line.stream, line.time_ns, line.attrs);
  if (json_string(&line.log, &out)) {
    end_frame(wanted, start);
  } else {
    out.size = start;
  }
  return TAKEN;
}

static int64_t back_json(struct log_file *file, int64_t wanted) {
  static char block[BLOCK];
  off_t end = lseek(file->fd, 0, SEEK_END);
  int64_t found = -1; /* the first newline that is met ends the last line */
  file->at = end;
  if (wanted == 0) return 0;
  while (end > 0) {
    size_t size = end < BLOCK ? (size_t)end : BLOCK;
    ssize_t got = pread(file->fd, block, size, end - (off_t)size);
    if (got != (ssize_t)size) break;
    for (char *at; (at = memrchr(block, '\n', size)) != NULL; size = (size_t)(at - block)) {
      if (++found == wanted) {
        file->at = end - got + (at - block) + 1;
        return found;
      }
    }
    end -= got;
  }
  file->at = 0;
  return found + 1;
}

static bool counts_json(const char *bytes, size_t used) {
  (void)bytes, (void)used;
  return true;
}

static void begin_nothing(const struct log_file *file) {
  (void)file;
}

const struct format json_file_format = {take_json, counts_json, back_json, begin_nothing};

/* --- local -------------------------------------------------------------------------------------- */

static char attrs_bytes[32 << 10];
static struct text attrs = {attrs_bytes, 0, sizeof attrs_bytes, false};

/* Whether a record's head can be one; `size` is that of its bytes and both sizes. */
static bool is_header(const struct local_header *header, size_t *size) {
  uint32_t counted = le32toh(header->size), both = 2 * sizeof header->size;
  /* Before the sum, which wraps around where size_t has 32 bits. */
  if (counted < LOCAL_FIXED || counted > WINDOW - both) return false;
  *size = counted + both;
  return header->kind <= STDERR && header->flags <= LOCAL_PARTIAL;
}

static void take_record(const struct local_header *header, const char *bytes, size_t size,
                        const struct wanted *wanted) {
  if (header->kind == LOCAL_ATTRS) {
    attrs.size = 0;
    put_bytes(&attrs, bytes, size);
    return;
  }
  int64_t time_ns = (int64_t)le64toh((uint64_t)header->time_ns);
  if (!is_wanted(wanted, header->kind, time_ns)) return;
  struct json details = {attrs.bytes, attrs.bytes + attrs.size};
  size_t start = begin_frame(wanted, header->kind, time_ns, details);
  put_bytes(&out, bytes, size);
  if ((header->flags & LOCAL_PARTIAL) == 0) put(&out, "\n");
  end_frame(wanted, start);
}

static enum taken take_local(const char *bytes, size_t size, const struct wanted *wanted,
                             bool flushing, size_t *used) {
  struct local_header header;
  size_t whole;
  *used = 1; /* no record begins here: try the next byte */
  if (size < sizeof header) return flushing ? TAKEN : INCOMPLETE;
  memcpy(&header, bytes, sizeof header);
  if (!is_header(&header, &whole)) return TAKEN;
  if (size < whole) return flushing ? TAKEN : INCOMPLETE;
  if (memcmp(bytes + whole - sizeof header.size, &header.size, sizeof header.size) != 0) {
    return TAKEN;
  }
  int64_t time_ns = (int64_t)le64toh((uint64_t)header.time_ns);
  if (header.kind != LOCAL_ATTRS && message_is_past(wanted, time_ns)) return REACHED_END;
  take_record(&header, bytes + sizeof header, whole - sizeof header - sizeof header.size, wanted);
  *used = whole;
  return TAKEN;
}

static int64_t back_local(struct log_file *file, int64_t wanted) {
  int64_t found = 0;
  off_t at = lseek(file->fd, 0, SEEK_END);
  while (found < wanted && at > 0) {
    struct local_header header;
    size_t whole;
    uint32_t size;
    off_t start;
    if (pread(file->fd, &size, sizeof size, at - (off_t)sizeof size) != sizeof size) break;
    start = at - (off_t)le32toh(size) - 2 * (off_t)sizeof size;
    if (start < 0 || pread(file->fd, &header, sizeof header, start) != sizeof header) break;
    /* Damaged: what lies before is read from its beginning instead. */
    if (header.size != size || !is_header(&header, &whole)) break;
    at = start;
    found += header.kind != LOCAL_ATTRS;
  }
  file->at = found < wanted ? 0 : at;
  return found;
}

static bool counts_local(const char *bytes, size_t used) {
  struct local_header header;
  if (used < sizeof header) return false; /* a step over damage */
  memcpy(&header, bytes, sizeof header);
  return header.kind != LOCAL_ATTRS;
}

/* A file's attributes are its first record. */
static void begin_local(const struct log_file *file) {
  static char bytes[WINDOW];
  static const struct wanted nothing;
  size_t used;
  attrs.size = 0;
  ssize_t size = chain_read(file, bytes, sizeof bytes, 0);
  if (size > 4 && bytes[4] == LOCAL_ATTRS) take_local(bytes, (size_t)size, &nothing, true, &used);
}

const struct format local_format = {take_local, counts_local, back_local, begin_local};
