"""What an idle keep-alive connection costs: the memory of a fresh proxy, before and after it has many that served once."""
import resource
import socket
import ssl
import time

from harness import proc
from harness.check import PATIENCE, trusting_context

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: idle\r\nAccept: */*\r\n\r\n"
BODY_LENGTH = 13
SPARE_FILES = 200  # for everything but the connections
SETTLE = 1         # seconds


def affordable(wanted):
    """The proxy may need two descriptors per connection, and inherits this process's limit."""
    return min(wanted, (resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE_FILES) // 2)


def open_used_connection(running, tls):
    """A connection that has served one request and now waits."""
    connection = socket.create_connection(("127.0.0.1", running.tls_port if tls else running.port), PATIENCE)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # else who sends no ticket is waited for, 40 ms each
    if tls:
        connection = trusting_context().wrap_socket(connection, server_hostname="localhost")
    connection.sendall(REQUEST)
    answer = b""
    while len(answer.partition(b"\r\n\r\n")[2]) < BODY_LENGTH:
        more = connection.recv(4096)
        if not more:
            raise OSError("closed before the answer was complete")
        answer += more
    if not answer.startswith(b"HTTP/1.1 200"):
        raise OSError("status is not 200")
    return connection


def still_open(connection):
    connection.settimeout(0)
    try:
        return connection.recv(1) != b""
    except (BlockingIOError, ssl.SSLWantReadError):
        return True
    except OSError:
        return False


def measure(running, wanted, tls, until):
    count, connections = affordable(wanted), []
    before = proc.memory_of(running.pid)
    for _ in range(count):
        until.check()
        try:
            connections.append(open_used_connection(running, tls))
        except OSError:
            pass
    time.sleep(SETTLE)
    after = proc.memory_of(running.pid)
    alive = sum(map(still_open, connections))
    for connection in connections:
        connection.close()
    return {"connections": count, "errs": count - alive, "kib": round((after - before) / count, 3), "first_kib": before}
