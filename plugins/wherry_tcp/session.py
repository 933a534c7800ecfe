"""A peer with all connections to it: what core sees as one link (specs/0004 §3, specs/0025)."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from wherry.abc.exchange import PeerLink
from wherry.abc.transport import Channel
from wherry.errors import PeerBusy, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, WherryError
from wherry.hosts import is_loopback
from wherry.limits import ADDRESS_CHARS_MAX, WIRE_PEERS_MAX, WIRE_SPANS_MAX
from wherry.links import counters
from wherry.offload import in_thread, settled
from wherry.stretches import Stretches
from wherry.wire.connection import Asked
from wherry.wire.messages import (
    BlocksFlag,
    Cancel,
    Choke,
    Error,
    Fault,
    Follow,
    Have,
    HaveFlag,
    Peers,
    Record,
    Resolve,
    Unchoke,
    Unfollow,
    Want,
)
from wherry_tcp.answers import Answering
from wherry_tcp.maps import Maps
from wherry_tcp.naming import Naming
from wherry_tcp.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence

    from wherry.abc.exchange import HaveMap, Peer, PeerInfo
    from wherry.abc.transport import Arrival, BlockSource, Lender
    from wherry.abc.transport import Want as Wanted
    from wherry.cid import CID
    from wherry.wire.messages import Message
    from wherry_tcp.engine import Engine
    from wherry_tcp.line import Line

_FAST: Final = 50e6  # bytes a second on one connection: beyond, the processor is the narrow place, and another one helps


class TcpChannel(Channel):
    """Asks one peer, over whichever connection has the least to do."""

    def __init__(self, session: Session, parallel: int) -> None:
        self._session = session
        self.parallel = parallel  # type: ignore[misc]  # an instance's own number, as configured

    def __repr__(self) -> str:
        return f"TcpChannel({self._session.peer})"

    async def fetch(self, wants: Sequence[Wanted], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        arrival, problem = await self._session.fetch(wants, lender)
        yield arrival
        if problem is not None:
            raise problem


class Session(PeerLink):
    """One peer. Made and used on one event loop."""

    def __init__(self, engine: Engine, info: PeerInfo, line: Line, source: BlockSource | None) -> None:
        """``line`` is the first connection; ``source`` answers where there is no exchange, None: with nothing."""
        self.info = info
        self.peer = line.peer
        self.channel = TcpChannel(self, engine.options.parallel)
        self.lines: list[Line] = [line]
        self.extend: Callable[[], Awaitable[Line]] | None = None  # opens one more connection
        self._main = line
        self._engine = engine
        self._source = engine.exchange.source if engine.exchange is not None else source
        self._naming = Naming(line, self._source)
        self._peer: Peer | None = None
        self._choking = self._choked = False
        self._waiting: dict[int, tuple[Line, Want]] = {}  # requests that core knows of, by its numbers
        self._numbers: dict[tuple[Line, int], int] = {}
        self._next = 0
        self._turns = Turns(self._room)
        self._extras: set[asyncio.Task[None]] = set()
        self._coding: set[asyncio.Task[None]] = set()
        self._loopback = not info.ip or is_loopback(info.ip)
        self._loop = asyncio.get_running_loop()
        self._maps = Maps(engine, self._loop.time())  # of what we follow

    @property
    def ended(self) -> bool:
        """Whether the peer is gone, or is being left."""
        return self._main.closed or self._main.failed

    def meet(self) -> None:
        """Lets core take the peer, before `run`. Raises PeerError where it is not wanted; it is told so, by `run` too."""
        if self._engine.exchange is None:
            return
        try:
            self._peer = self._engine.exchange.meet(self)
        except PeerError as refused:
            self._main.send(Error(Fault.BUSY if isinstance(refused, PeerBusy) else Fault.DENIED, refused.message))
            self._main.finish()
            raise

    async def run(self) -> PeerError | None:
        """Works until the first connection has ended, and then ends the others; gives why."""
        problem: PeerError | None = None
        try:
            problem = await self._main.run(self._took)
        finally:
            for line in self.lines:
                line.end("the session has ended")
            for task in (*self._extras, *self._coding):
                task.cancel()
            await settled([*self._extras, *self._coding])
            await self._naming.close(problem)
            self._turns.end()
            self._maps.close()
            if self._peer is not None:
                peer, self._peer = self._peer, None
                peer.closed(problem.message if problem is not None else "in good order")
        return problem

    async def joined(self, line: Line) -> None:
        """Works with one more connection until it ends."""
        self.lines.append(line)
        self._turns.look()
        try:
            await line.run(self._took)
        finally:
            self.lines.remove(line)
            for number, (other, _) in list(self._waiting.items()):
                if other is line:
                    self._forget(number)
                    if self._peer is not None:
                        self._peer.cancelled(number)
            self._turns.look()

    # Asking

    async def fetch(self, wants: Sequence[Wanted], lender: Lender, owner: object = None) -> tuple[Arrival, PeerError | None]:
        """Asks for blocks, in the turn of ``owner`` among those who ask this peer. Gives and raises what `Line.fetch` does."""
        if self._choked:
            raise PeerBusy(f"{self.peer} does not answer us now", peer=self.peer)
        await self._turns.take(owner)
        try:
            arrival, problem = await self._fetch(wants, lender)
        except PeerError as fault:
            raise self._lost(fault) from fault
        finally:
            self._turns.over(owner)
        return arrival, self._lost(problem) if problem is not None else None

    def _lost(self, problem: PeerError) -> PeerError:
        """Gives the fault as one for which the peer is dialled anew, where it ended the session."""
        if not self._main.closed or self._engine.exchange is None or type(problem) not in (PeerProtocolError, PeerTimeout):
            return problem
        return PeerUnreachable(problem.message, peer=problem.peer, hint=problem.hint)

    async def _fetch(self, wants: Sequence[Wanted], lender: Lender) -> tuple[Arrival, PeerError | None]:
        self._turns.starting -= 1
        line = min((one for one in self.lines if not one.closed), key=lambda one: len(one.wire.asked), default=None)
        if line is None or self._main.closed:
            raise PeerUnreachable(f"the connection to {self.peer} has ended", peer=self.peer)
        if line.wire.asked and line.rate > _FAST and self.extend is not None:
            self._more()
        return await line.fetch(wants, lender)

    def _room(self) -> int:
        """Gives how many requests may be made now."""
        return sum([line.requests_max - len(line.wire.asked) for line in self.lines if not line.closed])

    def _more(self) -> None:
        """Opens one more connection, if there may be one, beside what goes on."""
        if self._extras and len(self._extras) >= len(self.lines):
            return  # one is being made
        if len(self.lines) < self._engine.options.connections and self.extend is not None:
            extra = asyncio.ensure_future(self._extra(self.extend))
            self._extras.add(extra)
            extra.add_done_callback(self._extras.discard)

    async def _extra(self, extend: Callable[[], Awaitable[Line]]) -> None:
        with suppress(PeerError):  # the first one does, then
            await self.joined(await extend())
            return
        self.extend = None

    async def record(self, name: bytes) -> bytes | None:
        """Asks for the record of a name (the multihash of its key); None: the peer has none. Raises PeerError."""
        return await self._naming.ask(name, self._engine.options.request_timeout)

    # What the peer says

    def _took(self, line: Line, message: Message | Asked) -> None:
        if isinstance(message, Asked):
            self._turns.look()
        elif isinstance(message, Want):
            self._wanted(line, message)
        elif isinstance(message, Cancel):
            self._cancelled(line, message.request)
        elif isinstance(message, Follow):
            if self._peer is None:
                line.send(Have(message.root, (), HaveFlag.NOTHING))
            else:
                self._peer.follows(message.root)
        elif isinstance(message, Resolve | Record):
            self._naming.took(message)
        elif self._peer is None:
            if isinstance(message, Choke | Unchoke):
                self._choked = isinstance(message, Choke)
        elif isinstance(message, Unfollow):
            self._peer.unfollows(message.root)
        elif isinstance(message, Have):
            self._has(self._peer, message)
            line.rest(self._maps.pause_s(message, self._loop.time()))
        elif isinstance(message, Peers):
            self._peer.peers(message.addresses)
        elif isinstance(message, Choke | Unchoke):
            self._choked = isinstance(message, Choke)
            self._peer.choked(on=self._choked)

    def _wanted(self, line: Line, want: Want) -> None:
        if self._choking:
            self._refuse(line, want.request)
        elif self._peer is None:
            self._send(line, Answering(want, self._source, self.info.scheme, self._engine.emit))
        else:
            number = self._next
            self._next += 1
            self._waiting[number] = (line, want)
            self._numbers[line, want.request] = number
            self._peer.asked(number, want.cids)

    def _cancelled(self, line: Line, request: int) -> None:
        number = self._numbers.get((line, request))
        if number is None:
            return
        waiting = number in self._waiting
        if waiting:
            self._forget(number)
            line.put(line.wire.blocks(request, 0, BlocksFlag.FINAL))
        if self._peer is not None:
            self._peer.cancelled(number)

    def _has(self, peer: Peer, have: Have) -> None:
        if have.root not in self._maps:  # we do not follow it any more
            return
        if have.flags & HaveFlag.NOTHING:
            self._maps.nothing(have.root)
            peer.has_nothing(have.root)
        else:
            peer.has(have.root, *self._maps.took(have, peer.size(have.root)))

    # What core says (`PeerLink`)

    def follow(self, root: CID) -> None:
        """See `PeerLink.follow`."""
        if self._maps.follow(root):
            self._main.send(Follow(root))

    def unfollow(self, root: CID) -> None:
        """See `PeerLink.unfollow`."""
        if self._maps.unfollow(root):
            self._main.send(Unfollow(root))

    def tell_have(self, root: CID, have: HaveMap | None, gained: Sequence[tuple[int, int]] | None = None) -> None:
        """See `PeerLink.tell_have`."""
        if have is None:
            self._main.send(Have(root, (), HaveFlag.NOTHING))
            return
        flags = HaveFlag.COMPLETE if have.complete else HaveFlag(0)
        if have.choosy:
            flags |= HaveFlag.CHOOSY
        whole = gained is None
        spans = list(have.spans) if gained is None else list(Stretches(gained))
        if have.complete and not have.choosy:
            spans = []
        while True:
            some, spans = tuple(spans[:WIRE_SPANS_MAX]), spans[WIRE_SPANS_MAX:]
            self._main.send(Have(root, some, flags if whole else flags | HaveFlag.GAINED))
            whole = False
            if not spans:
                return

    def tell_peers(self, addresses: Sequence[str]) -> None:
        """See `PeerLink.tell_peers`."""
        some = tuple(one for one in addresses if len(one) <= ADDRESS_CHARS_MAX and one.isascii())
        for start in range(0, len(some), WIRE_PEERS_MAX):
            self._main.send(Peers(some[start : start + WIRE_PEERS_MAX]))

    def answer(self, request: int) -> None:
        """See `PeerLink.answer`."""
        found = self._waiting.pop(request, None)
        if found is None:
            return
        line, want = found

        def told(sent: int) -> None:
            with suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(self._answered, request, line, want, sent)

        answering = Answering(want, self._source, self.info.scheme, self._engine.emit, told)
        if line.closed:
            self._loop.call_soon(self._answered, request, line, want, 0)
        else:
            self._send(line, answering)

    def _send(self, line: Line, answering: Answering) -> None:
        """Has an answer sent, coded where that brings more."""
        engine = self._engine
        link = self._rate(line) if line.decodes and engine.options.coding == "auto" else None
        if not engine.coder.may_code(line.decodes, link, loopback=self._loopback):
            line.answer(answering)
            return
        task = self._loop.create_task(self._coded(line, answering, link))
        self._coding.add(task)
        task.add_done_callback(self._coding.discard)

    def _rate(self, line: Line) -> float | None:
        """Gives how fast the link is by what the kernel saw; None where that is not known yet."""
        return self._engine.links.rate((self.info.ip, id(line)), self._loop.time(), counters(line.stream))

    async def _coded(self, line: Line, answering: Answering, link: float | None) -> None:
        """Codes an answer and has it sent; the coded bytes count as held until they are."""
        engine, over = self._engine, asyncio.Event()

        def told() -> None:
            with suppress(RuntimeError):  # the loop has been closed
                self._loop.call_soon_threadsafe(over.set)

        try:
            frames = await in_thread(answering.plan, engine.sending)
            async with engine.coder.coded(frames, line.decodes, link, loopback=self._loopback) as coded:
                answering.code(coded or frames)
                answering.on_over = told
                if line.closed:
                    answering.give_up()
                else:
                    line.answer(answering)
                await over.wait()
        except WherryError:  # the store cannot be read: the same comes of it below, and is said to the peer
            line.answer(answering)
        except BaseException:
            answering.give_up()
            raise

    def _answered(self, number: int, line: Line, want: Want, sent: int) -> None:
        self._numbers.pop((line, want.request), None)
        if self._peer is not None:
            self._peer.answered(number, sent)

    def choke(self, *, on: bool) -> None:
        """See `PeerLink.choke`."""
        if on == self._choking:
            return
        self._choking = on
        self._main.send(Choke() if on else Unchoke())
        for number, (line, want) in list(self._waiting.items()) if on else ():
            self._forget(number)
            self._refuse(line, want.request)

    def close(self, reason: str) -> None:
        """See `PeerLink.close`."""
        self._main.end(reason)

    def _forget(self, number: int) -> None:
        line, want = self._waiting.pop(number)
        self._numbers.pop((line, want.request), None)

    def _refuse(self, line: Line, request: int) -> None:
        if not line.closed:
            line.put(line.wire.blocks(request, 0, BlocksFlag.FINAL | BlocksFlag.REFUSED))
