#!/bin/sh
# needs: envoy
# caps: http tls h2
# The circuit breakers are opened wide: their defaults would refuse the connections that the scenarios need.
endpoints() {
  for backend in $BACKENDS; do
    echo "            - endpoint: { address: { socket_address: { address: ${backend%:*}, port_value: ${backend#*:} } } }"
  done
}

# listener NAME PORT: the same HTTP handling on either port
listener() {
  cat <<END
    - name: $1
      address: { socket_address: { address: 127.0.0.1, port_value: $2 } }
      tcp_backlog_size: 65535
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: $1
                codec_type: AUTO
                generate_request_id: false
                http2_protocol_options: { max_concurrent_streams: 256 }
                route_config:
                  virtual_hosts:
                    - { name: all, domains: ["*"], routes: [ { match: { prefix: / }, route: { cluster: servers, timeout: 0s } } ] }
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                      suppress_envoy_headers: true
                      dynamic_stats: false
END
}

tls() {
  cat <<END
          transport_socket:
            name: envoy.transport_sockets.tls
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
              common_tls_context:
                alpn_protocols: [h2, http/1.1]
                tls_params: { tls_maximum_protocol_version: TLSv1_3 }
                tls_certificates: [ { certificate_chain: { filename: "$CERT" }, private_key: { filename: "$KEY" } } ]
END
}

cluster() {
  cat <<END
    - name: servers
      type: STATIC
      lb_policy: ROUND_ROBIN
      connect_timeout: 5s
      circuit_breakers:
        thresholds: [ { max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 100 } ]
      load_assignment:
        cluster_name: servers
        endpoints:
        - lb_endpoints:
$(endpoints)
END
}

{
  echo "static_resources:"
  echo "  listeners:"
  listener plain "$PORT"
  listener secure "$TLS_PORT"
  tls
  echo "  clusters:"
  cluster
} >"$RUN_DIR/envoy.yaml"
exec "$BENCH_BIN/envoy" ${CHECK:+--mode validate} -c "$RUN_DIR/envoy.yaml" --concurrency 1 --log-level error --disable-hot-restart
