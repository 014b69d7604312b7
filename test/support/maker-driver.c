/*
 * Drives native/maker.so.c as a worker does, from plain C, so that it can be run under sanitizers:
 * files of all sizes through a ring that wraps around, failures, and leaving in the middle. Takes a
 * folder; ends with 0 when all files are what they should be.
 */
#include "../../native/maker.so.c"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

int uv_thread_create(uv_object *t, void (*run)(void *), void *context) {
  return pthread_create((pthread_t *)t, NULL, (void *(*)(void *))run, context);
}
int uv_thread_join(uv_object *t) { return pthread_join(*(pthread_t *)t, NULL); }
int uv_mutex_init(uv_object *m) { return pthread_mutex_init((pthread_mutex_t *)m, NULL); }
void uv_mutex_lock(uv_object *m) { pthread_mutex_lock((pthread_mutex_t *)m); }
void uv_mutex_unlock(uv_object *m) { pthread_mutex_unlock((pthread_mutex_t *)m); }
void uv_mutex_destroy(uv_object *m) { pthread_mutex_destroy((pthread_mutex_t *)m); }
int uv_cond_init(uv_object *c) { return pthread_cond_init((pthread_cond_t *)c, NULL); }
void uv_cond_wait(uv_object *c, uv_object *m) {
  pthread_cond_wait((pthread_cond_t *)c, (pthread_mutex_t *)m);
}
void uv_cond_signal(uv_object *c) { pthread_cond_signal((pthread_cond_t *)c); }
void uv_cond_destroy(uv_object *c) { pthread_cond_destroy((pthread_cond_t *)c); }

enum { RING_BYTES = 64 << 10, FILES = 1200 };
static _Alignas(8) uint8_t ring[RING_BYTES];
static progress told;
static uint32_t made;

static uint32_t size_of(int i) { return (uint32_t)(i * 977) % 5000; }

/* Makes room, and puts a job with these names and so much content there. */
static void post(maker *m, job j, const char *name, const char *other) {
  j.name_bytes = (uint32_t)strlen(name) + 1;
  j.other_bytes = (uint32_t)strlen(other) + 1;
  uint32_t bytes = sizeof j + j.name_bytes + j.other_bytes + j.content_bytes;
  j.bytes = (bytes + 7) & ~7u;
  uint32_t left = RING_BYTES - made % RING_BYTES, need = j.bytes > left ? left + j.bytes : j.bytes;
  maker_wait(m, made + need - RING_BYTES);
  if (j.bytes > left) {
    uint32_t skip[2] = {left, SKIP};
    memcpy(ring + made % RING_BYTES, skip, sizeof skip);
    made += left;
  }
  uint8_t *at = ring + made % RING_BYTES;
  memcpy(at, &j, sizeof j);
  memcpy(at += sizeof j, name, j.name_bytes);
  memcpy(at += j.name_bytes, other, j.other_bytes);
  memset(at + j.other_bytes, 'x', j.content_bytes);
  made += j.bytes;
  maker_post(m, need);
}

static maker *begin(void) {
  made = 0;
  told = (progress){0};
  for (int i = 0; i < SLOTS; i++) told.slots[i] = -1;
  maker *m = maker_open(ring, RING_BYTES, &told);
  assert(m != NULL);
  return m;
}

static void *write_out(void *m) {
  for (int i = 0; i < 20; i++) maker_write_out(m, 0, i % 2);
  return NULL;
}

int main(int argc, char **argv) {
  assert(argc == 2);
  int dir = open(argv[1], O_RDONLY | O_DIRECTORY);
  assert(dir >= 0 && mkdirat(dir, "objects", 0755) == 0);
  int objects = openat(dir, "objects", O_RDONLY | O_DIRECTORY);
  maker *m = begin();
  pthread_t other;
  assert(pthread_create(&other, NULL, write_out, m) == 0);
  char name[16];
  for (int i = 0; i < FILES; i++) {
    snprintf(name, sizeof name, "%d", i);
    job j = {.kind = PIECE, .number = (uint32_t)i, .dir = dir, .mode = 0600, .other_dir = objects};
    j.flags = BEGINS | ENDS | HAS_OBJECT | CHMOD;
    j.content_bytes = size_of(i);
    post(m, j, name, name);
  }
  for (int i = 0; i < FILES; i++) {
    snprintf(name, sizeof name, "d%d", i);
    post(m, (job){.kind = DIRECTORY, .dir = dir, .mode = 0700, .other_dir = i % SLOTS}, name, "");
    job j = {.kind = PIECE, .dir = ~(i % SLOTS), .flags = BEGINS | ENDS, .content_bytes = 9};
    post(m, j, "in", "");
    post(m, (job){.kind = LINK, .dir = j.dir, .other_dir = j.dir}, "more", "in");
    post(m, (job){.kind = SYMLINK, .dir = j.dir}, "to", "in");
    post(m, (job){.kind = LET_GO, .dir = j.dir}, "", "");
  }
  post(m, (job){.kind = LET_GO, .dir = objects}, "", "");
  maker_wait(m, made);
  pthread_join(other, NULL);
  assert(told.error == 0 && maker_write_out(m, dir, 0) == 0 && maker_held(m) == 0);
  maker_close(m);
  for (int i = 0; i < FILES; i++) {
    struct stat s;
    snprintf(name, sizeof name, "%d", i);
    assert(fstatat(dir, name, &s, 0) == 0 && s.st_size == size_of(i) && s.st_nlink == 2);
  }
  assert(fcntl(objects, F_GETFD) < 0 && faccessat(dir, "d1199/to", F_OK, 0) == 0);

  m = begin();
  for (uint32_t i = 0; i < 100; i++) {
    snprintf(name, sizeof name, "again%u", i);
    job j = {.kind = PIECE, .number = i, .dir = dir, .flags = BEGINS | ENDS, .content_bytes = 9};
    post(m, j, i == 50 ? "1" : name, "");
  }
  post(m, (job){.kind = DIRECTORY, .dir = dir, .other_dir = 3}, "never", "");
  post(m, (job){.kind = LET_GO, .dir = ~3}, "", "");
  post(m, (job){.kind = LET_GO, .dir = dup(dir)}, "", "");
  maker_wait(m, made);
  assert(told.error == EEXIST && told.number == 50);
  assert(faccessat(dir, "again49", F_OK, 0) == 0 && faccessat(dir, "again51", F_OK, 0) < 0);
  maker_close(m);

  m = begin();
  job j = {.kind = PIECE, .dir = dir, .flags = BEGINS, .content_bytes = 9};
  post(m, j, "begun", "");
  maker_close(m);
  return 0;
}
