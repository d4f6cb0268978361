#!/bin/sh
# needs: relay
# caps: http l4
# reference
# c/relay.c: the limit, bytes moved and nothing understood. RELAY_READ is its read size.
ports=
for backend in $BACKENDS; do ports="$ports ${backend#*:}"; done
exec "$BENCH_BIN/relay" "$PORT" "${RELAY_READ:-65536}" $ports
