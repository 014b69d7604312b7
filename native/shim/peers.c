#include "peers.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/*
 * A client that takes nothing for so long is cut off, if the output is logged as well. Where the
 * client is the only one who gets the output (an exec, or the driver none), it is waited for while
 * the process runs.
 */
enum { STALL_DEFAULT_MS = 300000, CLOSING_MAX_MS = 10000, INPUT_BYTES = 16 << 10 };

enum role { NONE, NEW, CONTROL, ATTACH };

struct peer {
  enum role role;
  int fd;
  unsigned takes; /* mask of 1 << stream */
  bool input_ended;
  bool hung_up;  /* closed by the other side; its last input may wait for room */
  bool finished; /* everything was sent and our side is shut */
  struct place place;
  int64_t progress_ns;
  size_t request_size;
  char request[REQUEST_MAX];
};

static struct peer peers[PEERS_MAX];
static const struct peer_calls *calls;
static bool is_raw, is_logged, is_closing;
static int64_t stall_ns;

static int input_fd = -1;
static bool input_once, input_closing, input_gone;
static uint8_t input[INPUT_BYTES];
static size_t input_size, input_sent;

void peers_open(const struct peer_calls *given, bool raw, bool output_is_logged) {
  calls = given;
  is_raw = raw;
  is_logged = output_is_logged;
  stall_ns = number_setting("stall-ms", STALL_DEFAULT_MS) * MILLISECOND_NS;
}

static struct peer *add_peer(int fd, enum role role) {
  for (int i = 0; i < PEERS_MAX; i++) {
    if (peers[i].role != NONE) continue;
    peers[i] = (struct peer){.role = role, .fd = fd};
    return &peers[i];
  }
  close(fd);
  return NULL;
}

static void drop(struct peer *peer) {
  close(peer->fd);
  peer->role = NONE;
}

void peers_adopt(int fd) {
  struct peer *peer = add_peer(fd, CONTROL);
  if (peer != NULL) calls->greet((int)(peer - peers));
}

void peers_accept(int listener) {
  int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
  if (fd >= 0) add_peer(fd, NEW);
}

bool peers_full(void) {
  for (int i = 0; i < PEERS_MAX; i++) {
    if (peers[i].role == NONE) return false;
  }
  return true;
}

int peers_count(bool control) {
  int count = 0;
  for (int i = 0; i < PEERS_MAX; i++) count += peers[i].role == (control ? CONTROL : ATTACH);
  return count;
}

/* --- control ---------------------------------------------------------------------------------- */

void peer_tell(int index, const struct text *text) {
  struct peer *peer = &peers[index];
  ssize_t sent = send(peer->fd, text->bytes, text->size, MSG_DONTWAIT | MSG_NOSIGNAL);
  /* Events are small; one that does not fit means that nobody reads them. */
  if (sent != (ssize_t)text->size) drop(peer);
}

void peers_tell_all(const struct text *text) {
  for (int i = 0; i < PEERS_MAX; i++) {
    if (peers[i].role == CONTROL) peer_tell(i, text);
  }
}

/* --- output ------------------------------------------------------------------------------------- */

static bool wants_output(const struct peer *peer) {
  return peer->role == ATTACH && (peer->takes & ~(1u << STDIN)) != 0 && !peer->finished;
}

static bool is_behind(const struct peer *peer) {
  return wants_output(peer) && peer->place.frame != outbox_end().frame;
}

static size_t lowest_place(void) {
  size_t lowest = outbox_end().frame;
  for (int i = 0; i < PEERS_MAX; i++) {
    if (wants_output(&peers[i]) && peers[i].place.frame < lowest) lowest = peers[i].place.frame;
  }
  return lowest;
}

static void trim(void) {
  size_t shift = outbox_trim(lowest_place());
  if (shift == 0) return;
  for (int i = 0; i < PEERS_MAX; i++) {
    if (wants_output(&peers[i])) peers[i].place.frame -= shift;
  }
}

static void pump(struct peer *peer) {
  enum progress progress = outbox_send(peer->fd, &peer->place, peer->takes, is_raw);
  if (progress == SEND_FAILED) {
    drop(peer);
  } else if (progress != SENT_NONE) {
    peer->progress_ns = clock_ns(CLOCK_MONOTONIC);
  }
}

static void drop_behind(void) {
  for (int i = 0; i < PEERS_MAX; i++) {
    if (is_behind(&peers[i])) drop(&peers[i]);
  }
}

void peers_output(int stream, const uint8_t *bytes, size_t size) {
  bool wanted = false;
  for (int i = 0; i < PEERS_MAX; i++) wanted |= wants_output(&peers[i]);
  if (!wanted) return;
  if (!outbox_add(stream, bytes, size)) {
    /* The last output of a container that had made its pipes larger than root may. */
    drop_behind();
    trim();
    if (!outbox_add(stream, bytes, size)) return;
  }
  for (int i = 0; i < PEERS_MAX; i++) {
    if (wants_output(&peers[i])) pump(&peers[i]);
  }
  trim();
}

bool peers_have_room(void) {
  return outbox_end().frame - lowest_place() < OUTBOX_HIGH;
}

static void drop_stalled(void) {
  int64_t now = clock_ns(CLOCK_MONOTONIC);
  for (int i = 0; i < PEERS_MAX; i++) {
    struct peer *peer = &peers[i];
    if (peer->role == NONE) continue;
    int64_t quiet = now - peer->progress_ns;
    bool stalled = is_behind(peer) && (is_logged || is_closing) && quiet > stall_ns;
    if (stalled || (peer->finished && quiet > CLOSING_MAX_MS * MILLISECOND_NS)) drop(peer);
  }
}

bool peers_finish(void) {
  is_closing = true;
  bool left = false;
  for (int i = 0; i < PEERS_MAX; i++) {
    struct peer *peer = &peers[i];
    if (peer->role == NEW) drop(peer);
    if (peer->role == NONE) continue;
    left = true;
    if (peer->finished || is_behind(peer)) continue;
    /* Not closed yet: input that still comes has to be taken, or the peer would see an error
       before it has read its last output. */
    shutdown(peer->fd, SHUT_WR);
    peer->finished = true;
    peer->progress_ns = clock_ns(CLOCK_MONOTONIC);
  }
  return !left;
}

int peers_timeout(void) {
  for (int i = 0; i < PEERS_MAX; i++) {
    if (peers[i].role != NONE && (is_behind(&peers[i]) || peers[i].finished)) {
      return stall_ns < SECOND_NS ? (int)(stall_ns / MILLISECOND_NS) + 1 : 1000;
    }
  }
  return -1;
}

/* --- input -------------------------------------------------------------------------------------- */

void peers_set_stdin(int fd, bool once) {
  input_fd = fd;
  input_once = once;
}

void peers_end_stdin(void) {
  if (input_fd >= 0 && !is_raw) close(input_fd);
  input_fd = -1;
  input_gone = true;
  input_size = input_sent = 0;
}

static void write_input(void) {
  while (input_sent < input_size) {
    ssize_t done = write(input_fd, input + input_sent, input_size - input_sent);
    if (done < 0 && errno == EINTR) continue;
    if (done < 0 && errno == EAGAIN) return;
    if (done < 0 && is_raw) break; /* a terminal that nobody has open: nobody types into it */
    if (done < 0) {
      peers_end_stdin(); /* EPIPE: the container closed its end */
      return;
    }
    input_sent += (size_t)done;
  }
  input_size = input_sent = 0;
  /* A terminal has no end of input: only a character that the line discipline may take for it. */
  if (input_closing && !is_raw) peers_end_stdin();
}

/* A client's input has to wait: for the container to take what is there, or to be started. */
static bool input_is_busy(void) {
  return !input_gone && (input_fd < 0 || input_size > 0);
}

static void end_input(struct peer *peer) {
  peer->input_ended = true;
  if ((peer->takes & 1u << STDIN) != 0 && input_once && input_fd >= 0) {
    input_closing = true;
    write_input();
  }
  if (peer->hung_up || !wants_output(peer)) drop(peer);
}

static void read_input(struct peer *peer) {
  bool is_input = (peer->takes & 1u << STDIN) != 0 && !input_gone;
  static uint8_t thrown_away[4096];
  uint8_t *into = is_input ? input : thrown_away;
  ssize_t size = recv(peer->fd, into, is_input ? sizeof input : sizeof thrown_away, MSG_DONTWAIT);
  if (size < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (size < 0) peer->hung_up = true;
  if (size <= 0) {
    end_input(peer);
  } else if (is_input) {
    input_size = (size_t)size;
    input_sent = 0;
    write_input();
  }
}

/* --- lines -------------------------------------------------------------------------------------- */

static void become(struct peer *peer, const char *line) {
  if (strcmp(line, "control") == 0) {
    peer->role = CONTROL;
    calls->greet((int)(peer - peers));
    return;
  }
  if (strncmp(line, "attach ", 7) != 0) {
    drop(peer);
    return;
  }
  peer->role = ATTACH;
  for (const char *letter = line + 7; *letter != '\0'; letter++) {
    if (*letter == 'i') peer->takes |= 1u << STDIN;
    if (*letter == 'o') peer->takes |= 1u << STDOUT;
    if (*letter == 'e') peer->takes |= 1u << STDERR;
  }
  peer->place = outbox_end();
  peer->progress_ns = clock_ns(CLOCK_MONOTONIC);
  if (send(peer->fd, "\n", 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1) drop(peer);
}

/* Takes one line, byte by byte: what follows the line may be a client's input. */
static void read_line(struct peer *peer) {
  for (;;) {
    char byte;
    ssize_t size = recv(peer->fd, &byte, 1, MSG_DONTWAIT);
    if (size < 0 && errno == EINTR) continue;
    if (size < 0 && errno == EAGAIN) return;
    if (size <= 0) {
      drop(peer);
      return;
    }
    if (byte == '\n') break;
    if (peer->request_size == REQUEST_MAX - 1) {
      drop(peer); /* no request is so long */
      return;
    }
    peer->request[peer->request_size++] = byte;
  }
  peer->request[peer->request_size] = '\0';
  peer->request_size = 0;
  if (peer->role == NEW) {
    become(peer, peer->request);
  } else {
    calls->request((int)(peer - peers), peer->request);
  }
}

/* --- poll --------------------------------------------------------------------------------------- */

int peers_poll(struct pollfd *fds) {
  int count = 0;
  for (int i = 0; i < PEERS_MAX; i++) {
    const struct peer *peer = &peers[i];
    short events = 0;
    if (peer->role == NONE) continue;
    bool takes_input = (peer->takes & 1u << STDIN) != 0;
    bool must_wait = peer->role == ATTACH && takes_input && input_is_busy();
    if (!peer->input_ended && !must_wait) events |= POLLIN;
    if (is_behind(peer)) events |= POLLOUT;
    /* poll always tells of a hang-up; who is known to have hung up and must wait is left out. */
    bool left_out = peer->hung_up && must_wait;
    fds[count++] = (struct pollfd){.fd = left_out ? -1 : peer->fd, .events = events};
  }
  if (input_size > 0 && input_fd >= 0) {
    fds[count++] = (struct pollfd){.fd = input_fd, .events = POLLOUT};
  }
  return count;
}

static struct peer *find_peer(int fd) {
  for (int i = 0; i < PEERS_MAX; i++) {
    if (peers[i].role != NONE && peers[i].fd == fd) return &peers[i];
  }
  return NULL;
}

static void serve(struct peer *peer, short events) {
  if ((events & (POLLHUP | POLLERR)) != 0) peer->hung_up = true;
  if ((events & POLLOUT) != 0) {
    pump(peer);
    if (peer->role == NONE) return;
  }
  if ((events & POLLIN) != 0) {
    if (peer->role == ATTACH) {
      read_input(peer);
    } else {
      read_line(peer);
    }
    return;
  }
  if (!peer->hung_up) return;
  /* The last of a client's input is taken before it is let go. */
  bool waits = (peer->takes & 1u << STDIN) != 0 && !peer->input_ended && input_is_busy();
  if (!waits) drop(peer);
}

void peers_serve(const struct pollfd *fds, int count) {
  for (int i = 0; i < count; i++) {
    if (fds[i].fd < 0 || fds[i].revents == 0) continue;
    if (fds[i].fd == input_fd && fds[i].events == POLLOUT) {
      write_input();
      continue;
    }
    struct peer *peer = find_peer(fds[i].fd);
    if (peer != NULL) serve(peer, fds[i].revents);
  }
  drop_stalled();
  trim();
}
