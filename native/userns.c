/*
 * coracle-userns: holds new namespaces for the engine, which cannot make a user namespace itself
 * because it has threads.
 *
 *   coracle-userns        makes a user namespace
 *   coracle-userns net    and in it, once its users are mapped, a network namespace
 *
 * Writes a byte when the user namespace is there, waits for one (the engine has written its maps),
 * writes a byte when all is there, and stays until its input ends. By then the engine has taken
 * what it wants from /proc/PID/ns.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(const char *what) {
  dprintf(STDERR_FILENO, "%s: %s", what, strerror(errno));
  return 1;
}

int main(int argc, char **argv) {
  char byte = '.';
  if (unshare(CLONE_NEWUSER) != 0) return fail("cannot make a user namespace");
  if (write(STDOUT_FILENO, &byte, 1) != 1 || read(STDIN_FILENO, &byte, 1) != 1) return 1;
  if (argc > 1 && strcmp(argv[1], "net") == 0 && unshare(CLONE_NEWNET) != 0) {
    return fail("cannot make a network namespace");
  }
  if (write(STDOUT_FILENO, &byte, 1) != 1) return 1;
  while (read(STDIN_FILENO, &byte, 1) > 0) continue;
  return 0;
}
