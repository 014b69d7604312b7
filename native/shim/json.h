/*
 * JSON strings as Docker's json-file driver writes them, and back.
 * Source: RFC 8259; moby daemon/logger/jsonfilelog/jsonlog (what it escapes and how).
 */
#ifndef CORACLE_SHIM_JSON_H
#define CORACLE_SHIM_JSON_H

#include "base.h"

/* Bytes that one byte of input can become. */
enum { JSON_GROWTH_MAX = 6 };

/* Bytes of the UTF-8 sequence at the front: 1 to 4, or 0 when it is not a valid one. */
size_t utf8_size(const uint8_t *bytes, size_t size);

/*
 * How many bytes of the front to take, at most `size`, so that no sequence that may still become
 * valid is cut at the end.
 */
size_t utf8_whole(const uint8_t *bytes, size_t size);

/* Appends the inside of a JSON string; each byte that is not valid UTF-8 becomes U+FFFD. */
void put_json(struct text *text, const uint8_t *bytes, size_t size);

/* A place in JSON text. */
struct json {
  const char *at;
  const char *end;
};

/*
 * Takes a string, quotes included, and appends its value to `value` (NULL: throws it away).
 * Returns false when there is none.
 */
bool json_string(struct json *json, struct text *value);

/* Takes one character after white space, if it is the next. */
bool json_mark(struct json *json, char mark);

/* Takes any value and throws it away. */
bool json_skip(struct json *json);

#endif
