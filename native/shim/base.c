#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SETTINGS_MAX = 512 };

static const char *settings[SETTINGS_MAX];
static int settings_count;

void put_bytes(struct text *text, const void *bytes, size_t size) {
  if (size > text->capacity - text->size) {
    size = text->capacity - text->size;
    text->full = true;
  }
  memcpy(text->bytes + text->size, bytes, size);
  text->size += size;
}

void put(struct text *text, const char *string) {
  put_bytes(text, string, strlen(string));
}

void put_padded(struct text *text, uint64_t number, int width) {
  char digits[20];
  int at = sizeof digits;
  do {
    digits[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number > 0);
  while ((int)sizeof digits - at < width && at > 0) digits[--at] = '0';
  put_bytes(text, digits + at, sizeof digits - (size_t)at);
}

void put_number(struct text *text, int64_t number) {
  if (number < 0) put(text, "-");
  put_padded(text, number < 0 ? -(uint64_t)number : (uint64_t)number, 1);
}

/* Days since 1970 to year, month and day (proleptic Gregorian), by eras of 400 years from March. */
static void civil_date(int64_t days, int64_t *year, unsigned *month, unsigned *day) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  unsigned of_era = (unsigned)(days - era * 146097);
  unsigned year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  unsigned of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  unsigned from_march = (5 * of_year + 2) / 153;
  *day = of_year - (153 * from_march + 2) / 5 + 1;
  *month = from_march < 10 ? from_march + 3 : from_march - 9;
  *year = (int64_t)year_of_era + era * 400 + (*month <= 2);
}

static void put_seconds(struct text *text, int64_t seconds) {
  int64_t days = seconds / 86400, of_day = seconds % 86400, year;
  unsigned month, day;
  civil_date(days, &year, &month, &day);
  put_padded(text, (uint64_t)year, 4);
  put(text, "-");
  put_padded(text, month, 2);
  put(text, "-");
  put_padded(text, day, 2);
  put(text, "T");
  put_padded(text, (uint64_t)of_day / 3600, 2);
  put(text, ":");
  put_padded(text, (uint64_t)of_day / 60 % 60, 2);
  put(text, ":");
  put_padded(text, (uint64_t)of_day % 60, 2);
}

void put_time(struct text *text, int64_t time_ns, bool fixed) {
  /* Log lines come many to a second: its text is kept. */
  static char kept[24];
  static size_t kept_size;
  static int64_t kept_second = -1;
  if (time_ns < 0) time_ns = 0;
  int64_t second = time_ns / SECOND_NS;
  if (second != kept_second) {
    struct text fresh = {kept, 0, sizeof kept, false};
    put_seconds(&fresh, second);
    kept_size = fresh.size;
    kept_second = second;
  }
  put_bytes(text, kept, kept_size);

  char fraction[9];
  uint64_t rest = (uint64_t)(time_ns % SECOND_NS);
  for (int i = 8; i >= 0; i--, rest /= 10) fraction[i] = (char)('0' + rest % 10);
  size_t size = sizeof fraction;
  while (!fixed && size > 0 && fraction[size - 1] == '0') size--;
  if (size > 0) put(text, ".");
  put_bytes(text, fraction, size);
  put(text, "Z");
}

int64_t clock_ns(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (int64_t)now.tv_sec * SECOND_NS + now.tv_nsec;
}

bool write_all(int fd, const void *bytes, size_t size) {
  const char *at = bytes;
  while (size > 0) {
    ssize_t done = write(fd, at, size);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    at += done;
    size -= (size_t)done;
  }
  return true;
}

static bool add_setting(const char *record) {
  if (settings_count == SETTINGS_MAX || strchr(record, '=') == NULL) {
    errno = EINVAL;
    return false;
  }
  settings[settings_count++] = record;
  return true;
}

bool settings_from_file(const char *path) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  struct stat info;
  char *bytes = MAP_FAILED;
  if (fstat(fd, &info) == 0 && info.st_size > 0) {
    bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
  }
  close(fd);
  if (bytes == MAP_FAILED) return false;
  if (bytes[info.st_size - 1] != '\0') {
    errno = EINVAL;
    return false;
  }
  for (char *at = bytes; at < bytes + info.st_size; at += strlen(at) + 1) {
    if (!add_setting(at)) return false;
  }
  return true;
}

bool settings_from_arguments(int count, char **arguments) {
  for (int i = 0; i < count; i++) {
    if (!add_setting(arguments[i])) return false;
  }
  return true;
}

const char *next_setting(const char *key, int *at) {
  size_t size = strlen(key);
  while (*at < settings_count) {
    const char *record = settings[(*at)++];
    if (strncmp(record, key, size) == 0 && record[size] == '=') return record + size + 1;
  }
  return NULL;
}

const char *setting(const char *key, const char *fallback) {
  int at = 0;
  const char *value = next_setting(key, &at);
  return value == NULL ? fallback : value;
}

int64_t number_setting(const char *key, int64_t fallback) {
  const char *value = setting(key, NULL);
  return value == NULL ? fallback : (int64_t)strtoll(value, NULL, 10);
}

bool flag_setting(const char *key) {
  return number_setting(key, 0) != 0;
}
