#include "json.h"

#include <string.h>

/* Lead byte, smallest and largest second byte: Unicode 15, table 3-7. */
static size_t sequence_size(uint8_t lead, uint8_t *low, uint8_t *high) {
  *low = 0x80;
  *high = 0xbf;
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return 2;
  if (lead == 0xe0) *low = 0xa0;
  if (lead == 0xed) *high = 0x9f;
  if (lead >= 0xe0 && lead <= 0xef) return 3;
  if (lead == 0xf0) *low = 0x90;
  if (lead == 0xf4) *high = 0x8f;
  if (lead >= 0xf0 && lead <= 0xf4) return 4;
  return 0;
}

/* How many bytes of a sequence of `needed` bytes are there and right. */
static size_t right_bytes(const uint8_t *bytes, size_t size, size_t needed, uint8_t low,
                          uint8_t high) {
  size_t right = 1;
  if (needed > 1 && size > 1 && bytes[1] >= low && bytes[1] <= high) right = 2;
  while (right > 1 && right < needed && right < size && (bytes[right] & 0xc0) == 0x80) right++;
  return right;
}

size_t utf8_size(const uint8_t *bytes, size_t size) {
  uint8_t low, high;
  size_t needed = sequence_size(bytes[0], &low, &high);
  if (needed <= 1) return needed;
  return right_bytes(bytes, size, needed, low, high) == needed ? needed : 0;
}

size_t utf8_whole(const uint8_t *bytes, size_t size) {
  for (size_t back = 1; back <= 3 && back < size; back++) {
    const uint8_t *lead = bytes + size - back;
    if ((*lead & 0xc0) == 0x80) continue;
    uint8_t low, high;
    size_t needed = sequence_size(*lead, &low, &high);
    bool cut = needed > back && right_bytes(lead, back, needed, low, high) == back;
    return cut ? size - back : size;
  }
  return size;
}

/* Docker escapes what HTML could trip over, too. */
static bool is_plain(uint8_t byte) {
  return byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\' && byte != '<' &&
         byte != '>' && byte != '&';
}

static void put_escape(struct text *text, uint8_t byte) {
  static const char hex[] = "0123456789abcdef";
  char escape[6] = {'\\', 'u', '0', '0', hex[byte >> 4], hex[byte & 15]};
  size_t size = 2;
  switch (byte) {
    case '"': case '\\': escape[1] = (char)byte; break;
    case '\n': escape[1] = 'n'; break;
    case '\r': escape[1] = 'r'; break;
    default: size = 6;
  }
  put_bytes(text, escape, size);
}

void put_json(struct text *text, const uint8_t *bytes, size_t size) {
  size_t start = 0, at = 0;
  while (at < size) {
    if (is_plain(bytes[at])) {
      at++;
      continue;
    }
    size_t length = bytes[at] < 0x80 ? 0 : utf8_size(bytes + at, size - at);
    bool separator = length == 3 && memcmp(bytes + at, "\xe2\x80", 2) == 0 &&
                     (bytes[at + 2] == 0xa8 || bytes[at + 2] == 0xa9);
    if (length > 0 && !separator) {
      at += length;
      continue;
    }
    put_bytes(text, bytes + start, at - start);
    if (separator) {
      put(text, bytes[at + 2] == 0xa8 ? "\\u2028" : "\\u2029");
    } else if (bytes[at] < 0x80) {
      put_escape(text, bytes[at]);
    } else {
      put(text, "\\ufffd");
    }
    at += separator ? 3 : 1;
    start = at;
  }
  put_bytes(text, bytes + start, size - start);
}

static void put_utf8(struct text *text, uint32_t rune) {
  char bytes[4];
  size_t size = 0;
  if (rune < 0x80) {
    bytes[size++] = (char)rune;
  } else if (rune < 0x800) {
    bytes[size++] = (char)(0xc0 | rune >> 6);
    bytes[size++] = (char)(0x80 | (rune & 63));
  } else if (rune < 0x10000) {
    bytes[size++] = (char)(0xe0 | rune >> 12);
    bytes[size++] = (char)(0x80 | (rune >> 6 & 63));
    bytes[size++] = (char)(0x80 | (rune & 63));
  } else {
    bytes[size++] = (char)(0xf0 | rune >> 18);
    bytes[size++] = (char)(0x80 | (rune >> 12 & 63));
    bytes[size++] = (char)(0x80 | (rune >> 6 & 63));
    bytes[size++] = (char)(0x80 | (rune & 63));
  }
  put_bytes(text, bytes, size);
}

/* Four hexadecimal digits; -1 when they are not. */
static int32_t hex4(const char *at, const char *end) {
  if (end - at < 4) return -1;
  int32_t value = 0;
  for (int i = 0; i < 4; i++) {
    char c = at[i];
    int digit = c >= '0' && c <= '9' ? c - '0'
              : c >= 'a' && c <= 'f' ? c - 'a' + 10
              : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
    if (digit < 0) return -1;
    value = value << 4 | digit;
  }
  return value;
}

/* After `\u`. A surrogate without its partner gives U+FFFD. */
static bool take_unicode(struct json *json, struct text *value) {
  int32_t unit = hex4(json->at, json->end);
  if (unit < 0) return false;
  json->at += 4;
  uint32_t rune = (uint32_t)unit;
  if (unit >= 0xd800 && unit <= 0xdfff) {
    rune = 0xfffd;
    const char *at = json->at;
    if (unit <= 0xdbff && json->end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
      int32_t low = hex4(at + 2, json->end);
      if (low >= 0xdc00 && low <= 0xdfff) {
        rune = 0x10000 + ((uint32_t)(unit - 0xd800) << 10) + (uint32_t)(low - 0xdc00);
        json->at += 6;
      }
    }
  }
  if (value != NULL) put_utf8(value, rune);
  return true;
}

static bool take_escape(struct json *json, struct text *value) {
  static const char from[] = "\"\\/nrtbf", to[] = "\"\\/\n\r\t\b\f";
  if (json->at == json->end) return false;
  char letter = *json->at++;
  if (letter == 'u') return take_unicode(json, value);
  const char *found = letter == '\0' ? NULL : strchr(from, letter);
  if (found == NULL) return false;
  if (value != NULL) put_bytes(value, to + (found - from), 1);
  return true;
}

bool json_string(struct json *json, struct text *value) {
  if (!json_mark(json, '"')) return false;
  while (json->at < json->end) {
    const char *start = json->at;
    while (json->at < json->end && *json->at != '"' && *json->at != '\\') json->at++;
    if (value != NULL) put_bytes(value, start, (size_t)(json->at - start));
    if (json->at == json->end) return false;
    if (*json->at++ == '"') return true;
    if (!take_escape(json, value)) return false;
  }
  return false;
}

bool json_mark(struct json *json, char mark) {
  while (json->at < json->end && (*json->at == ' ' || *json->at == '\t' || *json->at == '\r')) {
    json->at++;
  }
  if (json->at == json->end || *json->at != mark) return false;
  json->at++;
  return true;
}

bool json_skip(struct json *json) {
  /* Brackets need no matching by kind: whoever wrote them did; only strings can hide them. */
  int depth = 0;
  while (json->at < json->end) {
    char c = *json->at;
    if (c == '"') {
      if (!json_string(json, NULL)) return false;
      if (depth == 0) return true;
      continue;
    }
    if (depth == 0 && (c == ',' || c == '}' || c == ']')) return true;
    if (c == '{' || c == '[') depth++;
    if (c == '}' || c == ']') depth--;
    json->at++;
    if (depth == 0 && (c == '}' || c == ']')) return true;
  }
  return false;
}
