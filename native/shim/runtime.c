#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 64, EXIT_CANNOT_RUN = 127, CONSOLE_WAIT_MS = 5000 };

static int console_listener = -1;
static char console_path[64], pid_path[PATH_MAX], log_path[PATH_MAX];

/* oom_score_adj as we found it; children get it back. */
static char oom_score[16];
static ssize_t oom_score_size;

static int oom_fd = -1;
static int64_t oom_kills_before;

static ssize_t read_file(const char *path, char *bytes, size_t capacity) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -1;
  ssize_t size = read(fd, bytes, capacity - 1);
  close(fd);
  if (size >= 0) bytes[size] = '\0';
  return size;
}

static void write_oom_score(const char *value, size_t size) {
  int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0) return;
  /* EACCES without CAP_SYS_RESOURCE: then it stays as it is. */
  (void)!write(fd, value, size);
  close(fd);
}

void runtime_protect(void) {
  oom_score_size = read_file("/proc/self/oom_score_adj", oom_score, sizeof oom_score);
  if (oom_score_size > 0) write_oom_score("-998", 4);
}

const char *runtime_open(void) {
  if (!flag_setting("terminal")) return NULL;
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "console.sock"};
  console_listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (console_listener < 0) return "socket";
  if (bind(console_listener, (struct sockaddr *)&address, sizeof address) < 0) return "console.sock";
  if (listen(console_listener, 1) < 0) return "console.sock";
  /* The folder's name may be longer than an address of a socket, so it goes by our descriptor. */
  int folder = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return "the shim's folder";
  struct text text = {console_path, 0, sizeof console_path - 1, false};
  put(&text, "/proc/");
  put_number(&text, getpid());
  put(&text, "/fd/");
  put_number(&text, folder);
  put(&text, "/console.sock");
  return NULL;
}

static bool join(char *path, const char *directory, const char *name) {
  struct text text = {path, 0, PATH_MAX - 1, false};
  put(&text, directory);
  put(&text, "/");
  put(&text, name);
  path[text.size] = '\0';
  return !text.full;
}

/* The whole command line; false when it has too many words. */
static bool build(const char **words) {
  int count = 0, at = 0;
  const char *word, *bundle = setting("bundle", NULL);
  words[count++] = setting("runtime", "");
  while ((word = next_setting("runtime-arg", &at)) != NULL) {
    if (count == ARGUMENTS_MAX - 20) return false;
    words[count++] = word;
  }
  const char *tail[] = {
      "--log", log_path, "--log-format", "json", bundle != NULL ? "run" : "exec", "--detach",
      "--pid-file", pid_path, bundle != NULL ? "--bundle" : "--process",
      bundle != NULL ? bundle : setting("process", ""),
  };
  memcpy(words + count, tail, sizeof tail);
  count += (int)(sizeof tail / sizeof tail[0]);
  if (console_listener >= 0) {
    words[count++] = "--console-socket";
    words[count++] = console_path;
  }
  words[count++] = setting("id", "");
  words[count] = NULL;
  return true;
}

static _Noreturn void become_runtime(const char **words, const int stdio[3]) {
  if (oom_score_size > 0) write_oom_score(oom_score, (size_t)oom_score_size);
  for (int fd = 0; fd < 3; fd++) dup2(stdio[fd], fd);
  for (int number = 1; number < NSIG; number++) signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setpgid(0, 0); /* with its hooks, which end with it */
  umask(022); /* the runtime makes mount points, which all users of the container see */
  execv(words[0], (char **)words);
  char bytes[512];
  struct text text = {bytes, 0, sizeof bytes, false};
  put(&text, "cannot run ");
  put(&text, words[0]);
  put(&text, ": ");
  put(&text, strerror(errno));
  (void)!write(STDERR_FILENO, text.bytes, text.size);
  _exit(EXIT_CANNOT_RUN);
}

/* The number after `oom_kill ` in either file; 0 when there is none. */
static int64_t oom_kills(void) {
  char bytes[1024];
  ssize_t size = pread(oom_fd, bytes, sizeof bytes - 1, 0);
  if (size <= 0) return 0;
  bytes[size] = '\0';
  const char *found = strstr(bytes, "oom_kill ");
  return found == NULL ? 0 : strtoll(found + strlen("oom_kill "), NULL, 10);
}

/* The control group of a fresh container is not there before the runtime has run. */
static void open_oom_file(void) {
  const char *path = setting("oom-file", "");
  if (*path != '\0' && oom_fd < 0) oom_fd = open(path, O_RDONLY | O_CLOEXEC);
}

bool runtime_oom_killed(void) {
  open_oom_file();
  return oom_kills() > oom_kills_before;
}

pid_t runtime_start(const char *directory, const int stdio[3]) {
  const char *words[ARGUMENTS_MAX];
  bool fits = join(pid_path, directory, "pid") && join(log_path, directory, "runtime.log");
  if (!fits || !build(words)) {
    errno = E2BIG;
    return -1;
  }
  open_oom_file();
  oom_kills_before = oom_kills();
  pid_t pid = fork();
  if (pid == 0) become_runtime(words, stdio);
  return pid;
}

pid_t runtime_child(void) {
  char bytes[32];
  open_oom_file();
  if (read_file("pid", bytes, sizeof bytes) <= 0) return -1;
  long pid = strtol(bytes, NULL, 10);
  return pid > 0 && pid <= INT_MAX ? (pid_t)pid : -1;
}

int runtime_console(void) {
  return console_listener;
}

int runtime_terminal(void) {
  if (console_listener < 0) return -1;
  int connection = accept4(console_listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  close(console_listener);
  console_listener = -1;
  unlink("console.sock");
  if (connection < 0) return -1;
  /* It is sent right after the connection is made; a runtime that hangs in between is not for us. */
  struct pollfd wait = {.fd = connection, .events = POLLIN};
  poll(&wait, 1, CONSOLE_WAIT_MS);

  char name[256];
  union {
    struct cmsghdr header;
    char space[CMSG_SPACE(sizeof(int))];
  } control;
  struct iovec part = {name, sizeof name};
  struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
                           .msg_controllen = sizeof control};
  int master = -1;
  if (recvmsg(connection, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) >= 0) {
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header != NULL && header->cmsg_level == SOL_SOCKET && header->cmsg_type == SCM_RIGHTS &&
        header->cmsg_len == CMSG_LEN(sizeof(int))) {
      memcpy(&master, CMSG_DATA(header), sizeof master);
    }
  }
  close(connection);
  return master;
}
