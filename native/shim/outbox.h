/*
 * Output on its way to attached clients: frames one after the other in one buffer, in which each
 * client has a place of its own. A client that is behind holds back the reading of the container's
 * pipes once OUTBOX_HIGH bytes wait for it; only what is left in the pipes when the container has
 * ended is taken in whole, so that an end never waits for a client.
 *
 * A frame is Docker's: u8 stream, three zeros, u32 size (big endian), bytes. A terminal's clients
 * get the bytes alone.
 */
#ifndef CORACLE_SHIM_OUTBOX_H
#define CORACLE_SHIM_OUTBOX_H

#include "base.h"

/* Untouched pages of the buffer cost nothing. Two pipes hold 1 MiB each at the most. */
enum { FRAME_HEADER = 8, OUTBOX_HIGH = 64 << 10, OUTBOX_MAX = 3 << 20 };

/* A client's place: the frame that is next, and how much of it was sent. */
struct place {
  size_t frame;
  size_t sent;
};

enum progress { SENT_ALL, SENT_SOME, SENT_NONE, SEND_FAILED };

/* False when it does not fit. */
bool outbox_add(int stream, const uint8_t *bytes, size_t size);
/* Where a client begins that wants what comes from now on. */
struct place outbox_end(void);
/* Sends without blocking what the client takes (a mask of 1 << stream). */
enum progress outbox_send(int fd, struct place *place, unsigned takes, bool raw);
/* Drops what lies before `lowest`, when that is worth it; returns what to subtract from each place. */
size_t outbox_trim(size_t lowest);

#endif
