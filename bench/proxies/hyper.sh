#!/bin/sh
# needs: hyper-balancer
# caps: http tls h2
# reference
# peers/hyper-balancer: what a general-purpose HTTP library costs
exec "$BENCH_BIN/hyper-balancer"
