#!/bin/sh
# needs: nginx
# caps: http tls h2
# Debian's nginx. Keep-alive limits and buffers are raised so that it neither reconnects nor writes bodies to disk.
. "${0%/*}/addresses"
files=$(ulimit -n)
[ "$files" = unlimited ] || [ "$files" -gt 20000 ] && files=20000
cat >"$RUN_DIR/nginx.conf" <<END
daemon off;
master_process off;
worker_processes 1;
worker_rlimit_nofile $files;
error_log $RUN_DIR/error.log crit;
pid $RUN_DIR/nginx.pid;
events { worker_connections $((files - 100)); accept_mutex off; multi_accept on; }
http {
  access_log off;
  gzip off;
  server_tokens off;
  sendfile on;
  tcp_nopush on;
  tcp_nodelay on;
  keepalive_timeout 75s;
  keepalive_requests 1000000000;
  client_max_body_size 100m;
  client_body_buffer_size 128k;
  client_body_temp_path $RUN_DIR/body;
  proxy_temp_path $RUN_DIR/proxy;
  fastcgi_temp_path $RUN_DIR/fastcgi;
  uwsgi_temp_path $RUN_DIR/uwsgi;
  scgi_temp_path $RUN_DIR/scgi;
  upstream servers {
    $(backends | sed 's/.*/server &;/')
    keepalive 1024;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:$PORT backlog=65535;
    listen 127.0.0.1:$TLS_PORT ssl http2 backlog=65535;
    ssl_certificate $CERT;
    ssl_certificate_key $KEY;
    ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:clients:10m;
    http2_max_concurrent_streams 256;
    location / {
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host \$host;
      proxy_buffer_size 8k;
      proxy_buffers 16 16k;
      proxy_busy_buffers_size 64k;
      proxy_max_temp_file_size 0;
      proxy_request_buffering off;
    }
  }
}
END
PATH=$PATH:/usr/sbin
exec nginx ${CHECK:+-t} -e stderr -p "$RUN_DIR" -c "$RUN_DIR/nginx.conf"
