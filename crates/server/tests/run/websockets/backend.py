"""A WebSocket server of the library's own: says its port on the first line, and echoes.

A text of `close CODE` closes with that code; `room` tells the path it was asked for; `push N` sends N bytes while it reads on.
"""

import asyncio

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def talk(socket):
    pushes = []
    try:
        async for message in socket:
            if isinstance(message, bytes):
                await socket.send(message)
                continue
            word, _, rest = message.partition(" ")
            if word == "close":
                await socket.close(int(rest), "as asked")
            elif word == "room":
                await socket.send(f"{socket.request.path} {socket.request.headers['Host']}")
            elif word == "push":
                pushes.append(asyncio.create_task(socket.send(b"\x5a" * int(rest))))
            else:
                await socket.send(message)
    except ConnectionClosed:
        pass
    finally:
        await asyncio.gather(*pushes, return_exceptions=True)
        print("closed", socket.close_code, socket.close_reason, flush=True)


async def main():
    async with serve(
        talk, "127.0.0.1", 0, subprotocols=["chat.v2"], max_size=None, ping_interval=None
    ) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()


asyncio.run(main())
