#include "log.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct sink *sink; /* NULL for none */

/*
 * Non-blocking mode: the driver runs in a process of its own, and the queue of a socket between
 * the two is the bounded buffer. A message that does not fit is dropped, as in Docker.
 */
static int writer_socket = -1;
static pid_t writer_pid = -1;

struct envelope {
  int64_t time_ns;
  uint8_t stream;
  uint8_t partial;
};

const char *log_option(const char *key, const char *fallback) {
  size_t size = strlen(key);
  int at = 0;
  const char *option;
  while ((option = next_setting("log-option", &at)) != NULL) {
    if (strncmp(option, key, size) == 0 && option[size] == '=') return option + size + 1;
  }
  return fallback;
}

/* The writer: takes messages until the shim has closed its end and none is left. */
static _Noreturn void write_messages(int socket) {
  static uint8_t bytes[LINE_MAX_BYTES];
  struct envelope envelope;
  struct iovec parts[] = {{&envelope, sizeof envelope}, {bytes, sizeof bytes}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  for (;;) {
    ssize_t size = recvmsg(socket, &message, MSG_DONTWAIT);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
      sink->flush();
      size = recvmsg(socket, &message, 0);
      if (size < 0 && errno == EINTR) continue;
    }
    if (size < (ssize_t)sizeof envelope) break;
    size_t length = (size_t)size - sizeof envelope;
    sink->line(&(struct line){envelope.stream, envelope.partial, envelope.time_ns, bytes, length});
  }
  sink->flush();
  sink->close();
  _exit(0);
}

static const char *start_writer(int64_t buffer_bytes) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0) return "socketpair";
  int bytes = (int)buffer_bytes;
  if (setsockopt(ends[0], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0) {
    setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
  }
  writer_pid = fork();
  if (writer_pid < 0) return "fork";
  if (writer_pid == 0) {
    close(ends[0]);
    prctl(PR_SET_NAME, "coracle-log");
    write_messages(ends[1]);
  }
  close(ends[1]);
  sink->close();
  writer_socket = ends[0];
  return NULL;
}

const char *log_open(void) {
  static const struct {
    const char *name;
    const struct sink *sink;
  } drivers[] = {
      {"json-file", &json_file_sink}, {"local", &local_sink}, {"journald", &journald_sink},
      {"syslog", &syslog_sink},       {"none", NULL},
  };
  const char *name = setting("log-driver", "none");
  for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++) {
    if (strcmp(drivers[i].name, name) != 0) continue;
    sink = drivers[i].sink;
    if (sink == NULL) return NULL;
    const char *failed = sink->open();
    if (failed != NULL || !flag_setting("log-non-blocking")) return failed;
    return start_writer(number_setting("log-buffer", 1 << 20));
  }
  errno = EINVAL;
  return name;
}

bool log_is_none(void) {
  return sink == NULL;
}

void log_line(const struct line *line) {
  if (sink == NULL) return;
  if (writer_socket < 0) {
    sink->line(line);
    return;
  }
  struct envelope envelope = {line->time_ns, (uint8_t)line->stream, line->partial};
  struct iovec parts[] = {{&envelope, sizeof envelope}, {(void *)line->bytes, line->size}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  ssize_t sent = sendmsg(writer_socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent < 0 && (errno == EPIPE || errno == ECONNRESET)) {
    /* Somebody ended the writer. Better to write blocking than nothing. */
    close(writer_socket);
    writer_socket = -1;
    if (sink->open() == NULL) sink->line(line);
  }
}

void log_flush(void) {
  if (sink != NULL && writer_socket < 0) sink->flush();
}

void log_close(void) {
  if (sink == NULL) return;
  if (writer_socket < 0) {
    sink->flush();
    sink->close();
    return;
  }
  close(writer_socket);
  writer_socket = -1;
  while (waitpid(writer_pid, NULL, 0) < 0 && errno == EINTR) continue;
}
