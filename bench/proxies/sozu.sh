#!/bin/sh
# needs: sozu
# caps: http tls h2
# One worker; the main process only supervises it, and its CPU is counted too.
socket=$RUN_DIR/sock
rm -f "$socket"

frontends() {
  for host in 127.0.0.1 localhost; do
    echo "  { address = \"127.0.0.1:$PORT\", hostname = \"$host\" },"
    echo "  { address = \"127.0.0.1:$TLS_PORT\", hostname = \"$host\", certificate = \"$CERT\", key = \"$KEY\", certificate_chain = \"$CERT\" },"
  done
}

cat >"$RUN_DIR/config.toml" <<END
log_level = "error"
log_target = "stdout"
command_socket = "$socket"
worker_count = 1
worker_automatic_restart = false
handle_process_affinity = false
max_connections = 9000
min_buffers = 1000
max_buffers = 20000
buffer_size = 16393
activate_listeners = true

[[listeners]]
protocol = "http"
address = "127.0.0.1:$PORT"

[[listeners]]
protocol = "https"
address = "127.0.0.1:$TLS_PORT"
tls_versions = ["TLS_V12", "TLS_V13"]

[clusters.servers]
protocol = "http"
load_balancing = "ROUND_ROBIN"
frontends = [
$(frontends)
]
backends = [ $(printf '{ address = "%s" }, ' $BACKENDS) ]
END
[ -z "${CHECK:-}" ] || exec "$BENCH_BIN/sozu" config -c "$RUN_DIR/config.toml" check
exec "$BENCH_BIN/sozu" start -c "$RUN_DIR/config.toml"
