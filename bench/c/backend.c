/* backend PORT...: an HTTP/1.1 server that costs as little as possible. One thread, epoll.
 *
 * /1k, /16k and /1m answer with bodies of that size, any other path with 13 bytes. Request bodies (Content-Length
 * or chunked) are read and dropped. Pipelining and `Connection: close` are understood. The header X-Backend says
 * which of the ports answered. It answers on every address of the loopback device, so that four ports stand for as many
 * backends as somebody has addresses for. */
#define _GNU_SOURCE
#include "net.h"
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/sendfile.h>

enum { MAX_PORTS = 8, SIZES = 4, SENDFILE_FROM = 65536 };
static const size_t body_sizes[SIZES] = {13, 1024, 16384, 1 << 20};

typedef struct {
  char *bytes;
  size_t length;
  int memfd; /* for sendfile; -1 for short answers */
} Answer;

typedef enum { HEAD, BODY, CHUNK_SIZE, CHUNK_DATA, CHUNK_END, TRAILER } State;

typedef struct {
  bool listening, open, close_after, writing;
  int port_index, size_index;
  State state;
  size_t to_skip;        /* of the body or of the chunk */
  char *held;            /* bytes that wait: a half head, or requests behind an answer that is still being sent */
  size_t held_length;
  const Answer *answer;  /* being sent */
  off_t sent;
} Connection;

typedef enum { SENT, BLOCKED, BROKEN } Sending;

static Answer answers[MAX_PORTS][SIZES][2]; /* [..][..][closing] */
static Connection *connections;
static int epoll;
static char received[1 << 18];

/* The body is a fixed sequence that the harness knows, so that it can check every byte. */
static char body_byte(size_t i, size_t length) {
  return i == length - 1 ? '\n' : "abcdefghijklmnopqrstuvwxyz0123456789"[(i * 7 + i / 36) % 36];
}

static int in_memory_file(const char *bytes, size_t length) {
  int fd = memfd_create("answer", 0);
  for (size_t done = 0; done < length;) {
    ssize_t written = write(fd, bytes + done, length - done);
    if (written <= 0) abort();
    done += written;
  }
  return fd;
}

static Answer render(int port_index, size_t body, bool closing) {
  char head[256];
  int head_length = snprintf(head, sizeof head,
    "HTTP/1.1 200 OK\r\nServer: be\r\nX-Backend: %d\r\nContent-Type: text/plain\r\n%sContent-Length: %zu\r\n\r\n",
    port_index, closing ? "Connection: close\r\n" : "", body);
  Answer answer = {.bytes = malloc(head_length + body), .length = head_length + body, .memfd = -1};
  memcpy(answer.bytes, head, head_length);
  for (size_t i = 0; i < body; i++) answer.bytes[head_length + i] = body_byte(i, body);
  if (body > SENDFILE_FROM) answer.memfd = in_memory_file(answer.bytes, answer.length);
  return answer;
}

static void watch(int operation, int fd, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  epoll_ctl(epoll, operation, fd, &event);
}

static void want_writing(int fd, bool writing) {
  if (connections[fd].writing == writing) return;
  connections[fd].writing = writing;
  watch(EPOLL_CTL_MOD, fd, writing ? EPOLLOUT : EPOLLIN);
}

static void close_connection(int fd) {
  free(connections[fd].held);
  memset(&connections[fd], 0, sizeof connections[fd]);
  close(fd);
}

static Sending send_answer(int fd) {
  Connection *c = &connections[fd];
  const Answer *a = c->answer;
  while (c->sent < (off_t)a->length) {
    ssize_t n = a->memfd >= 0 ? sendfile(fd, a->memfd, &c->sent, a->length - c->sent)
                              : send(fd, a->bytes + c->sent, a->length - c->sent, MSG_NOSIGNAL);
    if (n >= 0 && a->memfd < 0) c->sent += n; /* sendfile moves the offset itself */
    if (n < 0 && errno == EAGAIN) return want_writing(fd, true), BLOCKED;
    if (n < 0 && errno != EINTR) return BROKEN;
  }
  c->answer = NULL;
  return SENT;
}

static int size_index_of(const char *target) {
  if (!strncasecmp(target, "http://", 7)) { /* absolute form */
    target = strchrnul(target + 7, '/');
  }
  if (!strncmp(target, "/1k", 3)) return 1;
  if (!strncmp(target, "/16k", 4)) return 2;
  if (!strncmp(target, "/1m", 3)) return 3;
  return 0;
}

static void read_field(Connection *c, const char *line) {
  if (!strncasecmp(line, "content-length:", 15)) {
    c->to_skip = strtoul(line + 15, NULL, 10);
    if (c->state == HEAD && c->to_skip) c->state = BODY;
  } else if (!strncasecmp(line, "transfer-encoding:", 18)) {
    c->state = CHUNK_SIZE;
  } else if (!strncasecmp(line, "connection:", 11)) {
    c->close_after = !strncasecmp(line + 11 + strspn(line + 11, " "), "close", 5);
  }
}

static void complete(Connection *c) {
  c->answer = &answers[c->port_index][c->size_index][c->close_after];
  c->sent = 0;
  c->state = HEAD;
}

/* `end` points behind the last field line. */
static bool read_head(Connection *c, char *line, char *end) {
  char *target = memchr(line, ' ', end - line);
  if (!target) return false;
  c->size_index = size_index_of(target + 1);
  while ((line = memchr(line, '\n', end - line)) && ++line < end) {
    char first = *line | 0x20; /* most fields need no further look */
    if (first == 'c' || first == 't') read_field(c, line);
  }
  if (c->state == HEAD) complete(c);
  return true;
}

/* After a chunk's size, its data, or the last chunk. */
static void read_chunk_line(Connection *c, const char *line) {
  if (c->state == CHUNK_SIZE) {
    c->to_skip = strtoul(line, NULL, 16);
    c->state = c->to_skip ? CHUNK_DATA : TRAILER;
  } else if (c->state == CHUNK_END) {
    c->state = CHUNK_SIZE;
  } else if (*line == '\r' || *line == '\n') {
    complete(c);
  }
}

static char *skip(Connection *c, char *from, char *end) {
  size_t there = end - from, step = there < c->to_skip ? there : c->to_skip;
  c->to_skip -= step;
  if (!c->to_skip && c->state == BODY) complete(c);
  else if (!c->to_skip) c->state = CHUNK_END;
  return from + step;
}

/* Reads until a request is complete (`answer` is set) or bytes are missing. Returns where it stopped; NULL: not HTTP. */
static char *parse(Connection *c, char *from, char *end) {
  while (from < end && !c->answer) {
    if (c->state == BODY || c->state == CHUNK_DATA) {
      from = skip(c, from, end);
    } else if (c->state == HEAD) {
      char *blank = memmem(from, end - from, "\r\n\r\n", 4);
      if (!blank) return from;
      if (!read_head(c, from, blank + 2)) return NULL;
      from = blank + 4;
    } else {
      char *newline = memchr(from, '\n', end - from);
      if (!newline) return from;
      read_chunk_line(c, from);
      from = newline + 1;
    }
  }
  return from;
}

static void hold(Connection *c, const char *bytes, size_t length) {
  c->held = malloc(length);
  c->held_length = length;
  memcpy(c->held, bytes, length);
}

/* Takes the held bytes, with the new ones behind them. */
static char *join_held(Connection *c, const char *bytes, size_t *length) {
  char *joined = realloc(c->held, c->held_length + *length);
  memcpy(joined + c->held_length, bytes, *length);
  *length += c->held_length;
  c->held = NULL;
  c->held_length = 0;
  return joined;
}

/* Answers every request in the bytes, as far as the socket takes the answers. False: close. */
static bool serve(int fd, char *bytes, size_t length) {
  Connection *c = &connections[fd];
  char *joined = c->held_length ? join_held(c, bytes, &length) : NULL;
  char *from = joined ? joined : bytes, *end = from + length;
  bool alive = true;
  while (alive && (from = parse(c, from, end)) && c->answer) {
    bool closing = c->close_after;
    Sending outcome = send_answer(fd);
    if (outcome == BLOCKED) break;
    alive = outcome == SENT && !closing;
  }
  if (!from) alive = false;
  if (alive && from < end) hold(c, from, end - from);
  free(joined);
  return alive;
}

static void accept_all(int listener) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    connections[fd] = (Connection){.open = true, .port_index = connections[listener].port_index};
    watch(EPOLL_CTL_ADD, fd, EPOLLIN);
  }
}

static bool go_on_writing(int fd, unsigned events) {
  if (events & (EPOLLERR | EPOLLHUP)) return false;
  Sending outcome = send_answer(fd);
  if (outcome == BLOCKED) return true;
  if (outcome == BROKEN || connections[fd].close_after) return false;
  want_writing(fd, false);
  return serve(fd, received, 0);
}

static bool read_more(int fd) {
  ssize_t got = recv(fd, received, sizeof received, 0);
  if (got < 0 && errno == EAGAIN) return true;
  return got > 0 && serve(fd, received, got);
}

static void handle(int fd, unsigned events) {
  Connection *c = &connections[fd];
  if (c->listening) accept_all(fd);
  else if (c->open && !(c->answer ? go_on_writing(fd, events) : read_more(fd))) close_connection(fd);
}

static void open_port(int index, int port) {
  int fd = listen_on(port, true);
  connections[fd] = (Connection){.listening = true, .port_index = index};
  for (int size = 0; size < SIZES; size++)
    for (int closing = 0; closing < 2; closing++) answers[index][size][closing] = render(index, body_sizes[size], closing);
  watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

int main(int argc, char **argv) {
  struct epoll_event events[512];
  signal(SIGPIPE, SIG_IGN);
  connections = calloc(MAX_FDS, sizeof *connections);
  epoll = epoll_create1(0);
  for (int i = 1; i < argc && i <= MAX_PORTS; i++) open_port(i - 1, atoi(argv[i]));
  for (;;) {
    int ready = epoll_wait(epoll, events, 512, -1);
    for (int i = 0; i < ready; i++) handle(events[i].data.fd, events[i].events);
  }
}
