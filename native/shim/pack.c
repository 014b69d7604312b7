#include "pack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chain.h"
#include "gzip.h"

enum { NICE = 19 };

static pid_t packer = -1;
static char from_path[PATH_MAX], new_path[PATH_MAX], to_path[PATH_MAX];

static bool make_name(char *name, const char *path, const char *suffix) {
  struct text text = {name, 0, PATH_MAX - 1, false};
  put(&text, path);
  put(&text, suffix);
  name[text.size] = '\0';
  return !text.full;
}

/* The new name is on the disk before the old one goes. */
static bool sync_folder(void) {
  char folder[PATH_MAX];
  strcpy(folder, to_path);
  char *slash = strrchr(folder, '/');
  if (slash != NULL) slash[1] = '\0';
  int fd = open(slash == NULL ? "." : folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool synced = fd >= 0 && fsync(fd) == 0;
  if (fd >= 0) close(fd);
  return synced;
}

static bool pack(void) {
  int from = open(from_path, O_RDONLY | O_CLOEXEC);
  int to = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
  if (from < 0 || to < 0) return false;
  if (!gzip_file(from, to, chain_origin(from)) || fsync(to) < 0) return false;
  /* Nobody is about to read either of them. */
  posix_fadvise(from, 0, 0, POSIX_FADV_DONTNEED);
  posix_fadvise(to, 0, 0, POSIX_FADV_DONTNEED);
  return rename(new_path, to_path) == 0 && sync_folder() && unlink(from_path) == 0;
}

static _Noreturn void run_packer(void) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  prctl(PR_SET_NAME, "coracle-pack");
  setpriority(PRIO_PROCESS, 0, NICE);
  /* It must not hold a client's connection or a container's pipe open. */
  syscall(SYS_close_range, 0U, ~0U, 0);
  bool packed = pack();
  if (!packed) unlink(new_path);
  _exit(packed ? 0 : 1);
}

void pack_start(const char *path) {
  if (!make_name(from_path, path, ".1") || !make_name(new_path, path, ".1.gz.new") ||
      !make_name(to_path, path, ".1.gz") || access(from_path, F_OK) < 0) {
    return;
  }
  packer = fork();
  if (packer == 0) run_packer();
}

static void wait_for_packer(void) {
  while (waitpid(packer, NULL, 0) < 0 && errno == EINTR) continue;
  packer = -1;
}

void pack_finish(void) {
  if (packer < 0) return;
  /* From here on the container waits for it. */
  setpriority(PRIO_PROCESS, (id_t)packer, 0);
  wait_for_packer();
}

void pack_abandon(void) {
  if (packer < 0) return;
  kill(packer, SIGKILL);
  wait_for_packer();
  unlink(new_path);
}

void pack_reaped(pid_t pid) {
  if (pid == packer) packer = -1;
}
