/*
 * Threads of libuv, which a library in a process of Node finds in it (uv.h). The types are pthread's, of
 * which the largest has 64 bytes anywhere.
 */
#ifndef UV_THREADS_H
#define UV_THREADS_H
#include <stdint.h>

typedef struct {
  _Alignas(16) uint8_t bytes[128];
} uv_object;
int uv_thread_create(uv_object *, void (*)(void *), void *);
int uv_thread_join(uv_object *);
int uv_mutex_init(uv_object *);
void uv_mutex_lock(uv_object *);
void uv_mutex_unlock(uv_object *);
void uv_mutex_destroy(uv_object *);
int uv_cond_init(uv_object *);
void uv_cond_wait(uv_object *, uv_object *mutex);
void uv_cond_signal(uv_object *);
void uv_cond_destroy(uv_object *);

#endif
