/*
 * Reads a log and writes it to stdout as a client is sent it: framed, or raw for
 * a terminal. A process of its own, because it takes the daemon no memory and a tenth of the time
 * that decoding in the daemon would.
 *
 *   driver      json-file, local or journald
 *   path        the log; files: how many there may be, rotated ones included
 *   journalctl  for journald: that program; id: the container's
 *   streams     o, e or both
 *   tail        messages to begin with, counted from the end; -1: all
 *   since       nanoseconds since the epoch; older messages are left out
 *   until       the first younger one ends it; 0: none does
 *   timestamps, details, raw, follow   1: yes
 *
 * With follow it ends when stdin does: then the container has ended, and what is there is all.
 */
#include "base.h"

#include "read.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "chain.h"
#include "journal.h"
#include "message.h"

enum { EXIT_BAD = 125, POLL_MS = 100 };

static struct wanted wanted;
static const struct format *format;
static bool follow;

static struct log_file file = {.fd = -1};
static char window[WINDOW];
static size_t window_size;

/* Without follow: where the log ended when we began, so that a busy container does not hold us. */
static struct log_file last;

static int watch = -1;

/* Takes messages off the window. False when there is nothing more to do. */
static bool take_messages(bool flushing) {
  size_t at = 0, used = 0;
  enum taken taken = INCOMPLETE;
  while (at < window_size) {
    taken = format->take(window + at, window_size - at, &wanted, flushing, &used);
    if (taken != TAKEN) break;
    at += used;
    if (message_is_full() && !message_flush()) return false;
  }
  window_size -= at;
  memmove(window, window + at, window_size);
  return taken != REACHED_END;
}

/* Bytes that may be read now. */
static size_t room(void) {
  size_t left = sizeof window - window_size;
  if (follow || !chain_same(&file, &last)) return left;
  off_t rest = last.at > file.at ? last.at - file.at : 0;
  return rest < (off_t)left ? (size_t)rest : left;
}

/* Somebody has emptied the file by hand: it is read from its beginning again. */
static bool was_truncated(void) {
  struct stat info;
  if (!follow || file.packed || fstat(file.fd, &info) < 0 || info.st_size >= file.at) return false;
  file.at = 0;
  window_size = 0;
  return true;
}

/* Reads on in the present file; sets `*end` at its end. False when there is nothing more to do. */
static bool read_on(bool *end) {
  ssize_t size = chain_read(&file, window + window_size, room(), file.at);
  *end = size <= 0 && !was_truncated();
  if (size <= 0) return true;
  file.at += size;
  window_size += (size_t)size;
  return take_messages(false);
}

static bool read_to_end(void) {
  for (bool end = false; !end;) {
    if (!read_on(&end)) return false;
  }
  return true;
}

/* What a file ends with and is no message is no part of the next file's first one. */
static bool move_to(struct log_file next) {
  bool more = take_messages(true);
  window_size = 0;
  chain_close(&file);
  file = next;
  format->begin(&file);
  return more;
}

/* Goes through all files that are there. False when there is nothing more to do. */
static bool read_files(void) {
  for (;;) {
    struct log_file next;
    if (!read_to_end()) return false;
    if (!follow && chain_same(&file, &last)) return false;
    if (!chain_next(&file, &next)) return true;
    /* Between our last look and the rotation there may have been one more write. */
    if (!read_to_end() || !move_to(next)) return false;
  }
}

/* Told of each write in the log's folder; without inotify (its instances are limited) it looks. */
static void open_watch(const char *path) {
  char folder[PATH_MAX];
  const char *slash = strrchr(path, '/');
  size_t size = slash == NULL ? 0 : (size_t)(slash - path);
  if (size == 0 || size >= sizeof folder) return;
  memcpy(folder, path, size);
  folder[size] = '\0';
  watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (watch >= 0 && inotify_add_watch(watch, folder, IN_MODIFY | IN_CREATE | IN_MOVED_TO) < 0) {
    close(watch);
    watch = -1;
  }
}

/* Milliseconds to wait at the most; 0 when `until` has passed. */
static int patience(void) {
  int ms = watch < 0 && format != &journal_format ? POLL_MS : -1;
  if (wanted.until_ns == 0) return ms;
  int64_t left = (wanted.until_ns - clock_ns(CLOCK_REALTIME)) / MILLISECOND_NS + 1;
  if (left <= 0) return 0;
  return ms >= 0 && ms < left ? ms : left > INT_MAX ? INT_MAX : (int)left;
}

/* Waits for more. Sets `*ended` when the container has ended or nobody wants more. */
static void wait_for_more(bool *ended) {
  static char events[4096] __attribute__((aligned(8)));
  struct pollfd fds[] = {
      {.fd = STDIN_FILENO, .events = POLLIN},
      {.fd = watch, .events = POLLIN},
      {.fd = STDOUT_FILENO}, /* POLLERR: our client is gone */
  };
  int ms = patience();
  if (ms == 0) {
    *ended = true;
    return;
  }
  if (poll(fds, 3, ms) <= 0) return;
  if (fds[2].revents != 0) *ended = true;
  if (fds[0].revents != 0 && read(STDIN_FILENO, events, sizeof events) <= 0) *ended = true;
  if (fds[1].revents == 0) return;
  while (read(watch, events, sizeof events) > 0) continue;
  /* Lines come in crowds. */
  nanosleep(&(struct timespec){.tv_nsec = MILLISECOND_NS}, NULL);
}

/* Goes through a packed file from its beginning up to the message of that number; gives how many
   there were, and where it ended. */
static int64_t count_messages(const struct log_file *packed, int64_t up_to, off_t *end) {
  static const struct wanted nothing;
  int64_t count = 0;
  size_t size = 0, used;
  *end = 0;
  for (bool more = true; more;) {
    ssize_t got = chain_read(packed, window + size, sizeof window - size, *end + (off_t)size);
    more = got > 0;
    if (more) size += (size_t)got;
    size_t at = 0;
    while (at < size && count < up_to &&
           format->take(window + at, size - at, &nothing, !more, &used) == TAKEN) {
      count += format->counts(window + at, used);
      at += used;
    }
    size -= at;
    *end += (off_t)at;
    if (count == up_to) return count;
    memmove(window, window + at, size);
  }
  return count;
}

/* Nothing can be read backwards out of a packed file. */
static int64_t back(struct log_file *start, int64_t wanted_count) {
  if (!start->packed) return format->back(start, wanted_count);
  int64_t count = count_messages(start, INT64_MAX, &start->at);
  if (count > wanted_count) {
    count_messages(start, count - wanted_count, &start->at);
    return wanted_count;
  }
  start->at = 0;
  return count;
}

static bool find_start(int64_t tail) {
  return tail < 0 ? chain_oldest(&file) : chain_tail(tail, back, &file);
}

static void run(int64_t tail) {
  bool ended = false;
  while (file.fd < 0 && !find_start(tail)) {
    /* A container that has not written yet. */
    if (!follow || ended) return;
    wait_for_more(&ended);
  }
  format->begin(&file);
  for (;;) {
    bool was_ended = ended;
    if (!read_files() || !message_flush() || !follow || was_ended) break;
    wait_for_more(&ended);
  }
  message_flush();
}

static int complain(const char *what) {
  char bytes[512];
  struct text text = {bytes, 0, sizeof bytes, false};
  put(&text, what);
  put(&text, "\n");
  return write_all(STDERR_FILENO, text.bytes, text.size) ? EXIT_BAD : EXIT_BAD + 1;
}

/* Messages that a container wrote last are a moment on their way through journald. */
enum { JOURNAL_QUIET_MS = 500 };

/* Reads what there is of the journal; false when there is nothing more to do. */
static bool read_journal(int fd) {
  ssize_t size = read(fd, window + window_size, sizeof window - window_size);
  if (size <= 0) return false;
  window_size += (size_t)size;
  return take_messages(false) && message_flush();
}

static int run_journal(int64_t tail) {
  pid_t pid;
  int status = 0, fd = journal_open(tail, follow, wanted.streams, &pid);
  if (fd < 0) return complain("cannot start journalctl");
  bool ended = !follow, more = true;
  while (more) {
    struct pollfd fds[] = {
        {.fd = fd, .events = POLLIN},
        {.fd = ended ? -1 : STDIN_FILENO, .events = POLLIN},
        {.fd = STDOUT_FILENO},
    };
    int ms = !follow ? -1 : ended ? JOURNAL_QUIET_MS : patience();
    int ready = poll(fds, 3, ms);
    if (ready < 0) continue;
    if (ready == 0 || fds[2].revents != 0) break;
    if (fds[0].revents != 0) more = read_journal(fd);
    char byte;
    if (fds[1].revents != 0 && read(STDIN_FILENO, &byte, 1) <= 0) ended = true;
  }
  take_messages(true);
  message_flush();
  close(fd);
  if (follow) kill(pid, SIGTERM);
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) continue;
  bool failed = !follow && WIFEXITED(status) && WEXITSTATUS(status) != 0;
  return failed ? complain("journalctl cannot read the journal") : 0;
}

static bool find_last(void) {
  struct stat info;
  if (!chain_newest(&last)) return false;
  /* It stays open, so that no other file gets its number. A packed one is whole. */
  last.at = INT64_MAX;
  if (!last.packed && fstat(last.fd, &info) == 0) last.at = info.st_size;
  return true;
}

int read_logs(int count, char **arguments) {
  if (!settings_from_arguments(count, arguments)) return complain("bad argument");
  const char *driver = setting("driver", "");
  format = strcmp(driver, "json-file") == 0 ? &json_file_format
           : strcmp(driver, "local") == 0   ? &local_format
           : strcmp(driver, "journald") == 0 ? &journal_format
                                            : NULL;
  if (format == NULL) return complain("driver must be json-file, local or journald");
  const char *streams = setting("streams", "oe");
  wanted.streams[STDOUT] = strchr(streams, 'o') != NULL;
  wanted.streams[STDERR] = strchr(streams, 'e') != NULL;
  wanted.since_ns = number_setting("since", INT64_MIN);
  wanted.until_ns = number_setting("until", 0);
  wanted.timestamps = flag_setting("timestamps");
  wanted.details = flag_setting("details");
  wanted.raw = flag_setting("raw");
  follow = flag_setting("follow");

  if (format == &journal_format) return run_journal(number_setting("tail", -1));
  const char *path = setting("path", "");
  chain_open(path, (int)number_setting("files", 1));
  if (follow) open_watch(path);
  if (follow || find_last()) run(number_setting("tail", -1));
  return 0;
}
