/*
 * Unpacks gzip files that we, or gzip, packed: bounded, and harmless with damaged ones, at whose
 * damage they end. Sums are not compared: a log is read as far as it can be.
 */
#include "gzip.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
  HISTORY = 32 << 10,
  RING = 2 * HISTORY, /* half of it may wait to be taken */
  INPUT = 16 << 10,
  LITERALS_MAX = 288,
  CODE_BITS_MAX = 15,
  STORED = 0,
  FIXED = 1,
  OWN_CODES = 2,
  HAS_SUM = 2,
  HAS_EXTRA = 4,
  HAS_NAME = 8,
  HAS_COMMENT = 16,
};

/* A canonical code: how many words of each length, and the symbols by their words. */
struct code {
  uint16_t counts[CODE_BITS_MAX + 1];
  uint16_t symbols[LITERALS_MAX];
};

/* The file that is being unpacked, if there is one. No initialiser, so that it is no part of the
   program's file. */
static struct {
  bool open;
  int fd;
  off_t read_at; /* in the packed file */
  uint8_t input[INPUT];
  size_t input_at, input_size;
  uint64_t bits;
  int bit_count;
  bool ended; /* or damaged */
  bool in_block, last_block;
  int kind;
  unsigned stored_left;
  struct code literals, distances;
  uint8_t ring[RING];
  uint64_t produced, taken;
} now;

/* --- bits --------------------------------------------------------------------------------------- */

static bool refill(void) {
  ssize_t size = pread(now.fd, now.input, sizeof now.input, now.read_at);
  if (size <= 0) return false;
  now.read_at += size;
  now.input_at = 0;
  now.input_size = (size_t)size;
  return true;
}

/* 0 and `ended` when there are no more. */
static unsigned take_bits(int count) {
  while (now.bit_count < count) {
    if (now.input_at == now.input_size && !refill()) {
      now.ended = true;
      return 0;
    }
    now.bits |= (uint64_t)now.input[now.input_at++] << now.bit_count;
    now.bit_count += 8;
  }
  unsigned value = (unsigned)(now.bits & ((1U << count) - 1));
  now.bits >>= count;
  now.bit_count -= count;
  return value;
}

static void drop_to_byte(void) {
  take_bits(now.bit_count % 8);
}

/* --- codes -------------------------------------------------------------------------------------- */

/* False when there are more words than the lengths have room for. */
static bool make_code(struct code *code, const uint8_t *lengths, int size) {
  uint16_t next[CODE_BITS_MAX + 1];
  memset(code->counts, 0, sizeof code->counts);
  for (int i = 0; i < size; i++) code->counts[lengths[i]]++;
  code->counts[0] = 0;
  int room = 1;
  next[0] = 0;
  for (int length = 1; length <= CODE_BITS_MAX; length++) {
    room = room * 2 - code->counts[length];
    if (room < 0) return false;
    next[length] = (uint16_t)(next[length - 1] + code->counts[length - 1]);
  }
  for (int i = 0; i < size; i++) {
    if (lengths[i] > 0) code->symbols[next[lengths[i]]++] = (uint16_t)i;
  }
  return true;
}

/* The next symbol; `ended` when no word fits. */
static int take_symbol(const struct code *code) {
  int word = 0, first = 0, index = 0;
  for (int length = 1; length <= CODE_BITS_MAX && !now.ended; length++) {
    word |= (int)take_bits(1);
    int count = code->counts[length];
    if (word - first < count) return code->symbols[index + word - first];
    index += count;
    first = (first + count) << 1;
    word <<= 1;
  }
  now.ended = true;
  return BLOCK_END;
}

static void fixed_codes(void) {
  uint8_t lengths[LITERALS_MAX];
  memset(lengths, 8, sizeof lengths);
  memset(lengths + 144, 9, 256 - 144);
  memset(lengths + 256, 7, 280 - 256);
  make_code(&now.literals, lengths, LITERALS_MAX);
  memset(lengths, 5, DISTANCE_CODES);
  make_code(&now.distances, lengths, DISTANCE_CODES);
}

/* What a symbol of the lengths' code says: a length, or how often which one comes again. */
static int repetition(int symbol, uint8_t last, uint8_t *length) {
  *length = symbol == 16 ? last : symbol < 16 ? (uint8_t)symbol : 0;
  return symbol < 16    ? 1
         : symbol == 16 ? 3 + (int)take_bits(2)
         : symbol == 17 ? 3 + (int)take_bits(3)
                        : 11 + (int)take_bits(7);
}

static bool own_codes(void) {
  uint8_t lengths[LITERALS_MAX + 32] = {0};
  struct code *lengths_code = &now.distances; /* until the distances' own is known */
  int literals = (int)take_bits(5) + 257, distances = (int)take_bits(5) + 1;
  int count = (int)take_bits(4) + 4;
  if (literals > LITERALS_MAX - 2 || distances > DISTANCE_CODES) return false;
  for (int i = 0; i < count; i++) lengths[gzip_length_order[i]] = (uint8_t)take_bits(3);
  if (!make_code(lengths_code, lengths, LENGTH_LENGTHS)) return false;
  for (int at = 0; at < literals + distances && !now.ended;) {
    uint8_t length;
    int symbol = take_symbol(lengths_code);
    if (symbol == 16 && at == 0) return false;
    int times = repetition(symbol, at > 0 ? lengths[at - 1] : 0, &length);
    if (at + times > literals + distances) return false;
    while (times-- > 0) lengths[at++] = length;
  }
  return !now.ended && make_code(&now.literals, lengths, literals) &&
         make_code(&now.distances, lengths + literals, distances);
}

/* --- blocks ------------------------------------------------------------------------------------- */

static void emit(uint8_t byte) {
  now.ring[now.produced++ % RING] = byte;
}

static void begin_block(void) {
  now.last_block = take_bits(1) == 1;
  now.kind = (int)take_bits(2);
  now.in_block = true;
  if (now.kind == STORED) {
    drop_to_byte();
    now.stored_left = take_bits(16);
    if ((take_bits(16) ^ now.stored_left) != 0xffff) now.ended = true;
  } else if (now.kind == FIXED) {
    fixed_codes();
  } else if (now.kind != OWN_CODES || !own_codes()) {
    now.ended = true;
  }
}

static void end_block(void) {
  now.in_block = false;
  if (now.last_block) now.ended = true;
}

static void copy_match(int length_code) {
  if (length_code >= LENGTH_CODES) {
    now.ended = true;
    return;
  }
  const struct code_range *range = &gzip_lengths[length_code];
  unsigned length = range->least + take_bits(range->extra_bits);
  int code = take_symbol(&now.distances);
  if (now.ended || code >= DISTANCE_CODES) {
    now.ended = true;
    return;
  }
  range = &gzip_distances[code];
  uint64_t distance = range->least + take_bits(range->extra_bits);
  if (now.ended || distance > now.produced) {
    now.ended = true;
    return;
  }
  while (length-- > 0) emit(now.ring[(now.produced - distance) % RING]);
}

/* A symbol's worth of bytes, or a few. */
static void step(void) {
  if (!now.in_block) {
    begin_block();
  } else if (now.kind == STORED) {
    if (now.stored_left == 0) {
      end_block();
      return;
    }
    uint8_t byte = (uint8_t)take_bits(8);
    if (!now.ended) emit(byte);
    now.stored_left--;
  } else {
    int symbol = take_symbol(&now.literals);
    if (now.ended) return;
    if (symbol < BLOCK_END) emit((uint8_t)symbol);
    else if (symbol == BLOCK_END) end_block();
    else copy_match(symbol - FIRST_LENGTH_CODE);
  }
}

/* --- file --------------------------------------------------------------------------------------- */

static void skip_text(void) {
  while (!now.ended && take_bits(8) != 0) continue;
}

static void begin_file(int fd) {
  now.open = true;
  now.fd = fd;
  now.read_at = 0;
  now.input_at = now.input_size = 0;
  now.bits = 0;
  now.bit_count = 0;
  now.ended = now.in_block = now.last_block = false;
  now.produced = now.taken = 0;
  bool is_gzip = take_bits(16) == 0x8b1f && take_bits(8) == 8;
  unsigned flags = take_bits(8);
  for (int i = 0; i < 6; i++) take_bits(8); /* time, hints, system */
  if (!is_gzip) now.ended = true;
  if (flags & HAS_EXTRA) {
    for (unsigned left = take_bits(16); left > 0 && !now.ended; left--) take_bits(8);
  }
  if (flags & HAS_NAME) skip_text();
  if (flags & HAS_COMMENT) skip_text();
  if (flags & HAS_SUM) take_bits(16);
}

/* Unpacks on and takes some of it; 0 at the end. `bytes` may be NULL: they are thrown away. */
static size_t take(uint8_t *bytes, uint64_t size) {
  while (!now.ended && now.produced == now.taken) {
    while (!now.ended && now.produced - now.taken < HISTORY - 258) step();
  }
  uint64_t some = now.produced - now.taken;
  if (some > size) some = size;
  for (uint64_t i = 0; bytes != NULL && i < some; i++) bytes[i] = now.ring[(now.taken + i) % RING];
  now.taken += some;
  return (size_t)some;
}

ssize_t gunzip_pread(int fd, void *bytes, size_t size, off_t at) {
  if (!now.open || now.fd != fd || now.taken > (uint64_t)at) begin_file(fd);
  while (now.taken < (uint64_t)at) {
    if (take(NULL, (uint64_t)at - now.taken) == 0) return 0;
  }
  size_t done = 0, some;
  while (done < size && (some = take((uint8_t *)bytes + done, size - done)) > 0) done += some;
  return (ssize_t)done;
}

void gunzip_forget(void) {
  now.open = false;
}

uint64_t gunzip_origin(int fd) {
  static const uint8_t extra[] = {12, 0, 'C', 'o', 8, 0};
  uint8_t header[24];
  uint64_t origin = 0;
  if (pread(fd, header, sizeof header, 0) != sizeof header) return 0;
  if (header[0] != 0x1f || header[1] != 0x8b || (header[3] & HAS_EXTRA) == 0) return 0;
  if (memcmp(header + 10, extra, sizeof extra) != 0) return 0;
  for (int i = 7; i >= 0; i--) origin = origin << 8 | header[16 + i];
  return origin;
}
