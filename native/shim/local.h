/* Records of the log driver `local`; log-file.c tells their layout. */
#ifndef CORACLE_SHIM_LOCAL_H
#define CORACLE_SHIM_LOCAL_H

#include <stdint.h>

enum { LOCAL_ATTRS = 0, LOCAL_PARTIAL = 1 };

struct __attribute__((packed)) local_header {
  uint32_t size;
  uint8_t kind;
  uint8_t flags;
  int64_t time_ns;
};

/* What `size` counts besides the bytes. */
enum { LOCAL_FIXED = sizeof(struct local_header) - sizeof(uint32_t) };

#endif
