/*
 * Removes what is in a folder, for as long as one slice of time. A library for a daemon whose
 * JavaScript is interpreted, where each name costs as much again as the kernel takes for it. It uses
 * the libc of its process.
 *
 * Each call begins at the top, as what was removed is gone, so nothing is kept between two. No
 * symlink is followed. What lies deeper than DEPTH_MAX is moved up to the top first, so that neither
 * the stack nor descriptors grow with depth.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

enum { DEPTH_MAX = 32, LIST_BYTES = 2048, NAME_BYTES = 40 };
/* Names between two looks at the clock. */
enum { STEPS_A_LOOK = 16 };
/* Else the negative of an errno. */
enum { DONE = 0, MORE = 1 };

/* getdents(2): struct linux_dirent64. */
struct entry {
  uint64_t inode;
  int64_t offset;
  uint16_t bytes;
  uint8_t type;
  char name[];
};

struct removal {
  int top;
  int has_moved;
  unsigned steps;
  uint64_t next_moved;
  uint64_t ends_ns;
};

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int is_dots(const char *name) {
  return name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0));
}

/* `.removed-` and a number in hexadecimal. */
static void moved_name(uint64_t number, char name[NAME_BYTES]) {
  static const char begin[] = ".removed-";
  char *at = name;
  for (const char *each = begin; *each != 0; each++) *at++ = *each;
  for (int shift = 60; shift >= 0; shift -= 4) *at++ = "0123456789abcdef"[number >> shift & 15];
  *at = 0;
}

static int move_to_top(struct removal *removal, int folder, const char *name) {
  char at_top[NAME_BYTES];
  do {
    moved_name(removal->next_moved++, at_top);
    if (syscall(SYS_renameat2, folder, name, removal->top, at_top, RENAME_NOREPLACE) == 0) {
      removal->has_moved = 1;
      return DONE;
    }
  } while (errno == EEXIST);
  return -errno;
}

static int empty(struct removal *removal, int folder, int depth);

static int remove_folder(struct removal *removal, int above, const char *name, int depth) {
  if (depth == DEPTH_MAX) return move_to_top(removal, above, name);
  int folder = openat(above, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (folder < 0) return -errno;
  int code = empty(removal, folder, depth + 1);
  close(folder);
  if (code != DONE) return code;
  return unlinkat(above, name, AT_REMOVEDIR) == 0 ? DONE : -errno;
}

static int remove_entry(struct removal *removal, int folder, const struct entry *entry, int depth) {
  if (entry->type != DT_DIR) {
    if (unlinkat(folder, entry->name, 0) == 0) return DONE;
    /* Some filesystems do not say what is a folder. */
    if (entry->type != DT_UNKNOWN || errno != EISDIR) return -errno;
  }
  return remove_folder(removal, folder, entry->name, depth);
}

static int empty(struct removal *removal, int folder, int depth) {
  _Alignas(struct entry) char list[LIST_BYTES];
  for (;;) {
    long length = syscall(SYS_getdents64, folder, list, sizeof list);
    if (length <= 0) return length == 0 ? DONE : -errno;
    for (long at = 0; at < length;) {
      const struct entry *entry = (const void *)(list + at);
      at += entry->bytes;
      if (is_dots(entry->name)) continue;
      int code = remove_entry(removal, folder, entry, depth);
      if (code != DONE) return code;
      removal->steps++;
      if (removal->steps % STEPS_A_LOOK == 0 && now_ns() >= removal->ends_ns) return MORE;
    }
  }
}

/* Empties the folder that `top` is open of: 0 when it is empty, 1 when the time is over before, or
 * the negative of an errno. */
EXPORT int remover_empty(int top, uint32_t slice_us) {
  uint64_t began = now_ns();
  /* Numbers that an earlier slice has not used. */
  struct removal removal = {.top = top, .next_moved = began, .ends_ns = began + slice_us * 1000ull};
  int code;
  do {
    removal.has_moved = 0;
    if (lseek(top, 0, SEEK_SET) < 0) return -errno;
    code = empty(&removal, top, 0);
  } while (code == DONE && removal.has_moved);
  return code;
}
