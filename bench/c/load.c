/* load HOST PORT[,PORT] PATH CONNECTIONS THREADS SECONDS [RATE]
 *
 * HTTP/1.1 GET load that throws bodies away inside the kernel (MSG_TRUNC), so that a 1 MiB answer does not make the
 * client the bottleneck. Without RATE each connection asks again as soon as it is answered. With it requests become
 * due at random (exponential gaps, the same in every run) and are counted from when they were due, whether or not a
 * connection was free: a proxy that stalls cannot hide the requests that it kept from being sent. The threads then
 * never sleep, so that no request is late for the client's own sake. Prints one JSON object; times in microseconds.
 *
 * With two ports each has connections and a rate of its own, and a JSON object in a list: what takes the core from this program shows in both,
 * what one of those asked does in one. */
#define _GNU_SOURCE
#include "net.h"
#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>

enum { HISTOGRAM_US = 2000000, HEAD_MAX = 4096, TRASH = 1 << 20, LATE_US = 5000, PORTS_MOST = 2 };
static const double LAST_ANSWERS = 2; /* seconds that open requests may still take when the time is up */

typedef struct Connection Connection;

/* What one port is asked by one thread, and what came of it. */
typedef struct {
  int port, connections, resting;
  unsigned long requests, bytes, errors, late;
  double longest, due;
  unsigned *histogram;
  Connection **rest; /* connections that wait for a request to become due */
} Way;

struct Connection {
  Way *way;
  int fd;
  bool rests; /* is in `rest` */
  char head[HEAD_MAX];
  size_t head_length;
  long body_left; /* -1 while the head is not complete */
  double started;
};

typedef struct {
  pthread_t thread;
  int epoll;
  Way ways[PORTS_MOST];
  uint64_t chance;
} Worker;

static const char *host, *path;
static int ports, threads;
static double seconds, rate;
static char request[512];
static size_t request_length;

static bool send_request(Connection *c, double due) {
  c->started = due;
  c->rests = false;
  c->body_left = -1;
  c->head_length = 0;
  return send(c->fd, request, request_length, MSG_NOSIGNAL) == (ssize_t)request_length;
}

static void open_connection(Worker *w, Connection *c) {
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
  c->fd = connect_to(host, c->way->port);
  if (c->fd < 0) exit(1);
  epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &event);
}

/* What the connection does next: it asks again, or rests. */
static void go_on(Connection *c) {
  if (rate) {
    c->rests = true;
    c->way->rest[c->way->resting++] = c;
  } else send_request(c, now_seconds());
}

static void reopen(Worker *w, Connection *c) {
  c->way->errors++;
  close(c->fd);
  open_connection(w, c);
  go_on(c);
}

static bool parse_head(Connection *c) {
  c->head[c->head_length] = 0;
  char *end = strstr(c->head, "\r\n\r\n"), *length = strcasestr(c->head, "content-length:");
  if (!end) return true;
  if (!length || strncmp(c->head + 9, "200", 3)) return false;
  c->body_left = strtol(length + 15, NULL, 10) - (c->head_length - (end + 4 - c->head));
  return true;
}

/* Reads once. False: broken. */
static bool receive(Connection *c) {
  static __thread char trash[TRASH];
  bool in_head = c->body_left < 0;
  size_t most = c->body_left < TRASH ? (size_t)c->body_left : TRASH;
  ssize_t got = in_head ? recv(c->fd, c->head + c->head_length, HEAD_MAX - 1 - c->head_length, MSG_DONTWAIT)
                        : recv(c->fd, trash, most, MSG_DONTWAIT | MSG_TRUNC);
  if (got < 0 && errno == EAGAIN) return true;
  if (got <= 0) return false;
  c->way->bytes += got;
  if (!in_head) return c->body_left -= got, true;
  c->head_length += got;
  return parse_head(c);
}

static void count(const Connection *c) {
  Way *w = c->way;
  double us = (now_seconds() - c->started) * 1e6;
  w->requests++;
  w->histogram[us < HISTOGRAM_US ? (int)us : HISTOGRAM_US - 1]++;
  if (us > LATE_US) w->late++;
  if (us > w->longest) w->longest = us;
}

/* One that rests owes nothing, and is owed nothing: who ends it for being silent ends no request. It keeps its place in `rest`. */
static void renew(Worker *w, Connection *c) {
  close(c->fd);
  open_connection(w, c);
}

static void handle(Worker *w, Connection *c) {
  if (c->rests) return renew(w, c);
  if (!receive(c)) return reopen(w, c);
  if (c->body_left != 0) return;
  count(c);
  go_on(c);
}

/* Seconds to the next request, by xorshift. */
static double gap(Worker *w) {
  w->chance ^= w->chance << 13;
  w->chance ^= w->chance >> 7;
  w->chance ^= w->chance << 17;
  return -log((w->chance >> 11) * 0x1p-53 + 0x1p-54) * threads / rate;
}

static void handle_ready(Worker *w, int timeout) {
  struct epoll_event events[128];
  int ready = epoll_wait(w->epoll, events, 128, timeout);
  for (int i = 0; i < ready; i++) handle(w, events[i].data.ptr);
}

/* Sends what is due there, of which one that stalls keeps nothing from the other. False: all has been sent, and answered. */
static bool goes_on(Worker *w, Way *way, double end) {
  while (way->due < end && way->due <= now_seconds() && way->resting) {
    Connection *c = way->rest[--way->resting];
    if (!send_request(c, way->due)) reopen(w, c);
    way->due += gap(w);
  }
  return way->due < end || way->resting < way->connections;
}

static void at_a_rate(Worker *w, double start) {
  double end = start + seconds;
  for (int i = 0; i < ports; i++) w->ways[i].due = start;
  for (bool more = true; more && now_seconds() < end + LAST_ANSWERS;) {
    more = false;
    for (int i = 0; i < ports; i++) more |= goes_on(w, &w->ways[i], end);
    if (more) handle_ready(w, 0);
  }
  for (int i = 0; i < ports; i++) w->ways[i].errors += w->ways[i].connections - w->ways[i].resting;
}

static void one_after_another(Worker *w, double start) {
  while (now_seconds() < start + seconds) handle_ready(w, 100);
}

static void open_all(Worker *w, Way *way) {
  Connection *connections = calloc(way->connections, sizeof *connections);
  way->histogram = calloc(HISTOGRAM_US, sizeof *way->histogram);
  way->rest = calloc(way->connections, sizeof *way->rest);
  for (int i = 0; i < way->connections; i++) connections[i].way = way, open_connection(w, &connections[i]);
  for (int i = 0; i < way->connections; i++) go_on(&connections[i]);
}

static void *run(void *argument) {
  Worker *w = argument;
  w->epoll = epoll_create1(0);
  for (int i = 0; i < ports; i++) open_all(w, &w->ways[i]);
  (rate ? at_a_rate : one_after_another)(w, now_seconds());
  return NULL;
}

static int quantile(const Way *w, double q) {
  unsigned long seen = 0;
  for (int us = 0; us < HISTOGRAM_US; us++)
    if ((seen += w->histogram[us]) >= w->requests * q) return us;
  return HISTOGRAM_US;
}

static void report(const Way *w, double elapsed) {
  printf("{\"reqs\":%lu,\"errs\":%lu,\"rps\":%.1f,\"MBps\":%.1f,\"late\":%lu,\"p50\":%d,\"p99\":%d,\"p999\":%d,\"longest\":%.0f}",
    w->requests, w->errors, w->requests / elapsed, w->bytes / elapsed / 1e6, w->late,
    quantile(w, 0.5), quantile(w, 0.99), quantile(w, 0.999), w->longest);
}

static void add(Way *total, const Way *w) {
  total->requests += w->requests;
  total->bytes += w->bytes;
  total->errors += w->errors;
  total->late += w->late;
  if (w->longest > total->longest) total->longest = w->longest;
  for (int us = 0; us < HISTOGRAM_US; us++) total->histogram[us] += w->histogram[us];
}

int main(int argc, char **argv) {
  if (argc < 7) {
    fprintf(stderr, "usage: load HOST PORT[,PORT] PATH CONNECTIONS THREADS SECONDS [RATE]\n");
    return 2;
  }
  host = argv[1], path = argv[3], seconds = atof(argv[6]);
  const char *second = strchr(argv[2], ',');
  ports = second ? 2 : 1;
  rate = argc > 7 ? atof(argv[7]) : 0;
  request_length = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
  int connections = atoi(argv[4]);
  threads = atoi(argv[5]) < connections ? atoi(argv[5]) : connections;
  Worker *workers = calloc(threads, sizeof *workers);
  double start = now_seconds();
  for (int i = 0; i < threads; i++) {
    for (int j = 0; j < ports; j++) {
      workers[i].ways[j].connections = connections / threads;
      workers[i].ways[j].port = atoi(j ? second + 1 : argv[2]);
    }
    workers[i].chance = 0x9E3779B97F4A7C15u * (i + 1);
    pthread_create(&workers[i].thread, NULL, run, &workers[i]);
  }
  for (int i = 0; i < threads; i++) pthread_join(workers[i].thread, NULL);
  double elapsed = now_seconds() - start;
  for (int j = 0; j < ports; j++) {
    Way total = {.histogram = calloc(HISTOGRAM_US, sizeof(unsigned))};
    for (int i = 0; i < threads; i++) add(&total, &workers[i].ways[j]);
    if (second) printf(j ? ",\n" : "[");
    report(&total, elapsed);
  }
  printf(second ? "]\n" : "\n");
}
