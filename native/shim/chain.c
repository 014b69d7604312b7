#include "chain.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

/* A writer cannot rotate so often between two looks of ours; if it does, we see it again later. */
enum { TRIES_MAX = 100 };

static const char *path;
static int files_max;

void chain_open(const char *given_path, int given_files_max) {
  path = given_path;
  files_max = given_files_max;
}

static const char *name_of(int number) {
  static char name[PATH_MAX];
  struct text text = {name, 0, sizeof name - 1, false};
  put(&text, path);
  if (number > 0) {
    put(&text, ".");
    put_number(&text, number);
  }
  name[text.size] = '\0';
  return name;
}

static bool open_number(int number, struct log_file *file) {
  struct stat info;
  file->fd = open(name_of(number), O_RDONLY | O_CLOEXEC);
  if (file->fd < 0) return false;
  if (fstat(file->fd, &info) < 0) {
    close(file->fd);
    return false;
  }
  file->inode = info.st_ino;
  file->at = 0;
  return true;
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

static bool has_number(const struct log_file *file, int number) {
  struct stat info;
  return stat(name_of(number), &info) == 0 && info.st_ino == file->inode;
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
    close(start->fd);
    *start = previous;
  }
}
