/*
 * coracle-init: process 1 of a container that was started with --init.
 *
 *   coracle-init -- COMMAND [ARGUMENT...]
 *
 * An ordinary program as process 1 has two troubles: the kernel ignores signals that it has no
 * handler for, and nobody waits for orphans, which stay as zombies. This program runs COMMAND as a
 * child, passes every signal on to it, waits for whatever ends, and exits as the child did:
 * with its exit code, or with 128 + the number of the signal that ended it.
 *
 * The child gets a process group of its own and, when there is a terminal, its foreground, so that
 * job control and Ctrl-C reach it and not us.
 *
 * No allocation, libc only, linked statically: it runs in images that have no libc.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_USAGE = 125, EXIT_CANNOT_RUN = 126, EXIT_NOT_FOUND = 127 };

static void complain(const char *what, const char *subject) {
  dprintf(STDERR_FILENO, "coracle-init: %s %s: %s\n", what, subject, strerror(errno));
}

/* In the child, just before exec: what the parent changed is put back. */
static void become_foreground(const sigset_t *original) {
  setpgid(0, 0);
  int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC);
  if (terminal >= 0) {
    /* A background group that takes the terminal gets SIGTTOU, which is still blocked here. */
    tcsetpgrp(terminal, getpgrp());
    close(terminal);
  }
  sigprocmask(SIG_SETMASK, original, NULL);
}

static pid_t run(char **argv, const sigset_t *original) {
  pid_t child = fork();
  if (child != 0) return child;
  become_foreground(original);
  execvp(argv[0], argv);
  int code = errno == ENOENT ? EXIT_NOT_FOUND : EXIT_CANNOT_RUN;
  complain("cannot run", argv[0]);
  _exit(code);
}

/* Waits for all that has ended. Returns the child's exit code, or -1 while it runs on. */
static int reap(pid_t child) {
  int result = -1;
  for (;;) {
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    if (pid == 0 || (pid < 0 && errno == ECHILD)) return result;
    if (pid < 0 && errno != EINTR) return result;
    if (pid == child && WIFEXITED(status)) result = WEXITSTATUS(status);
    if (pid == child && WIFSIGNALED(status)) result = 128 + WTERMSIG(status);
  }
}

/* Faults are ours when they come from the kernel, so they must not be blocked. */
static void block_passed_signals(sigset_t *passed, sigset_t *original) {
  static const int faults[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGABRT, SIGTRAP, SIGSYS};
  sigfillset(passed);
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) sigdelset(passed, faults[i]);
  sigprocmask(SIG_SETMASK, passed, original);
}

int main(int argc, char **argv) {
  int first = 1;
  if (argc > first && strcmp(argv[first], "--") == 0) first++;
  if (argc <= first) {
    dprintf(STDERR_FILENO, "usage: coracle-init -- COMMAND [ARGUMENT...]\n");
    return EXIT_USAGE;
  }

  sigset_t passed, original;
  block_passed_signals(&passed, &original);
  pid_t child = run(argv + first, &original);
  if (child < 0) {
    complain("cannot start", argv[first]);
    return EXIT_CANNOT_RUN;
  }

  for (;;) {
    siginfo_t info;
    int signal = sigwaitinfo(&passed, &info);
    if (signal < 0) continue; /* EINTR: a signal that is not ours to pass */
    if (signal == SIGCHLD) {
      int code = reap(child);
      if (code >= 0) return code;
    } else {
      kill(child, signal); /* gone already: its SIGCHLD follows */
    }
  }
}
