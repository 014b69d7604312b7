#include "setup.h"

#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "event.h"
#include "peers.h"

_Noreturn void give_up_saying(const char *before, const char *what) {
  char reason_bytes[REASON_MAX], bytes[EVENT_MAX];
  struct text reason = {reason_bytes, 0, sizeof reason_bytes, false};
  struct text event = {bytes, 0, sizeof bytes, false};
  const char *cause = strerror(errno);
  put(&reason, before);
  put(&reason, what);
  put(&reason, ": ");
  put(&reason, cause);
  event_failed(&event, EXIT_USAGE, reason.bytes, reason.size);
  if (!write_all(LAUNCHER, event.bytes, event.size)) _exit(EXIT_USAGE + 1);
  _exit(EXIT_USAGE);
}

_Noreturn void give_up(const char *what) {
  give_up_saying("cannot set up the shim: ", what);
}

/* A child of init's, in a session of its own, that holds nothing of the launcher's but the socket. */
void setup_go_into_background(void) {
  pid_t forked = fork();
  if (forked < 0) give_up("fork");
  if (forked > 0) _exit(0);
  setsid();
  syscall(SYS_close_range, LAUNCHER + 1, ~0U, 0); /* musl has no wrapper */
  int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) give_up("/dev/null");
  for (int fd = 0; fd < 3; fd++) dup2(null, fd);
  close(null);
  fcntl(LAUNCHER, F_SETFD, FD_CLOEXEC);
  umask(077);
}

int setup_signals(void) {
  /* Only a container's end ends its shim: a shutdown that signals everything must be recorded. */
  static const int ignored[] = {SIGHUP, SIGINT, SIGTERM, SIGPIPE,
                                SIGUSR1, SIGUSR2, SIGXFSZ};
  for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++) signal(ignored[i], SIG_IGN);
  signal(SIGCHLD, SIG_DFL);
  sigset_t mask;
  sigemptyset(&mask);
  sigaddset(&mask, SIGCHLD);
  sigprocmask(SIG_SETMASK, &mask, NULL);
  int signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) give_up("signalfd");
  return signals;
}

int setup_null(int flags) {
  int fd = open("/dev/null", flags | O_CLOEXEC);
  if (fd < 0) give_up("/dev/null");
  return fd;
}

/* Root of a remapped container may open its own /dev/stdout again. */
void setup_pipe(int ends[2]) {
  if (pipe2(ends, O_CLOEXEC) < 0) give_up("pipe");
  uid_t uid = (uid_t)number_setting("uid", 0);
  gid_t gid = (gid_t)number_setting("gid", 0);
  if ((uid != 0 || gid != 0) && fchown(ends[0], uid, gid) < 0) give_up("chown of a pipe");
}

int setup_listener(void) {
  /* A relative name, because the folder's may be longer than an address of a socket. */
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "shim.sock"};
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (listener < 0 || bind(listener, (struct sockaddr *)&address, sizeof address) < 0 ||
      listen(listener, PEERS_MAX) < 0) {
    give_up("shim.sock");
  }
  return listener;
}
