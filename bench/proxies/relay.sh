#!/bin/sh
# needs: relay
# caps: http l4
# reference
# c/relay.c: the limit, bytes moved and nothing understood. RELAY_READ is its read size. With BACKEND_COUNT (see `addresses`) each request goes to the
# next backend.
. "${0%/*}/addresses"
if [ -n "${BACKEND_COUNT:-}" ]; then
  to=$(backends)
else
  to=$(backends | sed 's/.*://')
fi
exec "$BENCH_BIN/relay" "$PORT" "${RELAY_READ:-65536}" $to
