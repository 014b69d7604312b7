#include "chain.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gzip.h"

/* A writer cannot rotate so often between two looks of ours; if it does, we see it again later. */
enum { TRIES_MAX = 100 };

static const char *path;
static int files_max;

void chain_open(const char *given_path, int given_files_max) {
  path = given_path;
  files_max = given_files_max;
}

/* statx(2), which musl does not wrap: of its answer, who asked is given the mask and these. */
struct statx_answer {
  uint32_t mask;
  uint8_t until_inode[28];
  uint64_t inode;
  uint8_t until_birth[40];
  int64_t birth_seconds;
  uint32_t birth_nanoseconds;
  uint8_t rest[164];
};
_Static_assert(sizeof(struct statx_answer) == 256, "as the kernel has it");

uint64_t chain_origin(int fd) {
  enum { EMPTY_PATH = 0x1000, INODE = 0x100, BIRTH = 0x800 };
  struct statx_answer answer = {0};
  if (syscall(SYS_statx, fd, "", EMPTY_PATH, INODE | BIRTH, &answer) < 0) return 0;
  if ((answer.mask & BIRTH) == 0) return answer.inode;
  uint64_t birth_ns = (uint64_t)answer.birth_seconds * SECOND_NS + answer.birth_nanoseconds;
  return answer.inode ^ birth_ns * 0x9e3779b97f4a7c15U;
}

static const char *name_of(int number, bool packed) {
  static char name[PATH_MAX];
  struct text text = {name, 0, sizeof name - 1, false};
  put(&text, path);
  if (number > 0) {
    put(&text, ".");
    put_number(&text, number);
  }
  if (packed) put(&text, ".gz");
  name[text.size] = '\0';
  return name;
}

static bool open_file(int number, bool packed, struct log_file *file) {
  struct stat info;
  file->fd = open(name_of(number, packed), O_RDONLY | O_CLOEXEC);
  if (file->fd < 0) return false;
  if (fstat(file->fd, &info) < 0) {
    close(file->fd);
    return false;
  }
  file->inode = info.st_ino;
  file->origin = packed ? gunzip_origin(file->fd) : chain_origin(file->fd);
  file->packed = packed;
  file->at = 0;
  return true;
}

static bool open_number(int number, struct log_file *file) {
  return open_file(number, false, file) || (number > 0 && open_file(number, true, file));
}

ssize_t chain_read(const struct log_file *file, void *bytes, size_t size, off_t at) {
  return file->packed ? gunzip_pread(file->fd, bytes, size, at) : pread(file->fd, bytes, size, at);
}

void chain_close(struct log_file *file) {
  if (file->packed) gunzip_forget();
  close(file->fd);
  file->fd = -1;
}

bool chain_same(const struct log_file *one, const struct log_file *other) {
  if (one->packed == other->packed) return one->inode == other->inode;
  return one->origin != 0 && one->origin == other->origin;
}

bool chain_oldest(struct log_file *file) {
  for (int number = files_max - 1; number >= 0; number--) {
    if (open_number(number, file)) return true;
  }
  return false;
}

bool chain_newest(struct log_file *file) {
  for (int number = 0; number < files_max; number++) {
    if (open_number(number, file)) return true;
  }
  return false;
}

static bool is_at(const struct log_file *file, int number, bool packed) {
  struct log_file found;
  if (!open_file(number, packed, &found)) return false;
  bool same = chain_same(file, &found);
  close(found.fd);
  return same;
}

static bool has_number(const struct log_file *file, int number) {
  return is_at(file, number, false) || (number > 0 && is_at(file, number, true));
}

static int number_of(const struct log_file *file) {
  for (int number = 0; number < files_max; number++) {
    if (has_number(file, number)) return number;
  }
  return -1;
}

/* The nearest file in one direction. It is the right one if ours had the same number before and
   after; in the middle of a rotation a number may be missing. */
static bool neighbour(const struct log_file *file, int step, struct log_file *found) {
  for (int tries = 0; tries < TRIES_MAX; tries++) {
    int number = number_of(file);
    if (number < 0) return step < 0 && chain_oldest(found);
    bool opened = false;
    for (int each = number + step; !opened && each >= 0 && each < files_max; each += step) {
      opened = open_number(each, found);
    }
    if (has_number(file, number)) return opened;
    if (opened) close(found->fd);
  }
  return false;
}

bool chain_next(const struct log_file *file, struct log_file *next) {
  return neighbour(file, -1, next);
}

bool chain_previous(const struct log_file *file, struct log_file *previous) {
  return neighbour(file, 1, previous);
}

bool chain_tail(int64_t count, int64_t (*back)(struct log_file *file, int64_t wanted),
                struct log_file *start) {
  if (!chain_newest(start)) return false;
  for (;;) {
    count -= back(start, count);
    struct log_file previous;
    if (count <= 0 || !chain_previous(start, &previous)) return true;
    chain_close(start);
    *start = previous;
  }
}
