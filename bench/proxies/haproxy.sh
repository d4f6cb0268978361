#!/bin/sh
# needs: haproxy
# caps: http tls h2
# Debian's HAProxy. EXTRA_GLOBAL and EXTRA_DEFAULT are one more line for those sections.
. "${0%/*}/addresses"
files=$(ulimit -n) # a connection takes two, and with splicing the pipes of a quarter of them two more
[ "$files" = unlimited ] && files=24000
connections=$((files * 3 / 8))
[ "$connections" -gt 9000 ] && connections=9000
{
  cat <<END
global
    nbthread 1
    maxconn $connections
    tune.ssl.default-dh-param 2048
    tune.ssl.cachesize 20000
    ssl-default-bind-options ssl-min-ver TLSv1.2
    ${EXTRA_GLOBAL:-}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout http-keep-alive 60s
    option http-keep-alive
    http-reuse always
    ${EXTRA_DEFAULT:-}
frontend clients
    bind 127.0.0.1:$PORT backlog 65535
    bind 127.0.0.1:$TLS_PORT ssl crt $BOTH alpn h2,http/1.1 backlog 65535
    default_backend servers
backend servers
    balance roundrobin
END
  backends | sed 's/.*/    server b& & pool-max-conn 1000/'
} >"$RUN_DIR/haproxy.cfg"
PATH=$PATH:/usr/sbin
exec haproxy ${CHECK:+-c} -db -f "$RUN_DIR/haproxy.cfg"
