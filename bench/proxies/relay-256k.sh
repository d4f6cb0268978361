#!/bin/sh
# needs: relay
# caps: http l4
# reference
# only: body-1m
# The limit for large bodies.
RELAY_READ=262144 exec "$(dirname "$0")/relay.sh"
