#!/bin/sh
# needs: pingora-balancer
# caps: http tls h2
# peers/pingora-balancer
exec "$BENCH_BIN/pingora-balancer"
