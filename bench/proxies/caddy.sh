#!/bin/sh
# needs: caddy
# caps: http tls h2
# Debian's Caddy. GOMAXPROCS=1: its garbage collector must not borrow another core.
servers="reverse_proxy $BACKENDS {
		lb_policy round_robin
		transport http {
			keepalive_idle_conns 4096
			keepalive_idle_conns_per_host 1024
			compression off
		}
	}"
cat >"$RUN_DIR/Caddyfile" <<END
{
	admin off
	auto_https off
	http_port $PORT
	https_port $TLS_PORT
	log {
		level ERROR
	}
}
http://localhost:$PORT, http://127.0.0.1:$PORT {
	bind 127.0.0.1
	$servers
}
https://localhost:$TLS_PORT, https://127.0.0.1:$TLS_PORT {
	bind 127.0.0.1
	tls $CERT $KEY
	$servers
}
END
export GOMAXPROCS=1 XDG_DATA_HOME="$RUN_DIR" XDG_CONFIG_HOME="$RUN_DIR"
[ -z "${CHECK:-}" ] || exec caddy validate --config "$RUN_DIR/Caddyfile" --adapter caddyfile
exec caddy run --config "$RUN_DIR/Caddyfile" --adapter caddyfile
