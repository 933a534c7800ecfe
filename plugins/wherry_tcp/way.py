"""The dialling side's way to one peer: its session, made anew when a connection was lost (specs/0004 §5)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wherry.abc.exchange import PeerInfo
from wherry.errors import PeerError, PeerUnreachable
from wherry.offload import settled
from wherry_tcp.dialling import dialled
from wherry_tcp.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.exchange import PeerLink
    from wherry.abc.transport import Arrival, Lender, Want
    from wherry.dial import Dial
    from wherry_tcp.engine import Engine
    from wherry_tcp.line import Line
    from wherry_tcp.places import Place


class Way:
    """What dials one peer. Made and used on one event loop; `open` it first, and `close` it in the end."""

    def __init__(self, engine: Engine, place: Place, policy: Dial) -> None:
        self.parallel = engine.options.parallel
        self._engine = engine
        self._place = place
        self._policy = policy
        self._session: Session | None = None
        self._running: asyncio.Task[object] | None = None
        self._opening = asyncio.Lock()

    def __repr__(self) -> str:
        return f"TcpChannel({self._place})"

    @property
    def link(self) -> PeerLink | None:
        """See `SupportsLink.link`."""
        return self._session

    @property
    def lost(self) -> bool:
        """Whether it was open, and its peer is gone or is being left."""
        return self._session is not None and self._session.ended

    async def open(self) -> None:
        """Dials and shakes hands. Raises PeerError."""
        engine, place = self._engine, self._place
        first = await dialled(engine, place, self._policy)
        line = first.line
        line.charge(first.id or first.ip or str(place))
        info = PeerInfo(place.scheme, first.id, str(place), first.ip, incoming=False)
        session = Session(engine, info, line, None)

        async def extend() -> Line:
            more = await dialled(engine, place, self._policy, join=first.hello.session)
            if more.id != first.id:
                more.line.stream.close(late=True)
                raise PeerUnreachable(f"{place} is another node now", peer=str(place))
            more.line.charge(first.id or first.ip or str(place))
            return more.line

        session.extend = extend if first.hello.session else None
        try:
            session.meet()
        except BaseException:
            await session.run()
            raise
        self._session = session
        self._running = asyncio.create_task(session.run())

    async def fetch(self, wants: Sequence[Want], lender: Lender, owner: object) -> tuple[Arrival, PeerError | None]:
        """Asks for blocks, in the turn of ``owner``; gives and raises what `Line.fetch` does.

        Where there is no exchange, a connection that was lost is made anew.
        """
        async with self._opening:
            session = self._session
            if session is None or (session.ended and self._engine.exchange is None):
                await self.close("lost")
                await self.open()
                session = self._session
        if session is None:
            raise PeerUnreachable(f"the connection to {self._place} has ended", peer=str(self._place))
        return await session.fetch(wants, lender, owner)

    async def record(self, name: bytes) -> bytes | None:
        """Asks for the record of a name (the multihash of its key); None: the peer has none. Raises PeerError."""
        if self._session is None:
            raise PeerUnreachable(f"the connection to {self._place} has ended", peer=str(self._place))
        return await self._session.record(name)

    async def close(self, reason: str) -> None:
        """Ends the connections."""
        if self._session is not None:
            self._session.close(reason)
        if self._running is not None:
            await settled([self._running])
        self._session = self._running = None
