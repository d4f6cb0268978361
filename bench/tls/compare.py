#!/usr/bin/env python3
"""What a request over TLS costs: Evenkeel, HAProxy and nginx (Debian's), one worker each on a core of its own, one after another
in interleaved rounds, before the same nginx. Counts the proxy's own time on the CPU (of all its threads, from
/proc/<pid>/task/*/schedstat), so that a busy machine disturbs it little.

    bench/tls/compare.py target/release/evenkeel [rounds]

Needs haproxy, nginx, h2load, openssl and taskset. Rows: TLS keep-alive (HTTP/1.1, 64 connections), HTTP/2 (16 connections of 32 and of 8
streams), handshakes of TLS 1.3 with one request each, full and resumed. All with one P-256 certificate and X25519, which this OpenSSL
offers. Prints microseconds of CPU per request, the median of the rounds with the lowest and highest, and how the best peer compares.
"""

import glob
import os
import re
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

BACKEND, PROXY, LOAD = "0", "1", "2,3"
REQUESTS, HANDSHAKES = 40_000, 1_500

HAPROXY = """
global
    nbthread 1
    maxconn 5000
    tune.ssl.cachesize 20000
    ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    option http-keep-alive
    http-reuse always
frontend clients
    bind 127.0.0.1:{port} ssl crt {root}/both.pem alpn h2,http/1.1 backlog 65535
    default_backend servers
backend servers
    server one 127.0.0.1:{backend} pool-max-conn 1000
"""

NGINX = """
daemon off; master_process off; worker_processes 1; worker_rlimit_nofile 20000;
error_log {root}/error.log crit; pid {root}/nginx-{port}.pid;
events {{ worker_connections 5000; accept_mutex off; multi_accept on; }}
http {{
  access_log off; tcp_nodelay on; keepalive_timeout 75s; keepalive_requests 1000000000;
  client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;
  {server}
}}
"""

NGINX_PROXY = """
  upstream servers {{ server 127.0.0.1:{backend}; keepalive 1024; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=65535;
    ssl_certificate {root}/site.pem; ssl_certificate_key {root}/site.key; ssl_protocols TLSv1.2 TLSv1.3;
    ssl_session_cache shared:all:10m; http2_max_concurrent_streams 256;
    location / {{ proxy_pass http://servers; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host; }}
  }}
"""

EVENKEEL = """
admin: {{ bind: off }}
listeners: {{ secure: {{ bind: "127.0.0.1:{port}", tls: {{ certificates: [{{ cert: {root}/site.pem, key: {root}/site.key }}] }} }} }}
services: {{ api: {{ backends: ["127.0.0.1:{backend}"] }} }}
"""


def free():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(core, words, port):
    process = subprocess.Popen(["taskset", "-c", core, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            time.sleep(0.05)
    sys.exit(f"{words[0]} ended")


def spent(pid):
    """Microseconds on a CPU."""
    total = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as file:
            total += int(file.read().split()[0])
    return total / 1000


def h2load(port, *words):
    out = subprocess.run(
        ["taskset", "-c", LOAD, "h2load", "-n", str(REQUESTS), *words, f"https://127.0.0.1:{port}/"],
        capture_output=True, text=True, check=True,
    ).stdout
    done = re.search(r"(\d+) succeeded", out)
    assert done and int(done[1]) == REQUESTS, out
    return REQUESTS


def handshakes(port, short):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    known = None
    for _ in range(HANDSHAKES):
        with socket.create_connection(("127.0.0.1", port)) as plain:
            with context.wrap_socket(plain, session=known if short else None) as one:
                one.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                while one.recv(4096):
                    pass
                assert one.session_reused == (short and known is not None)
                known = one.session
    return HANDSHAKES


ROWS = {
    "TLS keep-alive 64": lambda port: h2load(port, "--h1", "-c", "64"),
    "HTTP/2, 16 by 32": lambda port: h2load(port, "-c", "16", "-m", "32"),
    "HTTP/2, 16 by 8": lambda port: h2load(port, "-c", "16", "-m", "8"),
    "handshake, full": lambda port: handshakes(port, False),
    "handshake, resumed": lambda port: handshakes(port, True),
}


def main():
    binary, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 3
    os.environ["PATH"] += ":/usr/sbin"
    with tempfile.TemporaryDirectory() as root:
        def write(name, text, **fields):
            path = f"{root}/{name}"
            with open(path, "w") as file:
                file.write(text.format(root=root, **fields))
            return path

        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "9",
             "-subj", "/CN=a", "-addext", "subjectAltName=DNS:a", "-keyout", f"{root}/site.key", "-out", f"{root}/site.pem"],
            check=True, capture_output=True,
        )
        with open(f"{root}/both.pem", "w") as both:
            both.write(open(f"{root}/site.pem").read() + open(f"{root}/site.key").read())
        backend = free()
        hello = f'server {{ listen 127.0.0.1:{backend} backlog=65535; location / {{ return 200 "Hello, world!"; }} }}'
        conf = write("back.conf", NGINX, port=backend, server=hello)
        running = [start(BACKEND, ["nginx", "-e", "stderr", "-c", conf], backend)]
        proxies = {}
        for name in ("evenkeel", "haproxy", "nginx"):
            port = free()
            if name == "evenkeel":
                words = [binary, "run", "-c", write("keel.yaml", "workers: 1\n" + EVENKEEL, port=port, backend=backend)]
            elif name == "haproxy":
                words = ["haproxy", "-db", "-f", write("haproxy.cfg", HAPROXY, port=port, backend=backend)]
            else:
                server = NGINX_PROXY.format(root=root, port=port, backend=backend)
                words = ["nginx", "-e", "stderr", "-c", write("front.conf", NGINX, port=port, server=server)]
            process = start(PROXY, words, port)
            running.append(process)
            proxies[name] = (process.pid, port)
        figures = {(row, name): [] for row in ROWS for name in proxies}
        try:
            for round_ in range(rounds + 1):
                for row, load in ROWS.items():
                    for name, (pid, port) in proxies.items():
                        before = spent(pid)
                        try:
                            asked = load(port)
                        except AssertionError as error:
                            sys.exit(f"{row}: {name}: {error}")
                        # The first round warms up.
                        if round_:
                            figures[row, name].append((spent(pid) - before) / asked)
        finally:
            for process in running:
                process.terminate()
        for row in ROWS:
            middle = {name: statistics.median(figures[row, name]) for name in proxies}
            best = min(middle["haproxy"], middle["nginx"])
            told = (f"{name} {middle[name]:.1f} ({min(figures[row, name]):.1f}-{max(figures[row, name]):.1f})" for name in proxies)
            print(f"{row}: {', '.join(told)}; best peer over evenkeel {best / middle['evenkeel']:.2f}", flush=True)


main()
