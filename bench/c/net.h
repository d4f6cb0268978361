/* Sockets as the load generator, the backend and the relay want them. Loopback, IPv4. */
#ifndef BENCH_NET_H
#define BENCH_NET_H
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_FDS = 1 << 20 };

static inline double now_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}

static inline struct sockaddr_in address_of(const char *host, int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  inet_pton(AF_INET, host, &address.sin_addr);
  return address;
}

static inline void set_nodelay(int fd) {
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

/* Accepted sockets inherit TCP_NODELAY from the listener, which saves a call per connection.
 * `everywhere`: on every address of the loopback device, and on no other device. */
static inline int listen_on(int port, bool everywhere) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
  struct sockaddr_in address = address_of(everywhere ? "0.0.0.0" : "127.0.0.1", port);
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  set_nodelay(fd);
  if (everywhere && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", 2)) {
    perror("SO_BINDTODEVICE");
    exit(1);
  }
  if (bind(fd, (void *)&address, sizeof address) || listen(fd, 65535)) {
    perror("listen");
    exit(1);
  }
  return fd;
}

static inline int connect_to(const char *host, int port) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = address_of(host, port);
  if (fd < 0 || connect(fd, (void *)&address, sizeof address)) {
    perror("connect");
    if (fd >= 0) close(fd);
    return -1;
  }
  set_nodelay(fd);
  return fd;
}
#endif
