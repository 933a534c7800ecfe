"""What the tests of `get` share: nodes that reach each other by the memory transport, and gets that are interrupted."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager

import pytest

from wherry.session import Session
from wherry.testing.memory import MemoryNetwork, MemoryOptions, MemoryTransport

MIB = 1 << 20
A = "memory://a"


class World:
    """Nodes that reach each other by the memory transport. ``ways``: how an address is reached, where not plainly."""

    def __init__(self, base):
        self.base = base
        self.network = MemoryNetwork()
        self.ways = {}

    def transport(self, address, **_):
        return self.ways.get(address) or MemoryTransport(self.network)

    @asynccontextmanager
    async def node(self, name="b"):
        async with Session.open(home=self.base / f"home-{name}", environ={}) as session:
            session._wiring.transport = self.transport
            yield session

    @asynccontextmanager
    async def shared(self, path, address=A, **options):
        """Adds ``path`` to a home of its own, and serves it; gives the CID."""
        async with self.node(address.removeprefix("memory://")) as session:
            added = await session.add(str(path), **options)
            async with MemoryTransport(self.network).listen(address, session._store):
                yield added.cid


def write(root, files):
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
    return root


def beside(target):
    """What lies in the target's directory and is hidden as wherry hides things."""
    return [name for name in os.listdir(target.parent) if "wherry" in name]


async def interrupted(world, cid, target, *, after_bytes, **options):
    """Runs a get and cancels it when so many bytes are done; gives the bytes that it says are done."""
    async with world.node() as session:
        done = 0

        def observe(event):
            nonlocal done
            done = getattr(event, "bytes_done", done)
            if done >= after_bytes:
                running.cancel()

        running = asyncio.create_task(session.get(cid, sources=[A], output=str(target), observe=observe, **options))
        with pytest.raises(asyncio.CancelledError):
            await running
    return done


class Slow(MemoryTransport):
    """One fetch at a time, so that there is a middle to be interrupted in."""

    def __init__(self, network):
        super().__init__(network, MemoryOptions(latency=0.1))

    @asynccontextmanager
    async def connect(self, address):
        async with super().connect(address) as channel:
            channel.parallel = 1
            yield channel


class Odd(MemoryTransport):
    """A source that behaves as its ``fetch`` is told to, some of the time."""

    def __init__(self, network, fetch, *, connect=None):
        super().__init__(network)
        self.fetch, self.connecting = fetch, connect

    @asynccontextmanager
    async def connect(self, address):
        if self.connecting is not None:
            self.connecting()
        async with super().connect(address) as channel:
            plain = channel.fetch
            channel.fetch = lambda wants, lender: self.fetch(plain, wants, lender)
            yield channel


def files_in(root):
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))
