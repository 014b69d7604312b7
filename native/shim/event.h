/* What the shim tells the daemon: JSON objects, one a line. docs/shim.md lists them. */
#ifndef CORACLE_SHIM_EVENT_H
#define CORACLE_SHIM_EVENT_H

#include "base.h"

/* Leaves the object open. */
void event_begin(struct text *event, const char *type);
void event_number(struct text *event, const char *name, int64_t number);
void event_time(struct text *event, const char *name, int64_t time_ns);
/* A whole one: the runtime did not start the process. */
void event_failed(struct text *event, int status, const char *reason, size_t size);

#endif
