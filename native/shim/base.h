/*
 * What every part of the shim stands on: bounded text, settings, time. Nothing here allocates.
 */
#ifndef CORACLE_SHIM_BASE_H
#define CORACLE_SHIM_BASE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
/* On 32-bit machines as on others: large files, and times after 2038. */
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* Streams, with the numbers that Docker's attach framing gives them. */
enum { STDIN = 0, STDOUT = 1, STDERR = 2 };

/* Bytes of one log message; a longer line is written as several partial ones, as in Docker. */
enum { LINE_MAX_BYTES = 16 << 10 };

static const int64_t SECOND_NS = 1000000000;
static const int64_t MILLISECOND_NS = 1000000;

/* A buffer that is written from front to end. What does not fit is left out and `full` is set. */
struct text {
  char *bytes;
  size_t size;
  size_t capacity;
  bool full;
};

void put_bytes(struct text *text, const void *bytes, size_t size);
void put(struct text *text, const char *string);
void put_number(struct text *text, int64_t number);
/* With leading zeros up to `width`. */
void put_padded(struct text *text, uint64_t number, int width);
/* RFC 3339 in UTC. Trailing zeros of the fraction are cut unless `fixed`, as Go's RFC3339Nano. */
void put_time(struct text *text, int64_t time_ns, bool fixed);

int64_t clock_ns(clockid_t clock);

/* Writes all of it to a blocking descriptor. False with errno when it cannot. */
bool write_all(int fd, const void *bytes, size_t size);

/*
 * Settings are records `key=value`, from the command line or from a file in which each record ends
 * with a NUL. They are read once and stay where they are.
 */
bool settings_from_file(const char *path);
bool settings_from_arguments(int count, char **arguments);
/* Value of the first record of that key at or after `*at`; `*at` moves behind it. NULL at the end. */
const char *next_setting(const char *key, int *at);
/* The first value, or `fallback`. */
const char *setting(const char *key, const char *fallback);
int64_t number_setting(const char *key, int64_t fallback);
bool flag_setting(const char *key);

#endif
