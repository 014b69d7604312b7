/*
 * coracle-shim: stands beside one container (or one exec) and holds what must survive the daemon:
 * its standard streams or terminal, its log, its attached clients, its exit code.
 *
 *   coracle-shim run DIRECTORY      supervises; settings in DIRECTORY/spec, launcher on descriptor 3
 *   coracle-shim logs KEY=VALUE …   reads a log; see read.c
 *
 * docs/shim.md has the protocol. In short: it goes into the background, listens on shim.sock, waits
 * for the order to start, calls the OCI runtime once, adopts the container's first process (it is a
 * subreaper), serves, and when that process has ended writes DIRECTORY/exit and goes away.
 *
 * Nothing is allocated after the start; the only dependency is libc.
 */
#include "base.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "event.h"
#include "log.h"
#include "output.h"
#include "pack.h"
#include "peers.h"
#include "read.h"
#include "runtime.h"
#include "setup.h"

enum { EXIT_UNKNOWN = 255, EXIT_BYTES = 256 };

/* A runtime that does not come back would keep its container from being started, stopped, removed. */
enum { START_DEFAULT_MS = 120000, EXIT_KILLED = 128 + SIGKILL };

/*
 * A process that has ended may leave others that hold its pipes. What was in the pipes at its end
 * is always taken; then the pipes have to stay quiet for this long, and in all no longer than that.
 */
static const int64_t DRAIN_QUIET_NS = 200000000, DRAIN_MAX_NS = 2000000000;

/*
 * A busy container wakes us for every line it writes. Looking again only after a moment lets lines
 * gather, which costs a tenth of the time and delays nobody by more than that moment.
 */
static const int64_t GATHER_NS = 1000000;

static enum { CREATED, STARTING, RUNNING, DRAINING, EXITED, FAILED } state = CREATED;
static const char *const state_names[] = {"created", "starting", "running",
                                          "running", "exited",   "failed"};

static const char *directory;
static bool terminal;
static int signals = -1, listener = -1;
static int child_stdio[3] = {-1, -1, -1};
static struct output outputs[2]; /* stdout and stderr; no initialiser, so that it is no part of the file */
static int master = -1;
static struct winsize window;

static pid_t runtime_pid = -1, pid = -1;
/* By the wall clock. */
static int64_t started_ns, exited_ns;
/* By the clock that nobody sets, time in suspension included. */
static int64_t begun_ns, ran_ns;
static int64_t runtime_since_ns, runtime_until_ns, drain_until_ns, quiet_until_ns;
static int exit_code;
static bool oom_killed;

/* --- events ------------------------------------------------------------------------------------- */

static void put_exit(struct text *event) {
  event_number(event, "exitCode", exit_code);
  put(event, oom_killed ? ",\"oomKilled\":true" : ",\"oomKilled\":false");
  event_time(event, "exitedAt", exited_ns);
  event_time(event, "ran", ran_ns);
}

static void greet(int peer) {
  char bytes[256];
  struct text event = {bytes, 0, sizeof bytes, false};
  event_begin(&event, "hello");
  event_number(&event, "shim", getpid());
  put(&event, ",\"state\":\"");
  put(&event, state_names[state]);
  put(&event, "\"");
  event_number(&event, "pid", pid);
  event_time(&event, "startedAt", started_ns);
  event_time(&event, "ran", state == RUNNING ? clock_ns(CLOCK_BOOTTIME) - begun_ns : ran_ns);
  put(&event, "}\n");
  peer_tell(peer, &event);
}

static void tell_started(void) {
  char bytes[128];
  struct text event = {bytes, 0, sizeof bytes, false};
  event_begin(&event, "started");
  event_number(&event, "pid", pid);
  event_time(&event, "startedAt", started_ns);
  put(&event, "}\n");
  peers_tell_all(&event);
}

static void tell_answer(int peer, const char *type, const char *reason) {
  char bytes[256];
  struct text event = {bytes, 0, sizeof bytes, false};
  event_begin(&event, type);
  put(&event, ",\"reason\":\"");
  put(&event, reason);
  put(&event, "\"}\n");
  peer_tell(peer, &event);
}

/* --- start -------------------------------------------------------------------------------------- */

static void fail(int status, const char *reason, size_t size) {
  char bytes[EVENT_MAX];
  struct text event = {bytes, 0, sizeof bytes, false};
  event_failed(&event, status, reason, size);
  peers_tell_all(&event);
  state = FAILED;
}

static void close_child_stdio(void) {
  for (int i = 0; i < 3; i++) {
    if (child_stdio[i] >= 0) close(child_stdio[i]);
    child_stdio[i] = -1;
  }
}

static void start(int peer) {
  if (state != CREATED) {
    tell_answer(peer, "refused", "it was started before");
    return;
  }
  state = STARTING;
  runtime_since_ns = clock_ns(CLOCK_MONOTONIC);
  runtime_until_ns =
      runtime_since_ns + number_setting("start-ms", START_DEFAULT_MS) * MILLISECOND_NS;
  runtime_pid = runtime_start(directory, child_stdio);
  int cause = errno;
  close_child_stdio();
  if (runtime_pid < 0) fail(EXIT_USAGE, strerror(cause), strlen(strerror(cause)));
}

/* What the runtime wrote to stderr, for a runtime that keeps its log empty. */
static void fail_with_stderr(int status) {
  static char reason[REASON_MAX];
  ssize_t size = read(outputs[1].fd, reason, sizeof reason);
  fail(status, reason, size > 0 ? (size_t)size : 0);
}

/*
 * The runtime hangs: it is killed with what it started (hooks are in its group), and not waited for,
 * because one that waits for a dead disk does not die either.
 */
static void give_up_on_runtime(void) {
  if (runtime_pid < 0 || clock_ns(CLOCK_MONOTONIC) < runtime_until_ns) return;
  kill(-runtime_pid, SIGKILL);
  pid_t child = runtime_child();
  if (child > 0) kill(child, SIGKILL);
  runtime_pid = -1;
  char bytes[REASON_MAX];
  struct text reason = {bytes, 0, sizeof bytes, false};
  put(&reason, "the runtime did not come back within ");
  put_number(&reason, (runtime_until_ns - runtime_since_ns) / MILLISECOND_NS);
  put(&reason, " ms and was killed");
  fail(EXIT_KILLED, reason.bytes, reason.size);
}

static void resize_terminal(void) {
  if (window.ws_row != 0 || window.ws_col != 0) ioctl(master, TIOCSWINSZ, &window);
}

/* The runtime sends it well before it runs the process, which then finds the right size. */
static void take_terminal(void) {
  master = runtime_terminal();
  if (master < 0) return;
  fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
  resize_terminal();
}

static bool adopt_terminal(void) {
  close(outputs[1].fd); /* it was there for the runtime's own words */
  outputs[1].fd = -1;
  if (master < 0) take_terminal();
  if (master < 0) return false;
  outputs[0].fd = master;
  peers_set_stdin(master, false);
  return true;
}

/* As shells count: 128 + the number of the signal that ended it. */
static int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void on_runtime_exit(int status) {
  runtime_pid = -1;
  if (code_of(status) != 0) {
    fail_with_stderr(code_of(status));
    return;
  }
  static const char no_pid[] = "the runtime wrote no pid file";
  static const char no_terminal[] = "the runtime sent no terminal";
  pid = runtime_child();
  if (pid < 0) {
    fail(EXIT_USAGE, no_pid, sizeof no_pid - 1);
    return;
  }
  if (terminal && !adopt_terminal()) {
    kill(pid, SIGKILL);
    fail(EXIT_USAGE, no_terminal, sizeof no_terminal - 1);
    return;
  }
  started_ns = clock_ns(CLOCK_REALTIME);
  begun_ns = clock_ns(CLOCK_BOOTTIME);
  state = RUNNING;
  tell_started();
}

/* --- end ---------------------------------------------------------------------------------------- */

static void on_child_exit(int code) {
  exited_ns = clock_ns(CLOCK_REALTIME);
  ran_ns = clock_ns(CLOCK_BOOTTIME) - begun_ns;
  exit_code = code;
  oom_killed = runtime_oom_killed();
  state = DRAINING;
  peers_end_stdin();
  int64_t now = clock_ns(CLOCK_MONOTONIC);
  drain_until_ns = now + DRAIN_MAX_NS;
  quiet_until_ns = now + DRAIN_QUIET_NS;
  for (int i = 0; i < 2; i++) {
    int owed = 0;
    if (outputs[i].fd >= 0) ioctl(outputs[i].fd, FIONREAD, &owed);
    outputs[i].owed = owed;
  }
}

/* Waits for children that have ended; while the runtime runs for nobody else, so that the process
   which it starts cannot be missed. */
static void reap(void) {
  struct signalfd_siginfo info;
  while (read(signals, &info, sizeof info) > 0) continue;
  for (;;) {
    int status;
    pid_t ended = waitpid(runtime_pid > 0 ? runtime_pid : -1, &status, WNOHANG);
    if (ended < 0 && errno == ECHILD && state == RUNNING && kill(pid, 0) < 0) {
      /* The runtime has waited for it instead of leaving it to us: how it ended is not known. */
      on_child_exit(EXIT_UNKNOWN);
    }
    if (ended <= 0) return;
    if (ended == runtime_pid) {
      on_runtime_exit(status);
    } else if (ended == pid && state == RUNNING) {
      on_child_exit(code_of(status));
    } else {
      pack_reaped(ended);
    }
  }
}

/* Its room is taken at the start: by the end there may be none, and the exit code would be lost. */
static void take_exit_room(void) {
  static const char room[EXIT_BYTES];
  int fd = open("exit.new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0 || !write_all(fd, room, sizeof room)) give_up("exit.new");
  close(fd);
}

/* The file appears whole or not at all. */
static void write_exit_file(void) {
  char bytes[EXIT_BYTES];
  struct text event = {bytes, 0, sizeof bytes, false};
  event_begin(&event, "exited");
  put_exit(&event);
  put(&event, "}\n");
  int fd = open("exit.new", O_WRONLY | O_CLOEXEC);
  bool written = fd >= 0 && write_all(fd, event.bytes, event.size) &&
                 ftruncate(fd, (off_t)event.size) == 0;
  if (fd >= 0) close(fd);
  /* The folder may be gone; then nobody asks for the file. */
  if (written) rename("exit.new", "exit");
  peers_tell_all(&event);
}

static void conclude(void) {
  for (int i = 0; i < 2; i++) output_end(&outputs[i]);
  log_close();
  close(listener);
  listener = -1;
  unlink("shim.sock");
  state = EXITED;
  write_exit_file();
}

static void drain(void) {
  int64_t now = clock_ns(CLOCK_MONOTONIC);
  bool open = false, owed = false;
  for (int i = 0; i < 2; i++) {
    open |= outputs[i].fd >= 0;
    owed |= outputs[i].fd >= 0 && outputs[i].owed > 0;
  }
  if (!open || (!owed && (now > quiet_until_ns || now > drain_until_ns))) conclude();
}

/* --- orders ------------------------------------------------------------------------------------- */

/* `ROWS COLUMNS` */
static void resize(int peer, const char *size) {
  char *end;
  unsigned long rows = strtoul(size, &end, 10), columns = strtoul(end, &end, 10);
  if (!terminal || *end != '\0' || rows > UINT16_MAX || columns > UINT16_MAX) {
    tell_answer(peer, "refused", terminal ? "bad size" : "not a terminal");
    return;
  }
  window.ws_row = (unsigned short)rows;
  window.ws_col = (unsigned short)columns;
  if (master >= 0) resize_terminal();
  tell_answer(peer, "resized", "");
}

/* Milliseconds from now, of which the runtime gets no more; it may have fewer anyway. */
static void hurry(int peer, const char *ms) {
  char *end;
  unsigned long left_ms = strtoul(ms, &end, 10);
  if (end == ms || *end != '\0' || left_ms > INT32_MAX) {
    tell_answer(peer, "refused", "bad time");
    return;
  }
  int64_t until_ns = clock_ns(CLOCK_MONOTONIC) + (int64_t)left_ms * MILLISECOND_NS;
  if (until_ns < runtime_until_ns) runtime_until_ns = until_ns;
}

static void on_request(int peer, const char *line) {
  if (strcmp(line, "start") == 0) {
    start(peer);
  } else if (strncmp(line, "hurry ", 6) == 0) {
    hurry(peer, line + 6);
  } else if (strncmp(line, "resize ", 7) == 0) {
    resize(peer, line + 7);
  } else {
    tell_answer(peer, "refused", "unknown order");
  }
}

/* --- set-up ------------------------------------------------------------------------------------- */

/* Only our end does not block. */
static void open_output(struct output *output) {
  int ends[2];
  setup_pipe(ends);
  fcntl(ends[0], F_SETFL, O_NONBLOCK);
  output->fd = ends[0];
  child_stdio[output->id] = ends[1];
}

static void open_streams(void) {
  outputs[0].id = STDOUT;
  outputs[1].id = STDERR;
  outputs[0].fd = -1;
  terminal = flag_setting("terminal");
  window.ws_row = (unsigned short)number_setting("rows", 0);
  window.ws_col = (unsigned short)number_setting("columns", 0);
  open_output(&outputs[1]);
  if (terminal) {
    child_stdio[STDIN] = setup_null(O_RDONLY);
    child_stdio[STDOUT] = setup_null(O_WRONLY);
    return;
  }
  open_output(&outputs[0]);
  if (!flag_setting("open-stdin")) {
    child_stdio[STDIN] = setup_null(O_RDONLY);
    peers_end_stdin();
    return;
  }
  int ends[2];
  setup_pipe(ends);
  fcntl(ends[1], F_SETFL, O_NONBLOCK);
  child_stdio[STDIN] = ends[0];
  peers_set_stdin(ends[1], flag_setting("stdin-once"));
}

static void set_up(void) {
  static const struct peer_calls calls = {on_request, greet};
  if (chdir(directory) < 0) give_up(directory);
  if (!settings_from_file("spec")) give_up("spec");
  setup_go_into_background();
  prctl(PR_SET_NAME, "coracle-shim");
  signals = setup_signals();
  const char *failed = log_open();
  if (failed != NULL) give_up_saying("failed to initialize logging driver: ", failed);
  if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0) give_up("prctl");
  runtime_protect();
  failed = runtime_open();
  if (failed != NULL) give_up(failed);
  peers_open(&calls, flag_setting("terminal"), !log_is_none());
  open_streams();
  take_exit_room();
  listener = setup_listener();
  peers_adopt(LAUNCHER);
}

/* --- loop --------------------------------------------------------------------------------------- */

static bool is_paused(const struct output *output) {
  return output->resume_ns > 0 && output->resume_ns > clock_ns(CLOCK_MONOTONIC);
}

/* When to look again without being woken, in milliseconds; -1: never. */
static int timeout(void) {
  int ms = peers_timeout(), own_ms = -1;
  if (is_paused(&outputs[0])) own_ms = 100;
  if (state == DRAINING) own_ms = (int)(DRAIN_QUIET_NS / MILLISECOND_NS / 4);
  if (runtime_pid > 0) {
    int64_t left_ns = runtime_until_ns - clock_ns(CLOCK_MONOTONIC);
    own_ms = left_ns > 0 ? (int)(left_ns / MILLISECOND_NS) + 1 : 0;
  }
  return own_ms >= 0 && (ms < 0 || ms > own_ms) ? own_ms : ms;
}

static void gather(void) {
  static int64_t last_ns;
  int64_t now = clock_ns(CLOCK_MONOTONIC);
  if (now - last_ns < 2 * GATHER_NS) {
    nanosleep(&(struct timespec){.tv_nsec = GATHER_NS}, NULL);
    now = clock_ns(CLOCK_MONOTONIC);
  }
  last_ns = now;
}

static void read_outputs(const struct pollfd *fds, int count) {
  bool ready = false;
  for (int i = 0; i < count; i++) ready |= fds[i].revents != 0;
  if (!ready) return;
  if (state == RUNNING) gather();
  for (int i = 0; i < 2; i++) {
    if (outputs[i].fd >= 0) output_read(&outputs[i], state == DRAINING);
  }
  quiet_until_ns = clock_ns(CLOCK_MONOTONIC) + DRAIN_QUIET_NS;
}

/* One round: waits, then serves all that is ready. */
static void serve(void) {
  enum { OWN = 5 };
  static struct pollfd fds[OWN + PEERS_MAX + 1];
  bool reading = state == DRAINING || (state == RUNNING && peers_have_room());
  int output_count = 0;
  fds[0] = (struct pollfd){.fd = signals, .events = POLLIN};
  fds[1] = (struct pollfd){.fd = peers_full() ? -1 : listener, .events = POLLIN};
  for (int i = 0; i < 2; i++, output_count++) {
    bool wanted = reading && (state == DRAINING || !is_paused(&outputs[i]));
    fds[2 + i] = (struct pollfd){.fd = wanted ? outputs[i].fd : -1, .events = POLLIN};
  }
  fds[4] = (struct pollfd){.fd = runtime_console(), .events = POLLIN};
  int peer_count = peers_poll(fds + OWN);
  if (poll(fds, (nfds_t)(OWN + peer_count), timeout()) < 0) return;
  /* Clients first: who asked to be attached before the start sees all from the start. */
  peers_serve(fds + OWN, peer_count);
  if (fds[1].revents != 0) peers_accept(listener);
  read_outputs(fds + 2, output_count);
  if (fds[4].revents != 0) take_terminal();
  if (fds[0].revents != 0) reap();
  give_up_on_runtime();
  if (state == DRAINING) drain();
}

static bool is_done(void) {
  if (state == FAILED || state == EXITED) return peers_finish();
  /* Its launcher went away before it gave the order: nobody will. */
  return state == CREATED && peers_count(true) == 0;
}

static int supervise(const char *folder) {
  directory = folder;
  set_up();
  while (!is_done()) serve();
  if (listener >= 0) unlink("shim.sock");
  return 0;
}

int main(int argc, char **argv) {
  if (argc == 3 && strcmp(argv[1], "run") == 0) return supervise(argv[2]);
  if (argc > 2 && strcmp(argv[1], "logs") == 0) return read_logs(argc - 2, argv + 2);
  static const char usage[] = "usage: coracle-shim run DIRECTORY | logs KEY=VALUE ...\n";
  return write_all(STDERR_FILENO, usage, sizeof usage - 1) ? EXIT_USAGE : EXIT_USAGE + 1;
}
