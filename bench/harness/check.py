"""Does the proxy do its job? A fast wrong answer must not win, so this comes before every first measurement."""
import functools
import http.client
import socket
import ssl
import subprocess

from harness import place

SIZES = {"/": 13, "/1k": 1 << 10, "/16k": 16 << 10, "/1m": 1 << 20}
POSTS = (1 << 10, 64 << 10)
ALPHABET = b"abcdefghijklmnopqrstuvwxyz0123456789"
CONNECTIONS = 8
PATIENCE = 5  # seconds


def expected_body(size):
    """The same sequence as c/backend.c writes."""
    return bytes(ALPHABET[(i * 7 + i // 36) % 36] for i in range(size - 1)) + b"\n"


BODIES = {path: expected_body(size) for path, size in SIZES.items()}


@functools.cache  # loading the system's certificates takes longer than a handshake
def trusting_context(alpn=()):
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if alpn:
        context.set_alpn_protocols(list(alpn))
    return context


def connect(running, tls):
    if tls:
        return http.client.HTTPSConnection("localhost", running.tls_port, timeout=PATIENCE, context=trusting_context())
    return http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)


def check_gets(client, where, problems, seen):
    for path, body in BODIES.items():
        client.request("GET", path)
        answer = client.getresponse()
        seen.add(answer.getheader("X-Backend"))
        if answer.status != 200 or answer.read() != body:
            problems.append(f"GET {path} over {where}: status {answer.status} or wrong bytes")


def check_at_once(running, problems, seen):
    """Who was slow once is rightly passed over while nobody else has anything to do: with so much at once everybody is asked."""
    clients = []
    try:
        for _ in range(4 * place.BACKENDS * CONNECTIONS):
            client = http.client.HTTPConnection("127.0.0.1", running.port, timeout=PATIENCE)
            client.sock = socket.socket()
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # what is not read stays with the proxy
            client.sock.settimeout(PATIENCE)
            client.sock.connect(("127.0.0.1", running.port))
            client.request("GET", "/1m")
            answer = client.getresponse()
            clients.append((client, answer))
            seen.add(answer.getheader("X-Backend"))
            if len(seen) == place.BACKENDS:
                break
    except (OSError, http.client.HTTPException) as error:
        problems.append(f"at once: {error!r}")
    for client, answer in clients:
        answer.close()
        client.close()


def check_posts(client, where, problems):
    for size in POSTS:
        for framing, body in (("length", b"x" * size), ("chunked", iter([b"x" * (size // 2)] * 2))):
            client.request("POST", "/", body, encode_chunked=framing == "chunked",
                           headers={"Transfer-Encoding": "chunked"} if framing == "chunked" else {})
            answer = client.getresponse()
            if answer.status != 200 or answer.read() != BODIES["/"]:
                problems.append(f"POST {size} ({framing}) over {where}: status {answer.status} or wrong answer")


def check_http2(running, problems):
    plain = socket.create_connection(("127.0.0.1", running.tls_port), PATIENCE)
    with trusting_context(("h2", "http/1.1")).wrap_socket(plain, server_hostname="localhost") as secure:
        if secure.selected_alpn_protocol() != "h2":
            problems.append("ALPN did not choose h2")
    client = place.tool("nghttp")
    if not client:
        problems.append("nghttp is not installed: nobody looked at answers by HTTP/2")
        return
    for path, body in BODIES.items():
        command = [client, "--timeout=5", f"https://localhost:{running.tls_port}{path}"]
        answer = subprocess.run(command, capture_output=True, timeout=4 * PATIENCE).stdout
        if answer != body:
            problems.append(f"GET {path} over HTTP/2: wrong bytes ({len(answer)} of {len(body)})")


def check(running):
    """Problems found, as sentences; none is good."""
    caps, problems, seen = running.proxy.caps, [], set()
    for tls in ([False, True] if "tls" in caps else [False]):
        where = "TLS" if tls else "TCP"
        for _ in range(CONNECTIONS):
            client = connect(running, tls)
            try:
                check_gets(client, where, problems, seen)
                check_posts(client, where, problems)
            except (OSError, http.client.HTTPException) as error:
                problems.append(f"{where}: {error!r}")
            client.close()
    one_backend = not running.proxy.script
    if len(seen) < place.BACKENDS and not one_backend:
        check_at_once(running, problems, seen)
    if len(seen) < place.BACKENDS and not one_backend:
        problems.append(f"balance: only backends {sorted(map(str, seen))} were seen")
    if "h2" in caps:
        try:
            check_http2(running, problems)
        except (OSError, subprocess.TimeoutExpired) as error:
            problems.append(f"HTTP/2: {error!r}")
    return problems
