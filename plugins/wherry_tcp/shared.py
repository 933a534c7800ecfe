"""A few ways to each peer, however many transfers of this process go by them (specs/0004 §5).

A daemon with a thousand transfers would else hold a thousand connections to one peer, and be told of each dataset on each.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Channel
from wherry.offload import settled
from wherry_tcp.way import Way

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from contextlib import AbstractAsyncContextManager

    from wherry.abc.exchange import PeerLink
    from wherry.abc.transport import Arrival, Lender, Want
    from wherry.dial import Dial
    from wherry_tcp.engine import Engine
    from wherry_tcp.places import Place


WAYS: Final = 8  # to one place: so few transfers have one each, and turns and classes at the other end


class _Shared:
    """A way, who uses it, and the task that opens it."""

    __slots__ = ("opening", "users", "way")

    def __init__(self, way: Way) -> None:
        self.way = way
        self.users = 0
        self.opening = asyncio.ensure_future(way.open())


class Share(Channel):
    """A way as one of those sees it who use it."""

    def __init__(self, way: Way) -> None:
        self.parallel = way.parallel  # type: ignore[misc]  # an instance's own number, as configured
        self._way = way

    def __repr__(self) -> str:
        return repr(self._way)

    @property
    def link(self) -> PeerLink | None:
        """See `SupportsLink.link`."""
        return self._way.link

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        arrival, problem = await self._way.fetch(wants, lender, self)
        yield arrival
        if problem is not None:
            raise problem

    async def record(self, name: bytes) -> bytes | None:
        """Asks for the record of a name (the multihash of its key); None: the peer has none. Raises PeerError."""
        return await self._way.record(name)


class Ways:
    """The ways of one engine. For one event loop."""

    def __init__(self, engine: Engine, policy: Dial) -> None:
        self._engine = engine
        self._policy = policy
        self._open: dict[Place, list[_Shared]] = {}

    def to(self, place: Place) -> AbstractAsyncContextManager[Share]:
        """Gives a way to ``place``, opened for the first who has it and closed with the last. Raises PeerError.

        Beyond so many it is the one that fewest have. One that was lost is left to those who have it.
        """
        return _Shares(self, place)

    def _take(self, place: Place) -> _Shared:
        open_ways = self._open[place] = [one for one in self._open.get(place, ()) if not one.way.lost]
        if len(open_ways) < WAYS:
            open_ways.append(_Shared(Way(self._engine, place, self._policy)))
            shared = open_ways[-1]
        else:
            shared = min(open_ways, key=lambda one: one.users)
        shared.users += 1
        return shared

    async def _leave(self, place: Place, shared: _Shared, *, failed: bool) -> None:
        if failed and shared.opening.done() and (shared.opening.cancelled() or shared.opening.exception() is not None):
            self._forget(place, shared)
        shared.users -= 1
        if not shared.users:
            self._forget(place, shared)
            shared.opening.cancel()
            try:
                await settled([shared.opening])
            finally:  # also where whoever leaves is cancelled once more
                await shared.way.close("done")

    def _forget(self, place: Place, shared: _Shared) -> None:
        left = [one for one in self._open.get(place, ()) if one is not shared]
        if left:
            self._open[place] = left
        else:
            self._open.pop(place, None)


class _Shares:
    """One who has a way. A generator for it took half a KiB more, in each of a thousand transfers."""

    __slots__ = ("_place", "_shared", "_ways")

    def __init__(self, ways: Ways, place: Place) -> None:
        self._ways, self._place = ways, place

    async def __aenter__(self) -> Share:
        self._shared = self._ways._take(self._place)
        try:
            await asyncio.shield(self._shared.opening)
            return Share(self._shared.way)
        except BaseException:
            await self._ways._leave(self._place, self._shared, failed=True)
            raise

    async def __aexit__(self, kind: type[BaseException] | None, _problem: object, _trace: object) -> None:
        await self._ways._leave(self._place, self._shared, failed=kind is not None)
