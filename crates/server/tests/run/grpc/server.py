"""A gRPC server for tests: methods of bytes, without generated code. Prints its port, then a line per call as it ends."""

import queue
import signal
import sys
import threading
import time
from concurrent import futures

import grpc

name = sys.argv[1]
lock = threading.Lock()
# One for each line of input: a call that waits to be told goes on.
gate = threading.Semaphore(0)


def say(*words):
    with lock:
        print(*words, flush=True)


def told(context):
    """The metadata of a call, as text."""
    return {key: value for key, value in context.invocation_metadata()}


def unary(request, context):
    fields = told(context)
    context.send_initial_metadata((("x-server", name), ("x-raw-bin", bytes(range(256)))))
    context.set_trailing_metadata((("x-own", fields.get("x-own", "")), ("x-back-bin", fields.get("x-own-bin", b""))))
    say("unary", context.time_remaining() is not None)
    return request


def count(request, context):
    number = int(request)
    for step in range(number):
        yield str(step).encode()
    say("count", number)


def total(requests, context):
    messages = octets = 0
    for request in requests:
        messages += 1
        octets += len(request)
    say("total", messages, octets)
    return f"{messages} {octets}".encode()


def echo(requests, context):
    messages = 0
    for request in requests:
        messages += 1
        yield request
    say("echo", messages)


def hold(request, context):
    """Answers with one message, then only when the other side has gone."""
    ended = threading.Event()
    remaining = context.time_remaining()
    # One that has ended by now is not told of.
    if not context.add_callback(ended.set):
        ended.set()
    say("holds", remaining is not None and remaining < 3600, "" if remaining is None else round(remaining))
    yield b"first"
    ended.wait()
    say("cancelled")


def silent(request, context):
    """Answers never."""
    ended = threading.Event()
    remaining = context.time_remaining()
    # One that has ended by now is not told of.
    if not context.add_callback(ended.set):
        ended.set()
    say("holds", remaining is not None and remaining < 3600)
    ended.wait()
    say("cancelled")
    return b""


def wait(request, context):
    """Answers nothing before it is told to, then so many messages."""
    say("waits")
    gate.acquire()
    for step in range(int(request)):
        yield str(step).encode()


def talk(requests, context):
    """The same, once per message."""
    say("talks")
    gate.acquire()
    yield from requests


def late(requests, context):
    """Answers once per message, and says so."""
    say("late")
    for request in requests:
        yield request
    say("late-done")


def fail(request, context):
    context.set_trailing_metadata((("x-why", "so"), ("grpc-status-details-bin", b"\x08\x05\x12\x03abc")))
    context.abort(grpc.StatusCode.NOT_FOUND, "not here: \u00fc %41")


def broken(request, context):
    yield b"one"
    context.abort(grpc.StatusCode.DATA_LOSS, "broke off")


METHODS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Total": grpc.stream_unary_rpc_method_handler(total),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Hold": grpc.unary_stream_rpc_method_handler(hold),
    "Silent": grpc.unary_unary_rpc_method_handler(silent),
    "Wait": grpc.unary_stream_rpc_method_handler(wait),
    "Talk": grpc.stream_stream_rpc_method_handler(talk),
    "Late": grpc.stream_stream_rpc_method_handler(late),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Broken": grpc.unary_stream_rpc_method_handler(broken),
}

OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
]
server = grpc.server(futures.ThreadPoolExecutor(max_workers=64), options=OPTIONS)
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Test", METHODS),))
if sys.argv[2:]:
    # Its key and its certificate, and the authority of those whom it lets in.
    key, cert, authority = (open(path, "rb").read() for path in sys.argv[2:])
    shown = grpc.ssl_server_credentials([(key, cert)], authority, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", shown)
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
say("port", port)
# Until the test that owns it closes its input.
for _ in sys.stdin:
    gate.release()
server.stop(0)
