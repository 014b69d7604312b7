#include "event.h"

#include "json.h"

void event_number(struct text *event, const char *name, int64_t number) {
  put(event, ",\"");
  put(event, name);
  put(event, "\":");
  put_number(event, number);
}

/* Nanoseconds do not fit a JavaScript number: they travel as a string. */
void event_time(struct text *event, const char *name, int64_t time_ns) {
  put(event, ",\"");
  put(event, name);
  put(event, "\":\"");
  put_number(event, time_ns);
  put(event, "\"");
}

void event_begin(struct text *event, const char *type) {
  put(event, "{\"type\":\"");
  put(event, type);
  put(event, "\"");
}

void event_failed(struct text *event, int status, const char *reason, size_t size) {
  event_begin(event, "failed");
  event_number(event, "status", status);
  put(event, ",\"reason\":\"");
  put_json(event, (const uint8_t *)reason, size);
  put(event, "\"}\n");
}
