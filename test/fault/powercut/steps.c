/*
 * Cuts the power of a disk at a chosen step of whoever has this library preloaded: just before the
 * call that makes something durable, gives it its name, or takes it away.
 *
 *   POWERCUT_STEPS   a file of `struct steps`, shared by the daemon and its workers
 *   POWERCUT_DISK    where the filesystem that is cut is mounted
 *   POWERCUT_DATA    the folder in which steps count
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN, and their flag for no log flush. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
enum { NO_LOG_FLUSH = 2 };

/* steps.ts knows it. */
struct steps {
  _Atomic uint64_t count;
  uint64_t cut_at; /* 0 is never */
  _Atomic uint64_t is_cut;
  char call[256]; /* the one that the power went before */
};

static struct steps *steps;

/* Scripts and runtimes inherit the library, but their steps are not what is to be durable. */
static bool is_engine(void) {
  const char *name = program_invocation_short_name;
  return strcmp(name, "node") == 0 || strncmp(name, "coracle", 7) == 0;
}

__attribute__((constructor)) static void open_steps(void) {
  const char *file = is_engine() ? getenv("POWERCUT_STEPS") : NULL;
  int fd = file == NULL ? -1 : open(file, O_RDWR | O_CLOEXEC);
  if (fd < 0) return;
  void *at = mmap(NULL, sizeof *steps, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (at != MAP_FAILED) steps = at;
  close(fd);
}

static void step(const char *call, const char *path) {
  if (steps == NULL || strncmp(path, getenv("POWERCUT_DATA"), strlen(getenv("POWERCUT_DATA"))) != 0)
    return;
  if (atomic_fetch_add(&steps->count, 1) + 1 != steps->cut_at) return;
  uint32_t flags = NO_LOG_FLUSH;
  int disk = open(getenv("POWERCUT_DISK"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (disk < 0 || ioctl(disk, SHUTDOWN, &flags) < 0) abort();
  close(disk);
  snprintf(steps->call, sizeof steps->call, "%s %s", call, path);
  atomic_store(&steps->is_cut, 1);
}

static void step_at(const char *call, int fd) {
  char link[64], path[200] = "";
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  if (readlink(link, path, sizeof path - 1) < 0) path[0] = '\0';
  step(call, path);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd) {
  step_at("fsync", fd);
  return NEXT(fsync)(fd);
}

int fdatasync(int fd) {
  step_at("fdatasync", fd);
  return NEXT(fdatasync)(fd);
}

int syncfs(int fd) {
  step_at("syncfs", fd);
  return NEXT(syncfs)(fd);
}

int rename(const char *from, const char *to) {
  step("rename to", to);
  return NEXT(rename)(from, to);
}

int renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags) {
  step("renameat2 to", to);
  return NEXT(renameat2)(from_fd, from, to_fd, to, flags);
}

int mkdir(const char *path, mode_t mode) {
  step("mkdir", path);
  return NEXT(mkdir)(path, mode);
}

int unlink(const char *path) {
  step("unlink", path);
  return NEXT(unlink)(path);
}

int rmdir(const char *path) {
  step("rmdir", path);
  return NEXT(rmdir)(path);
}
