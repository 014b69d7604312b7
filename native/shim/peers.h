/*
 * Connections to the shim's socket. The first line of each says what it is:
 *
 *   control          orders and events; see main.c
 *   attach [i][o][e] carries stdin, stdout, stderr; answered with one newline, then output follows
 *
 * The launcher's connection, which the shim inherits as descriptor 3, is a control one.
 */
#ifndef CORACLE_SHIM_PEERS_H
#define CORACLE_SHIM_PEERS_H

#include "base.h"

#include <poll.h>

#include "outbox.h"

enum { PEERS_MAX = 64, REQUEST_MAX = 64 };

/* What the supervisor does for its peers. */
struct peer_calls {
  /* A line of a control connection. */
  void (*request)(int peer, const char *line);
  /* A control connection that has just come. */
  void (*greet)(int peer);
};

void peers_open(const struct peer_calls *calls, bool raw, bool output_is_logged);
/* Takes over a connected socket as a control connection. */
void peers_adopt(int fd);
void peers_accept(int listener);

/* Sends an event to one control connection or to all; one that does not read is let go. */
void peer_tell(int peer, const struct text *text);
void peers_tell_all(const struct text *text);

/* Passes output on. `whatever` ignores who is behind; clients are let go only when it cannot fit. */
void peers_output(int stream, const uint8_t *bytes, size_t size);
/* False while some client is so far behind that the container has to wait. */
bool peers_have_room(void);

/* Where clients' input goes, and whether the end of one client's input is the end of it. */
void peers_set_stdin(int fd, bool once);
/* Nobody reads it any more: input is thrown away from now on. */
void peers_end_stdin(void);

int peers_count(bool control);
bool peers_full(void);
/* Ends the output side of every connection that has got everything. True when none is left. */
bool peers_finish(void);

/* Adds what to wait for; returns how many entries. */
int peers_poll(struct pollfd *fds);
/* Serves what poll found among those entries, then lets go whom it must. */
void peers_serve(const struct pollfd *fds, int count);
/* Milliseconds until the next check for stalled clients; -1 for none. */
int peers_timeout(void);

#endif
