"""A gRPC client for tests: `client.py ADDRESS STORY [CA]`. Prints what the story came to; what is wrong is an exception."""

import collections
import queue
import sys
import threading

import grpc

address, story = sys.argv[1:3]
OPTIONS = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
]
if len(sys.argv) > 3:
    with open(sys.argv[3], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    OPTIONS.append(("grpc.ssl_target_name_override", "a.example"))
    channel = grpc.secure_channel(address, credentials, options=OPTIONS)
else:
    channel = grpc.insecure_channel(address, options=OPTIONS)

PATIENCE = 60


def method(kind, name):
    return getattr(channel, kind)(f"/test.Test/{name}")


unary = method("unary_unary", "Unary")
count = method("unary_stream", "Count")
total = method("stream_unary", "Total")
echo = method("stream_stream", "Echo")
hold = method("unary_stream", "Hold")


def same(got, expect):
    assert got == expect, f"{got!r} is not {expect!r}"


def error_of(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("it went well")


def calls():
    """One of each kind, and what goes along with them."""
    metadata = (("x-own", "a b"), ("x-own-bin", bytes(range(256))))
    answer, call = unary.with_call(b"hello", metadata=metadata, timeout=PATIENCE)
    same(answer, b"hello")
    initial = dict(call.initial_metadata())
    same(initial["x-raw-bin"], bytes(range(256)))
    trailing = dict(call.trailing_metadata())
    same(trailing["x-own"], "a b")
    same(trailing["x-back-bin"], bytes(range(256)))
    same(list(count(b"100", timeout=PATIENCE)), [str(step).encode() for step in range(100)])
    same(list(count(b"0", timeout=PATIENCE)), [])
    same(total(iter([b"a", b"", b"bcd"]), timeout=PATIENCE), b"3 4")
    same(total(iter([]), timeout=PATIENCE), b"0 0")
    messages = [bytes([number % 256]) * number for number in range(300)]
    same(list(echo(iter(messages), timeout=PATIENCE)), messages)
    # In turn: each answer before the next question.
    asks = collections.deque([b"0"])
    more = threading.Semaphore(1)

    def turns():
        for _ in range(50):
            more.acquire()
            yield asks.popleft()

    answers = echo(turns(), timeout=PATIENCE)
    for turn in range(50):
        same(next(answers), str(turn).encode())
        asks.append(str(turn + 1).encode())
        more.release()
    same(list(answers), [])


def large():
    message = bytes(range(256)) * (16 << 12)
    same(len(message), 16 << 20)
    assert unary(message, timeout=PATIENCE) == message
    assert list(echo(iter([message, message]), timeout=PATIENCE)) == [message, message]


def tiny():
    """Ten thousand messages of a byte on one stream, each way, and as many back."""
    same(total((b"x" for _ in range(10_000)), timeout=PATIENCE), b"10000 10000")
    same(len(list(count(b"10000", timeout=PATIENCE))), 10_000)
    same(sum(len(one) for one in echo((b"x" for _ in range(10_000)), timeout=PATIENCE)), 10_000)
    same(unary(b"still", timeout=PATIENCE), b"still")


def errors():
    error = error_of(lambda: method("unary_unary", "Fail")(b"", timeout=PATIENCE))
    same(error.code(), grpc.StatusCode.NOT_FOUND)
    same(error.details(), "not here: \u00fc %41")
    trailing = dict(error.trailing_metadata())
    same(trailing["x-why"], "so")
    same(trailing["grpc-status-details-bin"], b"\x08\x05\x12\x03abc")
    got = []

    def broken():
        for message in method("unary_stream", "Broken")(b"", timeout=PATIENCE):
            got.append(message)

    error = error_of(broken)
    same((error.code(), error.details(), got), (grpc.StatusCode.DATA_LOSS, "broke off", [b"one"]))
    error = error_of(lambda: method("unary_unary", "Nothing")(b"", timeout=PATIENCE))
    same(error.code(), grpc.StatusCode.UNIMPLEMENTED)


def deadline():
    error = error_of(lambda: method("unary_unary", "Silent")(b"", timeout=5))
    same(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


def status():
    """What a call without a deadline of its own comes to."""
    error = error_of(lambda: unary(b"x", timeout=PATIENCE))
    print(error.code().name, error.details())


def silent():
    """The same where nobody answers, and somebody between has a deadline."""
    error = error_of(lambda: method("unary_unary", "Silent")(b"", timeout=PATIENCE))
    print(error.code().name, error.details())


def big():
    error = error_of(lambda: unary(b"x" * 100_000, timeout=PATIENCE))
    print(error.code().name, error.details())


def cancel():
    call = hold(b"", timeout=PATIENCE)
    same(next(call), b"first")
    call.cancel()
    error = error_of(lambda: next(call))
    same(error.code(), grpc.StatusCode.CANCELLED)


def balance():
    """Two hundred calls on one channel: who answered them."""
    names = collections.Counter()
    for _ in range(200):
        _, call = unary.with_call(b"x", timeout=PATIENCE)
        names[dict(call.initial_metadata())["x-server"]] += 1
    print(" ".join(f"{name}={number}" for name, number in sorted(names.items())))


def killed():
    """Waits for its first message, says so, and then for its end."""
    call = hold(b"", timeout=PATIENCE)
    same(next(call), b"first")
    print("first", flush=True)
    error = error_of(lambda: next(call))
    print(error.code().name)


def single():
    same(unary(b"x", timeout=PATIENCE), b"x")


def waits():
    """A stream that is long in beginning: each message once, and in order."""
    same(list(method("unary_stream", "Wait")(b"300", timeout=PATIENCE)), [str(step).encode() for step in range(300)])


def talks():
    """The same where both sides speak, and this one has begun."""
    asks = queue.SimpleQueue()
    asks.put(b"0")
    answers = method("stream_stream", "Talk")(iter(asks.get, None), timeout=PATIENCE)
    for turn in range(50):
        same(next(answers), str(turn).encode())
        asks.put(str(turn + 1).encode() if turn < 49 else None)
    same(list(answers), [])


def held():
    """A stream that stays until it is told to go."""
    call = hold(b"", timeout=PATIENCE)
    same(next(call), b"first")
    print("first", flush=True)
    sys.stdin.readline()
    call.cancel()
    error = error_of(lambda: next(call))
    same(error.code(), grpc.StatusCode.CANCELLED)


def drain():
    """A stream that goes on while what is between drains."""
    asks = collections.deque([b"0"])
    more = threading.Semaphore(1)

    def turns():
        for _ in range(10):
            more.acquire()
            yield asks.popleft()

    answers = method("stream_stream", "Late")(turns(), timeout=PATIENCE)
    for turn in range(10):
        same(next(answers), str(turn).encode())
        if turn == 0:
            print("first", flush=True)
            sys.stdin.readline()
        asks.append(str(turn + 1).encode())
        more.release()
    same(list(answers), [])


globals()[story]()
print("fine", flush=True)
