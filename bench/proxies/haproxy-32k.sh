#!/bin/sh
# needs: haproxy
# caps: http
# only: body-16k
# HAProxy with buffers of 32 KiB instead of 16, in which an answer of 16 KiB has room with its head: better there. With POST of 64 KiB it is worse, with
# 1 MiB splicing is better than any buffer.
EXTRA_GLOBAL="tune.bufsize 32768" exec "$(dirname "$0")/haproxy.sh"
