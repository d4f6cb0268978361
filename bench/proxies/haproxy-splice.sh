#!/bin/sh
# needs: haproxy
# caps: http
# only: body-1m
# HAProxy moving answers with splice(2): better with large bodies, worse with small ones.
EXTRA_DEFAULT="option splice-response" exec "$(dirname "$0")/haproxy.sh"
