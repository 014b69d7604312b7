/*
 * The files of one log, oldest to newest: PATH.N … PATH.1, PATH. They are renamed by the writer
 * while a reader goes along, so a reader knows where it is by inode number, never by name. A rotated
 * file may be packed, PATH.N.gz; while it is being made there are both, and they say the same.
 */
#ifndef CORACLE_SHIM_CHAIN_H
#define CORACLE_SHIM_CHAIN_H

#include "base.h"

#include <sys/types.h>

struct log_file {
  int fd;
  ino_t inode;
  uint64_t origin; /* of the file as it was written, see chain_origin */
  bool packed;
  off_t at; /* where to read next, in what was written */
};

void chain_open(const char *path, int files_max);

/* All of these give false when there is no such file. */
bool chain_oldest(struct log_file *file);
bool chain_newest(struct log_file *file);
/* The file after or before `file`, which stays open. When `file` was removed meanwhile: the oldest,
   or none. */
bool chain_next(const struct log_file *file, struct log_file *next);
bool chain_previous(const struct log_file *file, struct log_file *previous);

/* pread in what was written. */
ssize_t chain_read(const struct log_file *file, void *bytes, size_t size, off_t at);
void chain_close(struct log_file *file);
/* Whether both are the same file of the log, packed or not. Both are open. */
bool chain_same(const struct log_file *one, const struct log_file *other);

/*
 * What stands for a file of a log beyond the end of it: its inode number, which another file may get
 * then, and when it was made, where the filesystem knows that.
 */
uint64_t chain_origin(int fd);

/*
 * Finds where the last `count` messages begin. Opens the file they begin in, with `at` set. `back`
 * steps over messages of one file: it is given how many are wanted, sets `at` to where they begin
 * and returns how many there are.
 */
bool chain_tail(int64_t count, int64_t (*back)(struct log_file *file, int64_t wanted),
                struct log_file *start);

#endif
