#!/bin/sh -e
# needs: evenkeel
# caps: http tls h2
# Evenkeel as the README has it: a service with checks, a rule that answers, a rule that forwards by host. All defaults
# are on (policy `adaptive`, breaker, retries, metrics); the access log is off, as it is by default and as the peers' are.
#
# How a cost grows is asked by: WORKERS, RULES (as many, of which the last holds), SERVICES (as many, of four backends
# and a rule by path each), BACKEND_COUNT, BACKEND_FIRST (see `addresses`), HEALTH=off (no checks, whose cost is one of time and not of requests),
# SLOW_START (how long backends warm up that join).
# With WRITE_ONLY the file is written and nothing started; CHECK only checks it.
. "${0%/*}/addresses"

rules() {
  awk -v rules="${RULES:-2}" -v services="${SERVICES:-1}" 'BEGIN {
    if (rules > 1) print "  - { name: ping, priority: 1, when: { path: /ping }, respond: { body: pong } }"
    for (n = 2; n < rules; n++)
      printf "  - { name: r%d, priority: %d, when: { host: r%d.example.com, path: /r%d/* }, forward: api }\n", n, n, n, n
    for (n = 1; n < services; n++)
      printf "  - { name: s%d, priority: %d, when: { host: [localhost, 127.0.0.1], path: /s%d }, forward: s%d }\n", n, 10000 + n, n, n
    print "  - { name: api, priority: 50000, when: { host: [localhost, 127.0.0.1] }, forward: api }"
  }'
}

services() {
  n=1
  while [ "$n" -lt "${SERVICES:-1}" ]; do
    echo "  s$n:"
    echo "    backends: [ $(printf '%s, ' $BACKENDS)]"
    n=$((n + 1))
  done
}

cat >"$RUN_DIR/evenkeel.new" <<END
admin: { bind: "127.0.0.1:$ADMIN_PORT" }
${WORKERS:+workers: $WORKERS}
listeners:
  web: { bind: "127.0.0.1:$PORT" }
  secure: { bind: "127.0.0.1:$TLS_PORT", tls: { certificates: [{ cert: "$CERT", key: "$KEY" }] } }
services:
  api:
${SLOW_START:+    slow_start: $SLOW_START}
$([ "${HEALTH:-on}" = off ] || echo "    health: { http: { path: /health }, interval: 5s }")
    backends:
$(backends | sed 's/^/      - /')
$(services)
rules:
$(rules)
END
mv "$RUN_DIR/evenkeel.new" "$RUN_DIR/evenkeel.yaml" # whole, whenever it is read
[ -z "${WRITE_ONLY:-}" ] || exit 0
[ -z "${CHECK:-}" ] || exec "$EVENKEEL_BIN" check "$RUN_DIR/evenkeel.yaml"
exec "$EVENKEEL_BIN" run "$RUN_DIR/evenkeel.yaml"
