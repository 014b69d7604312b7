/*
 * Packs the newest rotated file of a log, PATH.1 into PATH.1.gz, in a process of its own, so that
 * the container goes on. It is written beside, synced and renamed before PATH.1 goes: whatever is
 * killed and whenever, one of the two is there, whole. Nothing renames files of the log meanwhile.
 */
#ifndef CORACLE_SHIM_PACK_H
#define CORACLE_SHIM_PACK_H

#include "base.h"

#include <sys/types.h>

void pack_start(const char *path);
/* Waits until it is done. */
void pack_finish(void);
/* Gives it up; PATH.1 stays as it was. */
void pack_abandon(void);
/* Told of each child that somebody else has waited for. */
void pack_reaped(pid_t pid);

#endif
