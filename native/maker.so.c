/*
 * Makes the files of a layer on a thread of its own, beside the one that decides what they are. A
 * library for a process of Node, as unpacker.so.c is: libuv's threads and libc are that process's.
 *
 *   post → ring of jobs → [thread: open, write, chown, chmod, times, link] → files that are held
 *                                       [any thread: write_out: sync, drop the pages, close] ←┘
 *
 * One caller. Jobs are carried out in order; the first that fails is the last, but for descriptors
 * that belong to jobs: these are closed. A job is a struct below, two names, each with its NUL, and
 * content; it lies in the ring in one piece, at a multiple of 8.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#define _TIME_BITS 64
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uv-threads.h"

#define EXPORT __attribute__((visibility("default")))

/* Read by file-maker.ts too, as everything up to the state. */
typedef enum {
  /* To the ring's end there is nothing. */
  SKIP,
  /* A piece of a regular file. */
  PIECE,
  SYMLINK,
  /* A second name: `other` in the directory `other_dir` is its first. */
  LINK,
  /* The directory's times, and nothing more is to be put into it by its descriptor. */
  LET_GO,
  /* A directory, opened into the slot `other_dir`. */
  DIRECTORY,
} job_kind;

enum { BEGINS = 1, ENDS = 2, CHOWN = 4, CHMOD = 8, HAS_OBJECT = 16 };

typedef struct {
  uint32_t bytes, kind, number;
  int32_t dir;
  uint32_t flags, mode, uid, gid;
  int64_t atime, mtime;
  uint32_t atime_nsec, mtime_nsec;
  int32_t other_dir;
  uint32_t name_bytes, other_bytes, content_bytes;
} job;

/*
 * Descriptors of directories that jobs made. A job's `dir` that is negative, and its `other_dir` where
 * that is none to make, stands for the slot ~dir.
 */
enum { SLOTS = 512 };

/* Written under the mutex. Bytes of jobs that are done (they wrap around); why job `number` failed. */
typedef struct {
  uint32_t done_bytes, error, number;
  int32_t slots[SLOTS];
} progress;

typedef struct {
  uv_object mutex, to_thread, to_caller, thread;

  /* Under the mutex. Counts of bytes wrap around. */
  uint32_t posted, wanted;
  int is_over, thread_waits, caller_waits, failed_to_begin, has_begun;
  progress *progress;
  /* Files that are complete and not dropped yet, and the one that is being written. */
  int *held;
  uint32_t held_count, held_room;
  int file;

  /* The thread's. */
  int64_t at;

  const uint8_t *ring;
  uint32_t ring_bytes;
} maker;

static const char *name_of(const job *j) { return (const char *)(j + 1); }
static const char *other_of(const job *j) { return name_of(j) + j->name_bytes; }

static int *slot(maker *m, int32_t index) { return &m->progress->slots[(uint32_t)index % SLOTS]; }
static int dir_of(maker *m, int32_t dir) { return dir >= 0 ? dir : *slot(m, ~dir); }

static int times(const job *j, int dir, const char *name) {
  struct timespec both[2] = {{.tv_sec = j->atime, .tv_nsec = j->atime_nsec},
                             {.tv_sec = j->mtime, .tv_nsec = j->mtime_nsec}};
  return name == NULL ? futimens(dir, both) : utimensat(dir, name, both, AT_SYMLINK_NOFOLLOW);
}

static void set_file(maker *m, int fd) {
  uv_mutex_lock(&m->mutex);
  m->file = fd;
  uv_mutex_unlock(&m->mutex);
}

/* Keeps the file until its bytes are written; one without any is closed. */
static int hold(maker *m) {
  uv_mutex_lock(&m->mutex);
  int fd = m->file, result = 0;
  m->file = -1;
  if (m->at > 0 && m->held_count == m->held_room) {
    uint32_t room = m->held_room == 0 ? 256 : m->held_room * 2;
    int *more = realloc(m->held, room * sizeof *more);
    if (more == NULL) {
      errno = ENOMEM;
      result = -1;
    } else {
      m->held = more;
      m->held_room = room;
    }
  }
  int is_held = m->at > 0 && result == 0;
  if (is_held) m->held[m->held_count++] = fd;
  uv_mutex_unlock(&m->mutex);
  if (!is_held) close(fd);
  return result;
}

static int write_all(maker *m, const uint8_t *bytes, size_t n) {
  while (n > 0) {
    ssize_t written = pwrite(m->file, bytes, n, m->at);
    if (written < 0) return -1;
    bytes += written;
    n -= (size_t)written;
    m->at += written;
  }
  return 0;
}

static int piece(maker *m, const job *j) {
  if (j->flags & BEGINS) {
    int how = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int fd = openat(dir_of(m, j->dir), name_of(j), how, j->mode & 0777);
    if (fd < 0) return -1;
    m->at = 0;
    set_file(m, fd);
  }
  if (write_all(m, (const uint8_t *)other_of(j) + j->other_bytes, j->content_bytes) < 0) return -1;
  if (!(j->flags & ENDS)) return 0;
  // chown clears setuid bits, so it comes before them.
  if ((j->flags & CHOWN) && fchown(m->file, j->uid, j->gid) < 0) return -1;
  if ((j->flags & CHMOD) && fchmod(m->file, j->mode) < 0) return -1;
  if (times(j, m->file, NULL) < 0) return -1;
  if ((j->flags & HAS_OBJECT) &&
      linkat(dir_of(m, j->dir), name_of(j), j->other_dir, other_of(j), 0) < 0) {
    return -1;
  }
  return hold(m);
}

static int symlink_of(maker *m, const job *j) {
  const char *name = name_of(j);
  int dir = dir_of(m, j->dir);
  if (symlinkat(other_of(j), dir, name) < 0) return -1;
  if ((j->flags & CHOWN) && fchownat(dir, name, j->uid, j->gid, AT_SYMLINK_NOFOLLOW) < 0) return -1;
  return times(j, dir, name);
}

static int link_of(maker *m, const job *j) {
  return linkat(dir_of(m, j->other_dir), other_of(j), dir_of(m, j->dir), name_of(j), 0);
}

static int directory(maker *m, const job *j) {
  const char *name = name_of(j);
  int above = dir_of(m, j->dir);
  if (mkdirat(above, name, j->mode & 0777) < 0) return -1;
  int fd = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  *slot(m, j->other_dir) = fd;
  if (fd < 0) return -1;
  if ((j->flags & CHOWN) && fchown(fd, j->uid, j->gid) < 0) return -1;
  return (j->flags & CHMOD) ? fchmod(fd, j->mode) : 0;
}

static int let_go(maker *m, const job *j, int has_failed) {
  int dir = dir_of(m, j->dir);
  // One that was not made, after a failure.
  if (dir < 0) return 0;
  int result = has_failed ? 0 : times(j, dir, NULL);
  int error = errno;
  if (j->dir < 0) *slot(m, ~j->dir) = -1;
  close(dir);
  errno = error;
  return result;
}

static int carry_out(maker *m, const job *j, int has_failed) {
  int result = 0;
  if (j->kind == LET_GO) result = let_go(m, j, has_failed);
  else if (has_failed) return 0;
  else if (j->kind == PIECE) result = piece(m, j);
  else if (j->kind == DIRECTORY) result = directory(m, j);
  else if (j->kind == SYMLINK) result = symlink_of(m, j);
  else if (j->kind == LINK) result = link_of(m, j);
  return result < 0 ? errno : 0;
}

/* Tells the caller when it has waited for so much. */
static void tell(maker *m) {
  if (!m->caller_waits || (int32_t)(m->progress->done_bytes - m->wanted) < 0) return;
  uv_cond_signal(&m->to_caller);
}

static void wait_for_jobs(maker *m) {
  m->thread_waits = 1;
  uv_cond_wait(&m->to_thread, &m->mutex);
  m->thread_waits = 0;
}

static void run(void *context) {
  maker *m = context;
  // A umask of its own: modes are as the layer has them, whatever the process's is at the time.
  int failed = unshare(CLONE_FS);
  if (!failed) umask(0);
  uv_mutex_lock(&m->mutex);
  m->failed_to_begin = failed;
  m->has_begun = 1;
  uv_cond_signal(&m->to_caller);
  for (;;) {
    while (!failed && m->progress->done_bytes == m->posted && !m->is_over) wait_for_jobs(m);
    if (failed || m->progress->done_bytes == m->posted) break;
    uint32_t done = m->progress->done_bytes, posted = m->posted;
    int has_failed = m->progress->error != 0;
    uv_mutex_unlock(&m->mutex);
    while (done != posted) {
      const job *j = (const job *)(m->ring + done % m->ring_bytes);
      int error = carry_out(m, j, has_failed);
      done += j->bytes;
      if (error == 0 || has_failed) {
        __atomic_store_n(&m->progress->done_bytes, done, __ATOMIC_RELEASE);
        if (!__atomic_load_n(&m->caller_waits, __ATOMIC_RELAXED)) continue;
        uv_mutex_lock(&m->mutex);
        tell(m);
        uv_mutex_unlock(&m->mutex);
        continue;
      }
      has_failed = 1;
      uv_mutex_lock(&m->mutex);
      m->progress->number = j->number;
      __atomic_store_n(&m->progress->error, (uint32_t)error, __ATOMIC_RELEASE);
      // Who sees that the job is done sees that it failed.
      __atomic_store_n(&m->progress->done_bytes, done, __ATOMIC_RELEASE);
      tell(m);
      uv_mutex_unlock(&m->mutex);
    }
    uv_mutex_lock(&m->mutex);
    tell(m);
  }
  uv_mutex_unlock(&m->mutex);
}

static void drop(maker *m) {
  if (m->file >= 0) close(m->file);
  for (uint32_t i = 0; i < m->held_count; i++) close(m->held[i]);
  free(m->held);
  uv_cond_destroy(&m->to_caller);
  uv_cond_destroy(&m->to_thread);
  uv_mutex_destroy(&m->mutex);
  free(m);
}

/* Begins; no slot has a directory. NULL when there is no memory, no thread, or no umask of its own for it. */
EXPORT void *maker_open(const uint8_t *ring, uint32_t ring_bytes, progress *p) {
  maker *m = calloc(1, sizeof *m);
  if (m == NULL) return NULL;
  m->ring = ring;
  m->ring_bytes = ring_bytes;
  m->progress = p;
  m->file = -1;
  if (uv_mutex_init(&m->mutex) != 0 || uv_cond_init(&m->to_thread) != 0 ||
      uv_cond_init(&m->to_caller) != 0) {
    free(m);
    return NULL;
  }
  if (uv_thread_create(&m->thread, run, m) != 0) {
    drop(m);
    return NULL;
  }
  uv_mutex_lock(&m->mutex);
  while (!m->has_begun) uv_cond_wait(&m->to_caller, &m->mutex);
  uv_mutex_unlock(&m->mutex);
  if (!m->failed_to_begin) return m;
  uv_thread_join(&m->thread);
  drop(m);
  return NULL;
}

/* So many bytes of jobs more lie in the ring. */
EXPORT void maker_post(maker *m, uint32_t bytes) {
  uv_mutex_lock(&m->mutex);
  m->posted += bytes;
  if (m->thread_waits) uv_cond_signal(&m->to_thread);
  uv_mutex_unlock(&m->mutex);
}

/* Waits until so many bytes, counted from the beginning, are done. */
EXPORT void maker_wait(maker *m, uint32_t done) {
  uv_mutex_lock(&m->mutex);
  m->wanted = done;
  __atomic_store_n(&m->caller_waits, 1, __ATOMIC_RELAXED);
  // A job that ends just now may not see that somebody waits; the end of what was posted always does.
  while ((int32_t)(__atomic_load_n(&m->progress->done_bytes, __ATOMIC_ACQUIRE) - done) < 0) {
    uv_cond_wait(&m->to_caller, &m->mutex);
  }
  __atomic_store_n(&m->caller_waits, 0, __ATOMIC_RELAXED);
  uv_mutex_unlock(&m->mutex);
}

/* Files that are held. */
EXPORT uint32_t maker_held(maker *m) {
  uv_mutex_lock(&m->mutex);
  uint32_t count = m->held_count;
  uv_mutex_unlock(&m->mutex);
  return count;
}

/*
 * Writes out the files that are held by now, all of the filesystem at once or one by one, drops
 * their pages and closes them. For any thread; one call at a time. Gives an errno.
 */
EXPORT int maker_write_out(maker *m, int filesystem, int is_whole) {
  uv_mutex_lock(&m->mutex);
  int *held = m->held, file = m->file;
  uint32_t count = m->held_count;
  m->held = NULL;
  m->held_count = m->held_room = 0;
  uv_mutex_unlock(&m->mutex);
  int error = 0;
  if (is_whole && syncfs(filesystem) < 0) error = errno;
  int all = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  for (uint32_t i = 0; i < count; i++) {
    if (!is_whole && sync_file_range(held[i], 0, 0, all) < 0 && error == 0) error = errno;
    posix_fadvise(held[i], 0, 0, POSIX_FADV_DONTNEED);
    close(held[i]);
  }
  // Still open, or held since: only this function closes what is held.
  if (file >= 0 && is_whole) posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
  free(held);
  return error;
}

/* Ends the thread when what was posted is done, without what is yet to be made; frees everything. */
EXPORT void maker_close(maker *m) {
  uv_mutex_lock(&m->mutex);
  if (m->progress->error == 0) m->progress->error = ECANCELED;
  m->is_over = 1;
  if (m->thread_waits) uv_cond_signal(&m->to_thread);
  uv_mutex_unlock(&m->mutex);
  uv_thread_join(&m->thread);
  drop(m);
}
