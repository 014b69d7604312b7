/* Reading what the driver journald wrote, by journalctl. */
#ifndef CORACLE_SHIM_JOURNAL_H
#define CORACLE_SHIM_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/*
 * Starts `journalctl` (setting journalctl) for the messages of the container (setting id), the last
 * `tail` of them (-1: all). Returns its output, or -1 with errno; `*pid` is its process.
 */
int journal_open(int64_t tail, bool follow, const bool *streams, pid_t *pid);

#endif
