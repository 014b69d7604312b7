/*
 * Gunzips a layer, and hashes it before and after, on a thread of its own beside the one that makes
 * its files. A library for a process of Node: libuv's threads, zlib and OpenSSL's SHA-256 are that
 * process's own, so it needs no libc either.
 *
 *   give → ring of compressed bytes → [thread: sha256, inflate, sha256] → slots → take
 *
 * One caller, one thread. Between two blocks of deflate the thread can note a point to go on from
 * later, in another process, as zlib's example zran.c does.
 */
#include <stddef.h>
#include <stdint.h>

#include "uv-threads.h"

#define EXPORT __attribute__((visibility("default")))

/* zlib.h. */
typedef struct {
  const uint8_t *next_in;
  unsigned avail_in;
  unsigned long total_in;
  uint8_t *next_out;
  unsigned avail_out;
  unsigned long total_out;
  const char *msg;
  void *state;
  void *zalloc, *zfree, *opaque;
  int data_type;
  unsigned long adler, reserved;
} z_stream;
enum { Z_NO_FLUSH = 0, Z_BLOCK = 5 };
enum { Z_OK = 0, Z_STREAM_END = 1, Z_DATA_ERROR = -3, Z_BUF_ERROR = -5 };
enum { GZIP_BITS = 15 + 16, RAW_BITS = -15 };
enum { AT_BLOCK = 128, IN_LAST_BLOCK = 64, UNUSED_BITS = 7 };
int inflateInit2_(z_stream *, int bits, const char *version, int bytes);
int inflateReset2(z_stream *, int bits);
int inflateValidate(z_stream *, int check);
int inflatePrime(z_stream *, int bits, int value);
int inflateSetDictionary(z_stream *, const uint8_t *, unsigned);
int inflateGetDictionary(z_stream *, uint8_t *, unsigned *);
int inflate(z_stream *, int flush);
int inflateEnd(z_stream *);

/* openssl/sha.h: SHA256_CTX. */
enum { SHA256_STATE_BYTES = 112 };
typedef struct {
  uint32_t words[SHA256_STATE_BYTES / 4];
} sha256_state;
int SHA256_Update(sha256_state *, const void *, size_t);

void *calloc(size_t, size_t);
void free(void *);
void *memcpy(void *, const void *, size_t);

enum {
  RING_BYTES = 256 << 10,
  /* What is taken from the ring at once: small enough to be hashed out of the processor's cache. */
  SPAN_BYTES = 32 << 10,
  SLOT_BYTES = 128 << 10,
  SLOTS = 4,
  WINDOW_BYTES = 32 << 10,
  /* CRC-32 and length behind each member of a gzip file (RFC 1952). */
  TRAILER_BYTES = 8,
};

/* What `unpacker_take` answers besides a number of bytes. */
enum { NOTHING_YET = 0, FAILED = -1, DONE = -2 };

/* Why it failed; the first is zlib's to explain. */
enum { FINE = 0, BY_ZLIB = 1, CUT_OFF = 2, TRAILING = 3 };

typedef enum { MEMBER, BETWEEN, PADDING } place;

/* A point between two blocks; read by unpack-thread.ts. */
typedef struct {
  uint64_t input_bytes, output_bytes;
  uint32_t bits, last_byte, window_bytes;
  sha256_state blob;
  uint8_t window[WINDOW_BYTES];
} point;

/* Where to begin, written by unpack-thread.ts. */
typedef struct {
  /* Bytes of the input to come that are in the blob's state already, and that are unpacked. */
  uint64_t hashed_bytes, known_bytes;
  /* Address of SLOTS × SLOT_BYTES for what comes out. */
  uint64_t slots;
  /* Not 0: goes on from `from`, in the middle of a member. */
  uint32_t is_raw;
  /* Not 0: gzip's own check sums are compared. */
  uint32_t is_checked;
  sha256_state plain;
  point from;
} start;

typedef struct {
  uv_object mutex, to_thread, to_caller, thread;

  /* Under the mutex. Counts of bytes and of slots never go back. */
  uint64_t given, taken_in;
  uint64_t made, taken_out;
  uint32_t slot_bytes[SLOTS];
  int is_ended, is_stopped, is_over, thread_waits, caller_waits;
  int failure;
  int wants_point, has_point;
  /* Only hashes from now on. */
  int only_hashes;

  /* The thread's. */
  z_stream stream;
  place place;
  int is_raw, is_checked;
  uint64_t hashed_bytes, known_bytes, skip_bytes;
  uint64_t input_bytes, output_bytes;
  uint8_t last_byte;
  uint8_t *slot;
  uint32_t filled;
  sha256_state blob, plain;
  point point;

  uint8_t *slots;
  uint8_t ring[RING_BYTES];
} unpacker;

static void wait_for_caller(unpacker *u) {
  u->thread_waits = 1;
  uv_cond_wait(&u->to_thread, &u->mutex);
  u->thread_waits = 0;
}

static void wait_for_thread(unpacker *u) {
  u->caller_waits = 1;
  uv_cond_wait(&u->to_caller, &u->mutex);
  u->caller_waits = 0;
}

static void tell_caller(unpacker *u) {
  if (u->caller_waits) uv_cond_signal(&u->to_caller);
}

static void tell_thread(unpacker *u) {
  if (u->thread_waits) uv_cond_signal(&u->to_thread);
}

/* Hands the slot that is being filled to the caller. */
static void publish(unpacker *u) {
  if (u->filled == 0) return;
  uv_mutex_lock(&u->mutex);
  u->slot_bytes[u->made % SLOTS] = u->filled;
  u->made += 1;
  tell_caller(u);
  uv_mutex_unlock(&u->mutex);
  u->slot = NULL;
  u->filled = 0;
}

/* Room for output; 0 when none is wanted any more. */
static int has_room(unpacker *u) {
  if (u->filled == SLOT_BYTES) publish(u);
  uv_mutex_lock(&u->mutex);
  while (u->slot == NULL && u->made - u->taken_out == SLOTS && !u->is_stopped && !u->only_hashes) {
    wait_for_caller(u);
  }
  int wanted = !u->is_stopped && !u->only_hashes;
  uv_mutex_unlock(&u->mutex);
  if (wanted && u->slot == NULL) u->slot = u->slots + u->made % SLOTS * SLOT_BYTES;
  return wanted;
}

static void fail(unpacker *u, int why) {
  publish(u);
  uv_mutex_lock(&u->mutex);
  u->failure = why;
  u->only_hashes = 1;
  tell_caller(u);
  uv_mutex_unlock(&u->mutex);
}

static int begin_member(unpacker *u) {
  u->place = MEMBER;
  u->is_raw = 0;
  int result = inflateReset2(&u->stream, GZIP_BITS);
  if (result == Z_OK && !u->is_checked) result = inflateValidate(&u->stream, 0);
  return result;
}

/* The state of the blob's digest at `to`, a place in the span that begins at `*hashed`. */
static void hash(unpacker *u, const uint8_t **hashed, const uint8_t *to) {
  size_t bytes = (size_t)(to - *hashed);
  size_t known = bytes < u->hashed_bytes ? bytes : (size_t)u->hashed_bytes;
  u->hashed_bytes -= known;
  if (bytes > known) SHA256_Update(&u->blob, *hashed + known, bytes - known);
  *hashed = to;
}

static void note_point(unpacker *u, const uint8_t **hashed, const uint8_t *at) {
  point *p = &u->point;
  unsigned window = 0;
  hash(u, hashed, at);
  // Bytes that come once more were hashed beyond this place: no state belongs to it.
  if (u->hashed_bytes > 0 || inflateGetDictionary(&u->stream, p->window, &window) != Z_OK) return;
  p->window_bytes = window;
  p->input_bytes = u->input_bytes;
  p->output_bytes = u->output_bytes;
  p->bits = u->stream.data_type & UNUSED_BITS;
  p->last_byte = u->last_byte;
  p->blob = u->blob;
  uv_mutex_lock(&u->mutex);
  u->wants_point = 0;
  u->has_point = 1;
  uv_mutex_unlock(&u->mutex);
}

/* Inflates until the member or the bytes end; gives what was taken. */
static size_t inflate_member(unpacker *u, const uint8_t **hashed, const uint8_t *bytes, size_t n) {
  z_stream *z = &u->stream;
  z->next_in = bytes;
  z->avail_in = (unsigned)n;
  for (;;) {
    if (!has_room(u)) return n;
    unsigned before = z->avail_in, room = SLOT_BYTES - u->filled;
    uint8_t *out = u->slot + u->filled;
    z->next_out = out;
    z->avail_out = room;
    int wants = __atomic_load_n(&u->wants_point, __ATOMIC_RELAXED);
    int result = inflate(z, wants ? Z_BLOCK : Z_NO_FLUSH);
    unsigned made = room - z->avail_out;
    if (z->avail_in != before) u->last_byte = z->next_in[-1];
    u->input_bytes += before - z->avail_in;
    u->output_bytes += made;
    u->filled += made;
    if (made > 0) SHA256_Update(&u->plain, out, made);
    if (result == Z_STREAM_END) {
      u->place = BETWEEN;
      if (u->is_raw) u->skip_bytes = TRAILER_BYTES;
      return n - z->avail_in;
    }
    if (result == Z_BUF_ERROR) return n - z->avail_in;
    if (result != Z_OK) {
      fail(u, BY_ZLIB);
      return n;
    }
    // A block's end, not of the last one, and not the end of the header.
    if (wants && (z->data_type & AT_BLOCK) && !(z->data_type & IN_LAST_BLOCK) &&
        u->output_bytes > 0) {
      note_point(u, hashed, z->next_in);
    }
    if (z->avail_in == 0 && made < room) return n;
  }
}

static size_t skipped(uint64_t *count, size_t n) {
  size_t skip = n < *count ? n : (size_t)*count;
  *count -= skip;
  return skip;
}

static void unpack(unpacker *u, const uint8_t **hashed, const uint8_t *bytes, size_t n) {
  size_t at = skipped(&u->known_bytes, n);
  while (at < n && !__atomic_load_n(&u->only_hashes, __ATOMIC_RELAXED)) {
    size_t skip = skipped(&u->skip_bytes, n - at);
    u->input_bytes += skip;
    at += skip;
    if (at == n) return;
    if (u->place == BETWEEN) {
      if (bytes[at] != 0x1f) u->place = PADDING;
      else if (begin_member(u) != Z_OK) fail(u, BY_ZLIB);
    }
    if (u->place == PADDING) {
      while (at < n && bytes[at] == 0) at += 1;
      if (at < n) fail(u, TRAILING);
      return;
    }
    if (u->place == MEMBER) at += inflate_member(u, hashed, bytes + at, n - at);
  }
}

static void run(void *context) {
  unpacker *u = context;
  for (;;) {
    uv_mutex_lock(&u->mutex);
    while (u->given == u->taken_in && !u->is_ended && !u->is_stopped) {
      wait_for_caller(u);
    }
    size_t at = u->taken_in % RING_BYTES, n = (size_t)(u->given - u->taken_in);
    int is_over = u->is_stopped || n == 0;
    uv_mutex_unlock(&u->mutex);
    if (is_over) break;
    if (n > RING_BYTES - at) n = RING_BYTES - at;
    if (n > SPAN_BYTES) n = SPAN_BYTES;
    const uint8_t *bytes = u->ring + at, *hashed = bytes;
    unpack(u, &hashed, bytes, n);
    hash(u, &hashed, bytes + n);
    uv_mutex_lock(&u->mutex);
    u->taken_in += n;
    int is_last = u->given == u->taken_in;
    tell_caller(u);
    uv_mutex_unlock(&u->mutex);
    if (is_last) publish(u);
  }
  if (u->failure == FINE && (u->place == MEMBER || u->skip_bytes > 0)) fail(u, CUT_OFF);
  uv_mutex_lock(&u->mutex);
  u->is_over = 1;
  tell_caller(u);
  uv_mutex_unlock(&u->mutex);
}

static int begin(unpacker *u, const start *s) {
  const point *from = &s->from;
  u->slots = (uint8_t *)(uintptr_t)s->slots;
  u->hashed_bytes = s->hashed_bytes;
  u->known_bytes = s->known_bytes;
  u->is_raw = s->is_raw != 0;
  u->is_checked = s->is_checked != 0;
  u->plain = s->plain;
  u->blob = from->blob;
  u->input_bytes = from->input_bytes;
  u->output_bytes = from->output_bytes;
  u->last_byte = (uint8_t)from->last_byte;
  if (from->bits > UNUSED_BITS || from->window_bytes > WINDOW_BYTES) return Z_DATA_ERROR;
  int result = inflateInit2_(&u->stream, u->is_raw ? RAW_BITS : GZIP_BITS, "1", sizeof u->stream);
  if (result == Z_OK && !u->is_raw && !u->is_checked) result = inflateValidate(&u->stream, 0);
  if (result == Z_OK && from->bits > 0) {
    result = inflatePrime(&u->stream, (int)from->bits, u->last_byte >> (8 - from->bits));
  }
  if (result == Z_OK && from->window_bytes > 0) {
    result = inflateSetDictionary(&u->stream, from->window, from->window_bytes);
  }
  return result;
}

/* Begins. NULL when there is no memory, or no thread. */
EXPORT void *unpacker_open(const start *s) {
  unpacker *u = calloc(1, sizeof *u);
  if (u == NULL) return NULL;
  if (begin(u, s) == Z_OK && uv_mutex_init(&u->mutex) == 0 && uv_cond_init(&u->to_thread) == 0 &&
      uv_cond_init(&u->to_caller) == 0 && uv_thread_create(&u->thread, run, u) == 0) {
    return u;
  }
  inflateEnd(&u->stream);
  free(u);
  return NULL;
}

/* Takes as many of the bytes as there is room for; gives their number. */
EXPORT uint32_t unpacker_give(unpacker *u, const uint8_t *bytes, uint32_t n) {
  uv_mutex_lock(&u->mutex);
  size_t room = RING_BYTES - (size_t)(u->given - u->taken_in);
  size_t at = u->given % RING_BYTES;
  uv_mutex_unlock(&u->mutex);
  if (n > room) n = (uint32_t)room;
  size_t first = n < RING_BYTES - at ? n : RING_BYTES - at;
  memcpy(u->ring + at, bytes, first);
  memcpy(u->ring, bytes + first, n - first);
  uv_mutex_lock(&u->mutex);
  u->given += n;
  tell_thread(u);
  uv_mutex_unlock(&u->mutex);
  return n;
}

/* No more bytes come. */
EXPORT void unpacker_end(unpacker *u) {
  uv_mutex_lock(&u->mutex);
  u->is_ended = 1;
  tell_thread(u);
  uv_mutex_unlock(&u->mutex);
}

/* Nothing more is to be taken out: these bytes, and what was given before, are only hashed. */
EXPORT void unpacker_only_hash(unpacker *u, const uint8_t *bytes, uint32_t n) {
  uv_mutex_lock(&u->mutex);
  u->only_hashes = 1;
  tell_thread(u);
  uv_mutex_unlock(&u->mutex);
  for (uint32_t at = 0; at < n; at += unpacker_give(u, bytes + at, n - at)) {
    uv_mutex_lock(&u->mutex);
    while (u->given - u->taken_in == RING_BYTES) wait_for_thread(u);
    uv_mutex_unlock(&u->mutex);
  }
}

/*
 * Bytes of the next slot, which stays the caller's until it is released. With `room`, waits until
 * there is one, or room for that many bytes of input; without, only when input has ended.
 */
EXPORT int32_t unpacker_take(unpacker *u, uint32_t room) {
  uv_mutex_lock(&u->mutex);
  while (u->made == u->taken_out && !u->is_over && u->failure == FINE &&
         (u->is_ended || RING_BYTES - (u->given - u->taken_in) < room)) {
    wait_for_thread(u);
  }
  int32_t answer = NOTHING_YET;
  if (u->made != u->taken_out) answer = (int32_t)u->slot_bytes[u->taken_out % SLOTS];
  else if (u->failure != FINE) answer = FAILED;
  else if (u->is_over) answer = DONE;
  uv_mutex_unlock(&u->mutex);
  return answer;
}

EXPORT void unpacker_release(unpacker *u) {
  uv_mutex_lock(&u->mutex);
  u->taken_out += 1;
  tell_thread(u);
  uv_mutex_unlock(&u->mutex);
}

/* Ends the input, waits until all of it is hashed, and gives both digests' states. */
EXPORT void unpacker_settle(unpacker *u, sha256_state *blob, sha256_state *plain) {
  unpacker_end(u);
  uv_mutex_lock(&u->mutex);
  while (!u->is_over) wait_for_thread(u);
  uv_mutex_unlock(&u->mutex);
  *blob = u->blob;
  *plain = u->plain;
}

/* Asks for a point. */
EXPORT void unpacker_want_point(unpacker *u) {
  __atomic_store_n(&u->wants_point, 1, __ATOMIC_RELAXED);
}

/* Copies the point that was asked for; 0 when there is none yet. */
EXPORT int unpacker_point(unpacker *u, point *to) {
  uv_mutex_lock(&u->mutex);
  int has = u->has_point;
  u->has_point = 0;
  uv_mutex_unlock(&u->mutex);
  if (has) *to = u->point;
  return has;
}

/* Why unpacker_take said that it failed, and zlib's words for it; NULL when it has none. */
EXPORT int unpacker_failure(unpacker *u) { return u->failure; }
EXPORT const char *unpacker_message(unpacker *u) { return u->stream.msg; }

/* Ends the thread, and frees everything. */
EXPORT void unpacker_close(unpacker *u) {
  uv_mutex_lock(&u->mutex);
  u->is_stopped = 1;
  tell_thread(u);
  uv_mutex_unlock(&u->mutex);
  uv_thread_join(&u->thread);
  uv_cond_destroy(&u->to_caller);
  uv_cond_destroy(&u->to_thread);
  uv_mutex_destroy(&u->mutex);
  inflateEnd(&u->stream);
  free(u);
}
