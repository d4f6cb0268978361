"""A WebSocket client of the library's own, through a proxy at an address: `client.py URL [CA]`. Ends well, or says what was wrong."""

import asyncio
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

URL = sys.argv[1]
BIG = 16 * 1024 * 1024


def options():
    if len(sys.argv) < 3:
        return {}
    return {"ssl": ssl.create_default_context(cafile=sys.argv[2])}


def opened(path, **more):
    more.setdefault("subprotocols", ["chat.v2"])
    return connect(
        URL + path, max_size=None, open_timeout=60, ping_interval=None, proxy=None, **options(), **more
    )


async def words():
    """Subprotocol, compression, what is asked for, texts, pings."""
    async with opened("/chat?room=1", subprotocols=["chat.v1", "chat.v2"]) as socket:
        assert socket.subprotocol == "chat.v2", socket.subprotocol
        extensions = socket.response.headers["Sec-WebSocket-Extensions"]
        assert extensions.startswith("permessage-deflate"), extensions
        assert socket.protocol.extensions, "nothing is compressed"
        await socket.send("room")
        assert (await socket.recv()).startswith("/chat?room=1 "), "another path"
        text = "ää" * 100_000
        await socket.send(text)
        assert await socket.recv() == text
        for _ in range(3):
            await asyncio.wait_for(await socket.ping(), 60)


async def both_ways():
    """16 MiB each way at once, in one frame each."""
    async with opened("/", compression=None) as socket:
        sent = bytes(range(256)) * (BIG // 256)
        await socket.send(f"push {BIG}")
        async def both():
            return [await socket.recv(), await socket.recv()]

        _, came = await asyncio.gather(socket.send(sent), both())
        pushed, echoed = sorted(came, key=lambda one: one != b"\x5a" * BIG)
        assert pushed == b"\x5a" * BIG and echoed == sent, "bytes differ"


async def codes():
    async with opened("/") as socket:
        await socket.send("close 4001")
        try:
            await socket.recv()
            raise AssertionError("it goes on")
        except ConnectionClosed as closed:
            assert (closed.rcvd.code, closed.rcvd.reason) == (4001, "as asked"), closed
    socket = await opened("/")
    await socket.close(3003, "enough")
    assert (socket.close_code, socket.close_reason) == (3003, "enough")


async def refused():
    try:
        async with opened("/none"):
            raise AssertionError("it is open")
    except InvalidStatus as error:
        assert error.response.status_code == 404, error.response
    try:
        async with opened("/down"):
            raise AssertionError("it is open")
    except InvalidStatus as error:
        assert error.response.status_code == 502, error.response


async def main():
    for part in (words, both_ways, codes, refused):
        await part()
    print("fine")


asyncio.run(main())
