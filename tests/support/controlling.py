"""A daemon and its control socket in one process, for tests of the control protocol."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from wherry.daemon import places
from wherry.daemon.daemon import opened
from wherry_cli.control.client import connected
from wherry_cli.control.server import controlled


@asynccontextmanager
async def controlling(world):
    """A daemon of home "b" that can be asked; gives it, the asking end, and its home."""
    async with world.node() as session:
        home = session.home
        with places.taken(home) as seat:
            async with opened(session, listen=["memory://b"]) as daemon, controlled(daemon, seat.listen()):
                async with connected(home) as control:
                    yield daemon, control, home


@asynccontextmanager
async def talking(home):
    """A connection to the socket: its reader and its writer. All that is said over it must be said within 30 seconds."""
    with places.dialable(home) as path:
        reader, writer = await asyncio.open_unix_connection(path)
    try:
        async with asyncio.timeout(30):
            yield reader, writer
    finally:
        writer.close()


async def raw(home, data, *, end=False):
    """Sends bytes to the socket; gives the status and the body of the answer."""
    async with talking(home) as (reader, writer):
        writer.write(data)
        if end:
            writer.write_eof()
        answer = await reader.read()
    head, _, rest = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]) if head else None, rest


def request(method, path, body=b"", *lines, kind=b"application/json"):
    head = [f"{method} {path} HTTP/1.1".encode(), b"Host: x", b"Connection: close", b"Content-Type: " + kind, *lines]
    if not any(line.lower().startswith(b"content-length") for line in lines):
        head.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join([*head, b"", body])
