/* relay PORT READ_SIZE BACKEND_PORT...
 *
 * The limit: bytes in, bytes out, nothing parsed. Each client connection has a backend connection of its own,
 * chosen in turn. One thread, level-triggered epoll: recv, send, recv, send per request and little else.
 * What a balancer costs above this, it spends on understanding HTTP. */
#define _GNU_SOURCE
#include "net.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

/* One end of a relayed connection. `pending` is what this end could not take yet; while it is set the peer is not read. */
typedef struct {
  int peer;
  char *pending;
  size_t length, sent;
} End;

static End *ends;
static char buffer[1 << 20];
static size_t read_size;
static int epoll, *backend_ports, backend_count;

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

static void pair_up(int client) {
  static unsigned turn;
  int backend = connect_to("127.0.0.1", backend_ports[turn++ % backend_count]);
  if (backend < 0) {
    close(client);
    return;
  }
  fcntl(backend, F_SETFL, O_NONBLOCK);
  ends[client].peer = backend;
  ends[backend].peer = client;
  watch(EPOLL_CTL_ADD, client, EPOLLIN);
  watch(EPOLL_CTL_ADD, backend, EPOLLIN);
}

static void accept_all(int listener) {
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
  int to = ends[from].peer;
  ssize_t got = recv(from, buffer, read_size, 0);
  if (got < 0 && errno == EAGAIN) return;
  ssize_t sent = got > 0 ? send(to, buffer, got, MSG_NOSIGNAL) : -1;
  if (got > 0 && sent < 0 && errno == EAGAIN) sent = 0;
  if (sent < 0) close_both(from);
  else if (sent < got) hold(from, to, buffer + sent, got - sent);
}

static void handle(int fd) {
  if (!ends[fd].peer) return; /* closed earlier in this batch */
  if (ends[fd].pending) drain(fd);
  else if (!ends[ends[fd].peer].pending) relay(fd); /* else: a hang-up; the peer takes what is held first */
}

static void read_arguments(int argc, char **argv) {
  if (argc < 4 || (read_size = atol(argv[2])) > sizeof buffer) {
    fprintf(stderr, "usage: relay PORT READ_SIZE BACKEND_PORT...\n");
    exit(2);
  }
  backend_count = argc - 3;
  backend_ports = calloc(backend_count, sizeof *backend_ports);
  for (int i = 0; i < backend_count; i++) backend_ports[i] = atoi(argv[3 + i]);
}

int main(int argc, char **argv) {
  struct epoll_event events[512];
  read_arguments(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  ends = calloc(MAX_FDS, sizeof *ends);
  epoll = epoll_create1(0);
  int listener = listen_on(atoi(argv[1]), false);
  watch(EPOLL_CTL_ADD, listener, EPOLLIN);
  for (;;) {
    int ready = epoll_wait(epoll, events, 512, -1);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.fd == listener) accept_all(listener);
      else handle(events[i].data.fd);
    }
  }
}
