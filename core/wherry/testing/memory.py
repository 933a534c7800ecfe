"""A transport inside one process: ``memory://NAME``, with faults from a seed.

    network = MemoryNetwork()
    good = MemoryTransport(network)
    bad = MemoryTransport(network, MemoryOptions(lies=0.1, cut=0.05, seed=7))
    async with good.listen("memory://a", source), bad.connect("memory://a") as channel:
        ...

Faults happen to what a transport fetches, so that one network has good and bad ways to one source. All of a network is
used on one event loop. It sleeps by the loop's clock, and draws by its own seed: in simulation a run can be repeated.
"""

from __future__ import annotations

import asyncio
import random
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Arrival, Channel, Laid, Transport
from wherry.buffers import ROOM
from wherry.errors import (
    LocalError,
    PeerError,
    PeerProtocolError,
    PeerTimeout,
    PeerUnreachable,
    UsageError,
    WherryError,
)
from wherry.offload import in_thread
from wherry.plugin import Duration, Provider, option, provider

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Sequence

    from wherry.abc.transport import BlockSource, Held, Lender, Want
    from wherry.buffers import Buffer
    from wherry.env import Env

_ADDRESS: Final = re.compile(r"memory://([a-z0-9][a-z0-9.-]{0,62})", re.ASCII)
_WANTS_AT_ONCE: Final = 16  # an arrival; so that an answer can be cut in the middle


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryOptions:
    """Options of the ``memory`` transport; the shares are chances from 0 to 1."""

    latency: Duration = option(Duration(0.0), help="how long each answer, and each connection, takes to begin")
    loss: float = option(0.0, minimum=0, maximum=1, help="share of fetches that are never answered: PeerTimeout")
    cut: float = option(0.0, minimum=0, maximum=1, help="share of fetches that are cut after a part of the answer")
    lies: float = option(0.0, minimum=0, maximum=1, help="share of blocks that come with a byte changed")
    missing: float = option(0.0, minimum=0, maximum=1, help="share of blocks that the source is said not to have")
    seed: int = option(0, help="what chance is drawn from")


class _Listener:
    def __init__(self, source: BlockSource) -> None:
        self.source = source
        self.open = True
        self.reading = 0  # threads that use the source
        self.quiet = asyncio.Event()
        self.quiet.set()

    def begin(self) -> None:
        self.reading += 1
        self.quiet.clear()

    def end(self) -> None:
        self.reading -= 1
        if not self.reading:
            self.quiet.set()


class MemoryNetwork:
    """Who listens under which name."""

    def __init__(self) -> None:
        self.listeners: dict[str, _Listener] = {}

    def provider(self) -> Provider[Transport]:
        """Gives this network as a plugin's provider, named ``memory``, for a test's own `Manager`."""

        def build(options: MemoryOptions, env: Env) -> Transport:
            del env
            return MemoryTransport(self, options)

        return provider("memory", options=MemoryOptions, build=build, summary="blocks inside one process, for tests")


class MemoryTransport(Transport):
    """Blocks inside one process."""

    schemes = frozenset({"memory"})

    def __init__(self, network: MemoryNetwork, options: MemoryOptions | None = None) -> None:
        self._network = network
        self._options = options or MemoryOptions()
        self._rng = random.Random(self._options.seed)

    @asynccontextmanager
    async def connect(self, address: str) -> AsyncIterator[Channel]:
        """See `Transport.connect`."""
        name = _name_of(address)
        await asyncio.sleep(self._options.latency)
        listener = self._network.listeners.get(name)
        if listener is None:
            raise PeerUnreachable(f"nobody listens on {address}", peer=address, hint="listen first, on the same network")
        yield MemoryChannel(address, listener, self._options, self._rng)

    @asynccontextmanager
    async def listen(self, address: str, source: BlockSource) -> AsyncIterator[str]:
        """See `SupportsListen.listen`."""
        name = _name_of(address)
        if name in self._network.listeners:
            raise LocalError(f"somebody listens on {address} already", hint="choose another name")
        listener = self._network.listeners[name] = _Listener(source)
        try:
            yield address
        finally:
            listener.open = False
            del self._network.listeners[name]
            await listener.quiet.wait()


class MemoryChannel(Channel):
    """A way to one listener."""

    def __init__(self, address: str, listener: _Listener, options: MemoryOptions, rng: random.Random) -> None:
        self._address = address
        self._listener = listener
        self._options = options
        self._rng = rng

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        options, rng = self._options, self._rng
        await asyncio.sleep(options.latency)
        if rng.random() < options.loss:
            raise PeerTimeout(f"{self._address} is silent", peer=self._address)
        stop = rng.randrange(len(wants) + 1) if rng.random() < options.cut else len(wants)
        for first in range(0, stop, _WANTS_AT_ONCE):
            numbers = range(first, min(first + _WANTS_AT_ONCE, stop))
            fates = [(rng.random() < options.missing, rng.random() < options.lies) for _ in numbers]
            buffer = await lender.lend()
            try:
                arrival = await self._used(partial(self._read, wants, numbers, fates, buffer, lender))
            except BaseException:
                buffer.release()
                raise
            left_out = len(arrival.blocks) + len(arrival.missing) < len(numbers)
            yield arrival
            if left_out:
                return
        if stop < len(wants):
            raise PeerProtocolError(f"{self._address} cut its answer short", peer=self._address)

    async def _used(self, read: partial[Arrival]) -> Arrival:
        """Has ``read`` run in a thread; the listener does not end while it uses the source."""
        listener = self._listener
        if not listener.open:
            raise PeerUnreachable(f"{self._address} listens no more", peer=self._address)
        listener.begin()
        try:
            return await in_thread(read)
        finally:
            listener.end()

    def _read(
        self, wants: Sequence[Want], numbers: Sequence[int], fates: Sequence[tuple[bool, bool]], buffer: Buffer, lender: Lender
    ) -> Arrival:
        found = self._find([wants[number] for number in numbers])
        at, blocks, missing = ROOM, [], []
        for number, held, (absent, lie) in zip(numbers, found, fates, strict=True):
            size = wants[number].size
            if held is None or absent or (size is not None and held.size != size):
                missing.append(number)
                continue
            if at + held.size > len(buffer.view):
                break
            try:
                held.read_into(buffer.view[at : at + held.size])
            except WherryError:
                missing.append(number)
                continue
            if lie and held.size:
                buffer.view[at] ^= 1
            blocks.append(Laid(number, at, at + held.size))
            at += held.size
        arrival = Arrival(buffer, blocks, missing)
        lender.settle(arrival)
        return arrival

    def _find(self, wants: Sequence[Want]) -> Sequence[Held | None]:
        try:
            return self._listener.source.find([want.cid for want in wants])
        except WherryError as problem:  # the other side's trouble is the peer's to us
            raise PeerError(f"{self._address} cannot look: {problem.message}", peer=self._address) from problem


def _name_of(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if match is None:
        shown = "an address with a user" if "@" in address else f"address {address!r}"  # which may have a password too
        raise UsageError(f"{shown} is not of the form memory://NAME", hint="write memory:// and a short name")
    return match[1]
