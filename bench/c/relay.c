/* relay PORT READ_SIZE BACKEND...
 *
 * The limit: bytes in, bytes out, nothing parsed. One thread, level-triggered epoll: recv, send, recv, send per request and little else.
 * What a balancer costs above this, it spends on understanding HTTP.
 *
 * A backend is a port, and each client connection has a backend connection of its own, chosen in turn. Or it is ADDRESS:PORT; then each
 * request goes to the next backend, over a connection that is kept: a client that speaks after it was answered begins one. That holds where nobody asks for
 * more before the whole answer is there, and shows what so many sockets cost by themselves. */
#define _GNU_SOURCE
#include "net.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

/* One end of a relayed connection. `pending` is what this end could not take yet; while it is set the peer is not read.
 * A backend's that rests has no peer; `next` is another that rests there. */
typedef struct {
  int peer, next;
  unsigned backend;  /* its number, of a backend's end */
  bool client, answered, rests;
  char *pending;
  size_t length, sent;
} End;

static End *ends;
static char buffer[1 << 20];
static size_t read_size;
static int epoll, listener;

/* `resting` is the first of its connections that rest. */
typedef struct {
  const char *host;
  int port, resting;
} Backend;

static Backend *backends;
static unsigned backend_count, turn;
static bool per_request;

static void watch(int operation, int fd, unsigned events) {
  struct epoll_event event = {.events = events, .data.fd = fd};
  epoll_ctl(epoll, operation, fd, &event);
}

static void close_end(int fd) {
  free(ends[fd].pending);
  memset(&ends[fd], 0, sizeof ends[fd]);
  close(fd);
}

static void close_both(int fd) {
  int peer = ends[fd].peer;
  close_end(fd);
  close_end(peer);
}

/* A connection to the next backend: one that rests where each request has its own. Below 0 where it does not connect. */
static int next_backend(void) {
  unsigned number = turn++ % backend_count;
  Backend *backend = &backends[number];
  int fd = backend->resting;
  if (fd) {
    backend->resting = ends[fd].next;
    ends[fd].rests = false;
    return fd;
  }
  fd = connect_to(backend->host, backend->port);
  if (fd < 0) return fd;
  fcntl(fd, F_SETFL, O_NONBLOCK);
  ends[fd].backend = number;
  watch(EPOLL_CTL_ADD, fd, EPOLLIN);
  return fd;
}

static void join(int client, int backend) {
  ends[client].peer = backend;
  ends[backend].peer = client;
  ends[client].answered = false;
}

static void pair_up(int client) {
  int backend = next_backend();
  if (backend < 0) {
    close(client);
    return;
  }
  ends[client].client = true;
  join(client, backend);
  watch(EPOLL_CTL_ADD, client, EPOLLIN);
}

static void rest(int fd) {
  Backend *backend = &backends[ends[fd].backend];
  ends[fd].peer = 0;
  ends[fd].rests = true;
  ends[fd].next = backend->resting;
  backend->resting = fd;
}

/* It ended, or speaks unasked. */
static void end_rest(int fd) {
  int *link = &backends[ends[fd].backend].resting;
  while (*link != fd) link = &ends[*link].next;
  *link = ends[fd].next;
  close_end(fd);
}

/* False: there is nobody to ask. */
static bool ask_the_next(int client) {
  rest(ends[client].peer);
  int backend = next_backend();
  if (backend < 0) {
    close_end(client);
    return false;
  }
  join(client, backend);
  return true;
}

static void accept_all(void) {
  int client;
  while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) pair_up(client);
}

static void hold(int from, int to, const char *bytes, size_t length) {
  End *end = &ends[to];
  end->pending = malloc(length);
  memcpy(end->pending, bytes, length);
  end->length = length;
  end->sent = 0;
  watch(EPOLL_CTL_MOD, from, 0);
  watch(EPOLL_CTL_MOD, to, EPOLLOUT);
}

static void drain(int fd) {
  End *end = &ends[fd];
  ssize_t sent = send(fd, end->pending + end->sent, end->length - end->sent, MSG_NOSIGNAL);
  if (sent < 0) {
    if (errno != EAGAIN) close_both(fd);
    return;
  }
  end->sent += sent;
  if (end->sent < end->length) return;
  free(end->pending);
  end->pending = NULL;
  watch(EPOLL_CTL_MOD, fd, EPOLLIN);
  watch(EPOLL_CTL_MOD, end->peer, EPOLLIN);
}

static void relay(int from) {
  ssize_t got = recv(from, buffer, read_size, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (per_request && got > 0) {
    if (!ends[from].client) ends[ends[from].peer].answered = true;
    else if (ends[from].answered && !ask_the_next(from)) return;
  }
  int to = ends[from].peer;
  ssize_t sent = got > 0 ? send(to, buffer, got, MSG_NOSIGNAL) : -1;
  if (got > 0 && sent < 0 && errno == EAGAIN) sent = 0;
  if (sent < 0) close_both(from);
  else if (sent < got) hold(from, to, buffer + sent, got - sent);
}

static void handle(int fd) {
  if (ends[fd].rests) end_rest(fd);
  else if (!ends[fd].peer) return; /* closed earlier in this batch */
  else if (ends[fd].pending) drain(fd);
  else if (!ends[ends[fd].peer].pending) relay(fd); /* else: a hang-up; the peer takes what is held first */
}

static void read_arguments(int argc, char **argv) {
  if (argc < 4 || (read_size = atol(argv[2])) > sizeof buffer) {
    fprintf(stderr, "usage: relay PORT READ_SIZE BACKEND...\n");
    exit(2);
  }
  backend_count = argc - 3;
  backends = calloc(backend_count, sizeof *backends);
  for (unsigned i = 0; i < backend_count; i++) {
    char *colon = strchr(argv[3 + i], ':');
    per_request |= colon != NULL;
    if (colon) *colon = 0;
    backends[i].host = colon ? argv[3 + i] : "127.0.0.1";
    backends[i].port = atoi(colon ? colon + 1 : argv[3 + i]);
  }
}

int main(int argc, char **argv) {
  struct epoll_event events[512];
  read_arguments(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  ends = calloc(MAX_FDS, sizeof *ends);
  epoll = epoll_create1(0);
  listener = listen_on(atoi(argv[1]), false);
  watch(EPOLL_CTL_ADD, listener, EPOLLIN);
  for (;;) {
    int ready = epoll_wait(epoll, events, 512, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd == listener) accept_all();
      else handle(events[i].data.fd);
    }
  }
}
