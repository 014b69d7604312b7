#include "outbox.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

/* For madvise: the largest pages that kernels have. */
static uint8_t frames[OUTBOX_MAX] __attribute__((aligned(64 << 10)));
static size_t end;

static size_t payload_size(const uint8_t *frame) {
  return (size_t)frame[4] << 24 | (size_t)frame[5] << 16 | (size_t)frame[6] << 8 | frame[7];
}

bool outbox_add(int stream, const uint8_t *bytes, size_t size) {
  if (OUTBOX_MAX - end < FRAME_HEADER + size) return false;
  const uint8_t header[FRAME_HEADER] = {
      (uint8_t)stream, 0, 0, 0,
      (uint8_t)(size >> 24), (uint8_t)(size >> 16), (uint8_t)(size >> 8), (uint8_t)size,
  };
  memcpy(frames + end, header, sizeof header);
  memcpy(frames + end + FRAME_HEADER, bytes, size);
  end += FRAME_HEADER + size;
  return true;
}

struct place outbox_end(void) {
  return (struct place){end, 0};
}

enum progress outbox_send(int fd, struct place *place, unsigned takes, bool raw) {
  bool moved = false;
  while (place->frame < end) {
    const uint8_t *frame = frames + place->frame;
    size_t total = FRAME_HEADER + payload_size(frame);
    if ((takes & 1u << frame[0]) != 0) {
      if (raw && place->sent < FRAME_HEADER) place->sent = FRAME_HEADER;
      while (place->sent < total) {
        ssize_t done = send(fd, frame + place->sent, total - place->sent,
                            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0 && errno != EAGAIN) return SEND_FAILED;
        if (done < 0) return moved ? SENT_SOME : SENT_NONE;
        place->sent += (size_t)done;
        moved = true;
      }
    }
    place->frame += total;
    place->sent = 0;
  }
  return SENT_ALL;
}

size_t outbox_trim(size_t lowest) {
  if (lowest == end) {
    /* The usual case: everybody has everything. */
    if (end > 2 * OUTBOX_HIGH) madvise(frames, sizeof frames, MADV_DONTNEED);
    end = 0;
    return lowest;
  }
  if (lowest < OUTBOX_HIGH) return 0;
  memmove(frames, frames + lowest, end - lowest);
  end -= lowest;
  return lowest;
}
