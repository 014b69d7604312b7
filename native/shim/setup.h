/*
 * From a child of the daemon's to a process that stands for itself. What cannot be set up is told to
 * the launcher, and is the end.
 */
#ifndef CORACLE_SHIM_SETUP_H
#define CORACLE_SHIM_SETUP_H

/* The launcher's connection. */
enum { LAUNCHER = 3, EVENT_MAX = 16 << 10, REASON_MAX = 2048, EXIT_USAGE = 125 };

/* With errno's words behind both. */
_Noreturn void give_up_saying(const char *before, const char *what);
_Noreturn void give_up(const char *what);

void setup_go_into_background(void);
/* A descriptor that tells of children which have ended; other signals do nothing from now on. */
int setup_signals(void);
int setup_null(int flags);
/* One that the container's process may open again. */
void setup_pipe(int ends[2]);
/* shim.sock in the present folder. */
int setup_listener(void);

#endif
