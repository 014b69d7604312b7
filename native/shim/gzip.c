/*
 * Packs a file: LZ77 over 32 kB, found by chains of equal hashes, in blocks of 32 kB with Huffman
 * codes of their own. It packs logs to about the size that `gzip -3` does.
 */
#include "gzip.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

enum {
  HISTORY = 32 << 10, /* farthest distance; also the size of a block */
  HASH_BITS = 15,
  TRIES_MAX = 16,
  GOOD_LENGTH = 64, /* not worth a look for a longer one */
  MATCH_MIN = 3,
  MATCH_MAX = 258,
  LITERAL_CODES = FIRST_LENGTH_CODE + LENGTH_CODES,
  CODES_MAX = LITERAL_CODES,
  CODE_BITS_MAX = 15,
  LENGTH_LENGTH_BITS_MAX = 7,
  REPEAT = 16,      /* the last length 3 to 6 times */
  ZEROS = 17,       /* 3 to 10 zeros */
  MANY_ZEROS = 18,  /* 11 to 138 zeros */
  OUT_SIZE = 16 << 10,
};

const struct code_range gzip_lengths[LENGTH_CODES] = {
    {3, 0},  {4, 0},  {5, 0},  {6, 0},  {7, 0},  {8, 0},   {9, 0},   {10, 0},  {11, 1},  {13, 1},
    {15, 1}, {17, 1}, {19, 2}, {23, 2}, {27, 2}, {31, 2},  {35, 3},  {43, 3},  {51, 3},  {59, 3},
    {67, 4}, {83, 4}, {99, 4}, {115, 4}, {131, 5}, {163, 5}, {195, 5}, {227, 5}, {258, 0},
};

const struct code_range gzip_distances[DISTANCE_CODES] = {
    {1, 0},     {2, 0},     {3, 0},     {4, 0},     {5, 1},      {7, 1},     {9, 2},     {13, 2},
    {17, 3},    {25, 3},    {33, 4},    {49, 4},    {65, 5},     {97, 5},    {129, 6},   {193, 6},
    {257, 7},   {385, 7},   {513, 8},   {769, 8},   {1025, 9},   {1537, 9},  {2049, 10}, {3073, 10},
    {4097, 11}, {6145, 11}, {8193, 12}, {12289, 12}, {16385, 13}, {24577, 13},
};

const uint8_t gzip_length_order[LENGTH_LENGTHS] = {16, 17, 18, 0, 8,  7, 9,  6, 10, 5,
                                                   11, 4,  12, 3, 13, 2, 14, 1, 15};

/* --- bits --------------------------------------------------------------------------------------- */

static int out_fd;
static bool out_failed;
static uint8_t out[OUT_SIZE];
static size_t out_size;
static uint64_t bits;
static int bit_count;

static void flush_out(void) {
  if (!out_failed && !write_all(out_fd, out, out_size)) out_failed = true;
  out_size = 0;
}

static void put_byte(uint8_t byte) {
  if (out_size == sizeof out) flush_out();
  out[out_size++] = byte;
}

static void put_little(uint64_t number, int bytes) {
  for (int i = 0; i < bytes; i++, number >>= 8) put_byte((uint8_t)number);
}

static void put_bits(uint32_t value, int count) {
  bits |= (uint64_t)value << bit_count;
  for (bit_count += count; bit_count >= 8; bit_count -= 8, bits >>= 8) put_byte((uint8_t)bits);
}

static void align(void) {
  if (bit_count > 0) put_byte((uint8_t)bits);
  bits = 0;
  bit_count = 0;
}

/* --- Huffman codes ------------------------------------------------------------------------------ */

struct code {
  uint32_t counts[CODES_MAX];
  uint8_t lengths[CODES_MAX];
  uint16_t words[CODES_MAX]; /* bits in the order in which they are sent */
};

/* Lengths of an optimal code; the longest is returned. At least two symbols are counted. */
static int huffman_lengths(const uint32_t *counts, uint8_t *lengths, int size) {
  static uint32_t weight[2 * CODES_MAX];
  static uint16_t parent[2 * CODES_MAX], open[CODES_MAX];
  int open_count = 0, nodes = size, longest = 0;
  for (int i = 0; i < size; i++) {
    weight[i] = counts[i];
    if (counts[i] > 0) open[open_count++] = (uint16_t)i;
  }
  while (open_count > 1) {
    /* The two lightest become one. */
    for (int taken = 0; taken < 2; taken++) {
      int least = 0;
      for (int i = 1; i < open_count; i++) {
        if (weight[open[i]] < weight[open[least]]) least = i;
      }
      weight[nodes] = taken == 0 ? weight[open[least]] : weight[nodes] + weight[open[least]];
      parent[open[least]] = (uint16_t)nodes;
      open[least] = open[--open_count];
    }
    open[open_count++] = (uint16_t)nodes++;
  }
  for (int i = 0; i < size; i++) {
    int length = 0;
    for (int at = i; counts[i] > 0 && at != nodes - 1; at = parent[at]) length++;
    lengths[i] = (uint8_t)length;
    if (length > longest) longest = length;
  }
  return longest;
}

static uint16_t reversed(unsigned word, int length) {
  unsigned result = 0;
  for (int i = 0; i < length; i++, word >>= 1) result = result << 1 | (word & 1);
  return (uint16_t)result;
}

/* Makes the words for what was counted, none longer than `bits_max`. */
static void make_code(struct code *code, int size, int bits_max) {
  int used = 0;
  for (int i = 0; i < size; i++) used += code->counts[i] > 0;
  /* Not every reader takes a code of one word. */
  for (int i = 0; used < 2; i++) {
    if (code->counts[i] > 0) continue;
    code->counts[i] = 1;
    used++;
  }
  while (huffman_lengths(code->counts, code->lengths, size) > bits_max) {
    for (int i = 0; i < size; i++) code->counts[i] = (code->counts[i] + 1) / 2;
  }
  unsigned next = 0;
  for (int length = 1; length <= bits_max; length++, next <<= 1) {
    for (int i = 0; i < size; i++) {
      if (code->lengths[i] == length) code->words[i] = reversed(next++, length);
    }
  }
}

static void put_word(const struct code *code, int symbol) {
  put_bits(code->words[symbol], code->lengths[symbol]);
}

/* --- blocks ------------------------------------------------------------------------------------- */

static struct code literals, distances, length_lengths;

/* A literal, or a length with a distance: distance << 9 | length. */
static uint32_t tokens[HISTORY];
static int token_count;

static int code_of(const struct code_range *ranges, int size, int value) {
  int code = size - 1;
  while (ranges[code].least > value) code--;
  return code;
}

static int length_code(int length) {
  return code_of(gzip_lengths, LENGTH_CODES, length);
}

static int distance_code(int distance) {
  return code_of(gzip_distances, DISTANCE_CODES, distance);
}

static void add_token(int distance, int value) {
  tokens[token_count++] = (uint32_t)distance << 9 | (uint32_t)value;
  if (distance == 0) {
    literals.counts[value]++;
  } else {
    literals.counts[FIRST_LENGTH_CODE + length_code(value)]++;
    distances.counts[distance_code(distance)]++;
  }
}

static void put_token(uint32_t token) {
  int distance = (int)(token >> 9), value = (int)(token & 511);
  if (distance == 0) {
    put_word(&literals, value);
    return;
  }
  int code = length_code(value);
  put_word(&literals, FIRST_LENGTH_CODE + code);
  put_bits((uint32_t)(value - gzip_lengths[code].least), gzip_lengths[code].extra_bits);
  code = distance_code(distance);
  put_word(&distances, code);
  put_bits((uint32_t)(distance - gzip_distances[code].least), gzip_distances[code].extra_bits);
}

/* The lengths of both codes as symbols with run lengths; each is given to `take`. */
static void each_length(void (*take)(int symbol, int extra, int extra_bits)) {
  uint8_t all[LITERAL_CODES + DISTANCE_CODES];
  memcpy(all, literals.lengths, LITERAL_CODES);
  memcpy(all + LITERAL_CODES, distances.lengths, DISTANCE_CODES);
  int size = sizeof all;
  for (int at = 0, run; at < size; at += run) {
    for (run = 1; at + run < size && all[at + run] == all[at]; run++) continue;
    if (all[at] == 0 && run >= 11) {
      if (run > 138) run = 138;
      take(MANY_ZEROS, run - 11, 7);
    } else if (all[at] == 0 && run >= 3) {
      take(ZEROS, run - 3, 3);
    } else if (at > 0 && all[at] == all[at - 1] && run >= 3) {
      if (run > 6) run = 6;
      take(REPEAT, run - 3, 2);
    } else {
      take(all[at], 0, 0);
      run = 1;
    }
  }
}

static void count_length(int symbol, int extra, int extra_bits) {
  (void)extra, (void)extra_bits;
  length_lengths.counts[symbol]++;
}

static void put_length(int symbol, int extra, int extra_bits) {
  put_word(&length_lengths, symbol);
  put_bits((uint32_t)extra, extra_bits);
}

static void put_block(bool last) {
  literals.counts[BLOCK_END] = 1;
  make_code(&literals, LITERAL_CODES, CODE_BITS_MAX);
  make_code(&distances, DISTANCE_CODES, CODE_BITS_MAX);
  memset(length_lengths.counts, 0, sizeof length_lengths.counts);
  each_length(count_length);
  make_code(&length_lengths, LENGTH_LENGTHS, LENGTH_LENGTH_BITS_MAX);
  put_bits(last, 1);
  put_bits(2, 2); /* codes of its own */
  put_bits(LITERAL_CODES - 257, 5);
  put_bits(DISTANCE_CODES - 1, 5);
  put_bits(LENGTH_LENGTHS - 4, 4);
  for (int i = 0; i < LENGTH_LENGTHS; i++) {
    put_bits(length_lengths.lengths[gzip_length_order[i]], 3);
  }
  each_length(put_length);
  for (int i = 0; i < token_count; i++) put_token(tokens[i]);
  put_word(&literals, BLOCK_END);
  token_count = 0;
  memset(literals.counts, 0, sizeof literals.counts);
  memset(distances.counts, 0, sizeof distances.counts);
}

/* --- matches ------------------------------------------------------------------------------------ */

/* What was packed before, then what is packed now. Places are indexes; 0 stands for none. */
static uint8_t data[2 * HISTORY];
static uint16_t newest[1 << HASH_BITS], older[HISTORY];

static unsigned hash_at(int at) {
  unsigned three = data[at] | (unsigned)data[at + 1] << 8 | (unsigned)data[at + 2] << 16;
  return (three * 2654435761U) >> (32 - HASH_BITS);
}

static void remember(int at) {
  uint16_t *slot = &newest[hash_at(at)];
  older[at % HISTORY] = *slot;
  *slot = (uint16_t)at;
}

static int match_length(int at, int earlier, int limit) {
  int length = 0;
  while (length < limit && data[earlier + length] == data[at + length]) length++;
  return length;
}

/* The longest match of what is at a place; 0 when there is none. */
static int find_match(int at, int end, int *distance) {
  int limit = end - at < MATCH_MAX ? end - at : MATCH_MAX, best = MATCH_MIN - 1;
  int earlier = newest[hash_at(at)];
  for (int i = 0; i < TRIES_MAX && earlier > 0 && at - earlier <= HISTORY; i++) {
    int length = match_length(at, earlier, limit);
    if (length > best) {
      best = length;
      *distance = at - earlier;
      if (length >= GOOD_LENGTH) break;
    }
    /* A slot that was taken over by a newer place ends the chain. */
    int next = older[earlier % HISTORY];
    if (next >= earlier) break;
    earlier = next;
  }
  return best < MATCH_MIN ? 0 : best;
}

static void pack_block(int size) {
  int end = HISTORY + size;
  for (int at = HISTORY; at < end;) {
    int distance = 0;
    bool hashable = end - at >= MATCH_MIN;
    int length = hashable ? find_match(at, end, &distance) : 0;
    if (length == 0) add_token(0, data[at]);
    else add_token(distance, length);
    for (int next = at + (length == 0 ? 1 : length); at < next; at++) {
      if (end - at >= MATCH_MIN) remember(at);
    }
  }
}

/* What was packed now becomes what was packed before. */
static void slide(void) {
  memcpy(data, data + HISTORY, HISTORY);
  for (int i = 0; i < 1 << HASH_BITS; i++) {
    newest[i] = newest[i] > HISTORY ? (uint16_t)(newest[i] - HISTORY) : 0;
  }
  for (int i = 0; i < HISTORY; i++) {
    older[i] = older[i] > HISTORY ? (uint16_t)(older[i] - HISTORY) : 0;
  }
}

/* --- file --------------------------------------------------------------------------------------- */

static uint32_t crc_table[256];

static void make_crc_table(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320U ^ value >> 1 : value >> 1;
    crc_table[i] = value;
  }
}

static uint32_t crc_of(uint32_t crc, const uint8_t *bytes, size_t size) {
  for (size_t i = 0; i < size; i++) crc = crc_table[(crc ^ bytes[i]) & 255] ^ crc >> 8;
  return crc;
}

static void put_header(uint64_t origin) {
  static const uint8_t fixed[] = {0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255, 12, 0, 'C', 'o', 8, 0};
  for (size_t i = 0; i < sizeof fixed; i++) put_byte(fixed[i]);
  put_little(origin, 8);
}

/* Fills a block; fewer bytes only at the end. */
static ssize_t read_block(int fd) {
  size_t size = 0;
  while (size < HISTORY) {
    ssize_t got = read(fd, data + HISTORY + size, HISTORY - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return -1;
    if (got == 0) break;
    size += (size_t)got;
  }
  return (ssize_t)size;
}

bool gzip_file(int from, int to, uint64_t origin) {
  uint32_t crc = ~0U;
  uint64_t total = 0;
  out_fd = to;
  make_crc_table();
  put_header(origin);
  for (bool last = false; !last && !out_failed;) {
    ssize_t size = read_block(from);
    if (size < 0) return false;
    last = size < HISTORY;
    crc = crc_of(crc, data + HISTORY, (size_t)size);
    total += (uint64_t)size;
    pack_block((int)size);
    put_block(last);
    slide();
  }
  align();
  put_little(~crc, 4);
  put_little(total, 4);
  flush_out();
  return !out_failed;
}
