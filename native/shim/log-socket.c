/*
 * The drivers journald and syslog: messages to another program's socket. Options:
 *
 *   journald   SOCKET=PATH (systemd's), and each other KEY=VALUE is a field of every entry
 *   syslog     network=udp|tcp|unix|unixgram  address=IP or path  port=N
 *              facility=N  tag=TEXT  hostname=TEXT  format=|rfc3164|rfc5424|rfc5424micro
 *
 * Blocking mode waits for a slow receiver, but not for ever: after SEND_TIMEOUT a message is
 * dropped, so that a hung log service does not hang the container.
 *
 * Source: systemd.io/JOURNAL_NATIVE_PROTOCOL, RFC 3164, RFC 5424, RFC 6587 (newline framing).
 */
#include "log.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { SEND_TIMEOUT_SECONDS = 5, PREFIX_MAX = 64 << 10, PRIORITY_ERROR = 3, PRIORITY_INFO = 6 };
static const int64_t RECONNECT_NS = 1000000000;

static int peer = -1;
static char prefix_bytes[PREFIX_MAX];
static struct text prefix = {prefix_bytes, 0, sizeof prefix_bytes, false};

static int new_socket(int domain, int type) {
  int fd = socket(domain, type | SOCK_CLOEXEC, 0);
  struct timeval timeout = {.tv_sec = SEND_TIMEOUT_SECONDS};
  if (fd >= 0) setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
  return fd;
}

static bool unix_address(struct sockaddr_un *address, const char *path) {
  *address = (struct sockaddr_un){.sun_family = AF_UNIX};
  if (strlen(path) >= sizeof address->sun_path) {
    errno = ENAMETOOLONG;
    return false;
  }
  strcpy(address->sun_path, path);
  return true;
}

/* --- journald ------------------------------------------------------------------------------- */

static struct sockaddr_un journal;

/* The form with a length, which takes any bytes. */
static void put_field(struct text *text, const char *name, size_t name_size, const char *value) {
  uint64_t size = htole64(strlen(value));
  put_bytes(text, name, name_size);
  put(text, "\n");
  put_bytes(text, &size, sizeof size);
  put(text, value);
  put(text, "\n");
}

static const char *open_journald(void) {
  const char *path = log_option("SOCKET", "/run/systemd/journal/socket");
  if (!unix_address(&journal, path)) return path;
  int at = 0;
  const char *option;
  prefix.size = 0;
  while ((option = next_setting("log-option", &at)) != NULL) {
    const char *value = strchr(option, '=');
    if (value == NULL || strncmp(option, "SOCKET=", 7) == 0) continue;
    put_field(&prefix, option, (size_t)(value - option), value + 1);
  }
  if (prefix.full) {
    errno = E2BIG;
    return "fields of journald";
  }
  peer = new_socket(AF_UNIX, SOCK_DGRAM);
  if (peer < 0) return "socket";
  /* Found now, so that a host without journald says so when the container is started. */
  if (access(path, W_OK) < 0) return path;
  return NULL;
}

static void journald_line(const struct line *line) {
  char middle_bytes[160];
  struct text middle = {middle_bytes, 0, sizeof middle_bytes, false};
  put(&middle, "PRIORITY=");
  put_number(&middle, line->stream == STDERR ? PRIORITY_ERROR : PRIORITY_INFO);
  put(&middle, "\nSYSLOG_TIMESTAMP=");
  put_time(&middle, line->time_ns, false);
  put(&middle, line->partial ? "\nCONTAINER_PARTIAL_MESSAGE=true\nMESSAGE\n" : "\nMESSAGE\n");
  uint64_t size = htole64(line->size);
  put_bytes(&middle, &size, sizeof size);
  struct iovec parts[] = {
      {prefix.bytes, prefix.size},
      {middle.bytes, middle.size},
      {(void *)line->bytes, line->size},
      {(char[]){'\n'}, 1},
  };
  struct msghdr message = {
      .msg_name = &journal, .msg_namelen = sizeof journal, .msg_iov = parts, .msg_iovlen = 4};
  /* Unconnected: it finds the journald that is there after a restart of it. */
  while (sendmsg(peer, &message, MSG_NOSIGNAL) < 0 && errno == EINTR) continue;
}

/* --- syslog --------------------------------------------------------------------------------- */

static union {
  struct sockaddr any;
  struct sockaddr_un local;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
} server;
static socklen_t server_size;
static int server_type;
static bool is_stream;
static int facility;
static const char *tag, *hostname, *format;
static int64_t next_try_ns;

static bool find_server(void) {
  const char *network = log_option("network", "unixgram");
  const char *address = log_option("address", "/dev/log");
  uint16_t port = htons((uint16_t)strtoul(log_option("port", "514"), NULL, 10));
  is_stream = strcmp(network, "tcp") == 0 || strcmp(network, "unix") == 0;
  server_type = is_stream ? SOCK_STREAM : SOCK_DGRAM;
  if (strncmp(network, "unix", 4) == 0) {
    server_size = sizeof server.local;
    return unix_address(&server.local, address);
  }
  if (inet_pton(AF_INET, address, &server.v4.sin_addr) == 1) {
    server.v4.sin_family = AF_INET;
    server.v4.sin_port = port;
    server_size = sizeof server.v4;
    return true;
  }
  server.v6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = port};
  server_size = sizeof server.v6;
  if (inet_pton(AF_INET6, address, &server.v6.sin6_addr) == 1) return true;
  errno = EADDRNOTAVAIL;
  return false;
}

static bool connect_server(void) {
  peer = new_socket(server.any.sa_family, server_type);
  if (peer < 0) return false;
  if (connect(peer, &server.any, server_size) == 0) return true;
  int cause = errno;
  close(peer);
  peer = -1;
  errno = cause;
  next_try_ns = clock_ns(CLOCK_MONOTONIC) + RECONNECT_NS;
  return false;
}

static const char *open_syslog(void) {
  facility = atoi(log_option("facility", "3"));
  tag = log_option("tag", "");
  hostname = log_option("hostname", "localhost");
  format = log_option("format", "");
  tzset(); /* reads the zone once; localtime_r allocates nothing after that */
  if (!find_server() || !connect_server()) return log_option("address", "/dev/log");
  return NULL;
}

/* `Jan _2 15:04:05` in local time, as RFC 3164 wants it. */
static void put_stamp(struct text *text, int64_t time_ns) {
  time_t seconds = (time_t)(time_ns / SECOND_NS);
  struct tm local;
  localtime_r(&seconds, &local);
  put_bytes(text, &"JanFebMarAprMayJunJulAugSepOctNovDec"[3 * local.tm_mon], 3);
  put(text, local.tm_mday < 10 ? "  " : " ");
  put_number(text, local.tm_mday);
  put(text, " ");
  put_padded(text, (uint64_t)local.tm_hour, 2);
  put(text, ":");
  put_padded(text, (uint64_t)local.tm_min, 2);
  put(text, ":");
  put_padded(text, (uint64_t)local.tm_sec, 2);
}

static void put_words(struct text *text, const char *first, const char *second) {
  put(text, " ");
  put(text, first);
  put(text, " ");
  put(text, second);
}

static void put_syslog_header(struct text *text, const struct line *line) {
  bool modern = strncmp(format, "rfc5424", 7) == 0;
  put(text, "<");
  put_number(text, facility << 3 | (line->stream == STDERR ? PRIORITY_ERROR : PRIORITY_INFO));
  put(text, modern ? ">1 " : ">");
  if (modern) {
    int64_t unit = strcmp(format, "rfc5424micro") == 0 ? 1000 : SECOND_NS;
    put_time(text, line->time_ns - line->time_ns % unit, false);
    put_words(text, hostname, tag);
    put(text, " ");
    put_number(text, getpid());
    put(text, " ");
    put(text, tag);
    put(text, " - ");
    return;
  }
  put_stamp(text, line->time_ns);
  if (strcmp(format, "rfc3164") == 0) {
    put_words(text, hostname, tag);
  } else {
    put(text, " ");
    put(text, tag);
  }
  put(text, "[");
  put_number(text, getpid());
  put(text, "]: ");
}

/* One message in one piece; false when the connection is not to be used further. */
static bool send_message(const struct iovec *parts, int count) {
  size_t size = 0;
  for (int i = 0; i < count; i++) size += parts[i].iov_len;
  struct msghdr message = {.msg_iov = (struct iovec *)parts, .msg_iovlen = (size_t)count};
  ssize_t sent;
  do sent = sendmsg(peer, &message, MSG_NOSIGNAL);
  while (sent < 0 && errno == EINTR);
  /* Half a message on a stream would spoil the next one. */
  return sent == (ssize_t)size;
}

static void syslog_line(const struct line *line) {
  static char header_bytes[4096];
  struct text header = {header_bytes, 0, sizeof header_bytes, false};
  put_syslog_header(&header, line);
  struct iovec parts[] = {
      {header.bytes, header.size}, {(void *)line->bytes, line->size}, {(char[]){'\n'}, 1}};
  for (int attempt = 0; attempt < 2; attempt++) {
    if (peer < 0 && (clock_ns(CLOCK_MONOTONIC) < next_try_ns || !connect_server())) return;
    if (send_message(parts, 3)) return;
    close(peer);
    peer = -1;
  }
}

static void flush_nothing(void) {}

static void close_peer(void) {
  if (peer >= 0) close(peer);
  peer = -1;
}

const struct sink journald_sink = {open_journald, journald_line, flush_nothing, close_peer};
const struct sink syslog_sink = {open_syslog, syslog_line, flush_nothing, close_peer};
