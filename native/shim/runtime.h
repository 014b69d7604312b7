/*
 * The OCI runtime as a child: one call of `run --detach` or `exec --detach`. Settings:
 *
 *   runtime, runtime-arg …   the program, and arguments before its subcommand
 *   id                       the container
 *   bundle                   its bundle; without it, process is the process.json of an exec
 *   terminal                 1: a terminal, whose master comes through --console-socket
 *   oom-file                 memory.events or memory.oom_control of the control group
 */
#ifndef CORACLE_SHIM_RUNTIME_H
#define CORACLE_SHIM_RUNTIME_H

#include "base.h"

#include <sys/types.h>

/* Makes the socket for the terminal's master, if there is to be one. NULL, or what failed. */
const char *runtime_open(void);

/* Starts the runtime with these as its standard streams. `directory` is absolute. -1 on failure. */
pid_t runtime_start(const char *directory, const int stdio[3]);

/* After its success: the pid of what it started; -1 when it left none. */
pid_t runtime_child(void);

/* Readable when the runtime has the terminal for us; -1 when there is none to wait for. */
int runtime_console(void);

/* The terminal's master; -1 when none came. */
int runtime_terminal(void);

/* Makes children (the runtime and its container) less likely victims of the OOM killer than we. */
void runtime_protect(void);

/* OOM kills in the control group since runtime_start. */
bool runtime_oom_killed(void);

#endif
