"""The sending side of a connection: messages first, answers in turn, no faster than the flow allows (specs/0004 §7)."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.errors import PeerTimeout
from wherry.limits import RATE_BYTES_MIN
from wherry.links import trips
from wherry.offload import in_thread
from wherry.outlet import Outlet, Pump
from wherry.wire.connection import Misuse
from wherry.wire.frames import Frame
from wherry.wire.states import Stage
from wherry_tcp.engine import patience
from wherry_tcp.stream import writable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.flow import Flow
    from wherry.wire.connection import Connection
    from wherry_tcp.answers import Answering
    from wherry_tcp.engine import Engine
    from wherry_tcp.stream import Stream

_CONTROL_BYTES_MAX: Final = 1 << 20  # that wait to be sent; a peer that takes none of it is given up
_HOLD_S: Final = 0.1  # how long an answer keeps a buffer for a reader that takes nothing


class Sender:
    """Sends. Made and used on one event loop; what it sends is made on the thread that sends it."""

    def __init__(self, stream: Stream, wire: Connection, engine: Engine) -> None:
        self._whom = ""
        self._flow: Flow = engine.flow
        self._own: tuple[Flow | None, Flow] = None, self._flow  # the transfer that the last answer was charged to, and its flow
        self._outlet: Outlet | None = None
        self._resent = 0  # segments that the kernel had sent again, when it was asked last
        self._stream = stream
        self._wire = wire
        self._engine = engine
        self._control: deque[bytes] = deque()
        self._control_bytes = 0
        self._answers: deque[Answering] = deque()
        self._wake = asyncio.Event()
        self._ending = False

    def charge(self, whom: str) -> None:
        """Says whom everything goes to: a proven id, or a host. Before `run`."""
        self._whom = whom
        self._flow = self._engine.flow.of_peer(whom)
        self._own = None, self._flow

    def _flow_of(self, answering: Answering) -> Flow:
        """Gives what an answer is charged to: the transfer that has the blocks, or what this node gives besides."""
        if answering.flow is not self._own[0]:
            self._own = answering.flow, self._flow if answering.flow is None else answering.flow.of_peer(self._whom)
        return self._own[1]

    def put(self, data: bytes) -> None:
        """Has bytes of messages sent, before answers that have not begun. Raises PeerTimeout if the peer takes none."""
        self._control.append(data)
        self._control_bytes += len(data)
        self._wake.set()
        if self._control_bytes > _CONTROL_BYTES_MAX:
            raise PeerTimeout(f"{self._wire.peer} does not take what it is sent", peer=self._wire.peer)

    def answer(self, answering: Answering) -> None:
        """Has a request of the peer answered, after those before it."""
        self._answers.append(answering)
        self._wake.set()

    def end(self) -> None:
        """Lets `run` come back when all is sent."""
        self._ending = True
        self._wake.set()

    def clear(self) -> None:
        """Gives up what was not sent."""
        self._control.clear()
        while self._answers:
            self._answers.popleft().give_up()

    async def run(self) -> None:
        """Sends until it is told to end. Raises OSError, CutShort, TimeoutError."""
        while True:
            if not self._control and not self._answers:
                if self._ending:
                    return
                self._wake.clear()
                await self._wake.wait()
                continue
            outlet = Outlet(self._stream, self._frames(), self._engine.pool, spans=self._stream.spans, flow=self._flow)
            self._outlet = outlet
            try:
                await self._pump(outlet)
            finally:
                outlet.close()

    def _frames(self) -> Iterator[Frame]:
        """Gives what is to be sent: messages first, and between the messages of an answer. In a thread."""
        while True:
            while self._control:
                data = self._control.popleft()
                self._control_bytes -= len(data)
                yield Frame(data, (), 0, 0)
            if not self._answers:
                return
            answering = self._answers.popleft()
            for frames in self._messages(answering):
                if self._outlet is not None:
                    self._outlet.charge(self._flow_of(answering))
                yield from frames
                while self._control:
                    data = self._control.popleft()
                    self._control_bytes -= len(data)
                    yield Frame(data, (), 0, 0)

    def _messages(self, answering: Answering) -> Iterator[list[Frame]]:
        """Gives the messages of an answer, until this side says good-bye: the loop may do that between two of them."""
        try:
            yield from answering.messages(self._wire)
        except Misuse:
            if self._wire.sent is not Stage.ENDED:
                raise

    async def _pump(self, outlet: Outlet) -> None:
        """Sends all of it. Raises TimeoutError for a reader that is slower than the least rate."""
        loop, engine = asyncio.get_running_loop(), self._engine
        idle_s = engine.options.idle_timeout
        window, mark = loop.time(), 0
        threaded = bool(self._answers)
        while True:
            if threaded:
                engine.pumping_out += 1
                try:
                    state = await in_thread(partial(outlet.pump, patience(engine.pumping_out)), engine.sending)
                finally:
                    engine.pumping_out -= 1
            else:
                state = outlet.pump(0)
            self._sample(outlet.flow)
            if state is Pump.DONE:
                return
            if state is Pump.BUFFER:
                outlet.buffer = await engine.pool.lend()
                continue
            if state is Pump.LEAVE:
                piece = outlet.flow.up_piece
                await outlet.flow.up(piece)
                outlet.allowed = piece
                window, mark = loop.time(), outlet.sent
                continue
            try:
                await writable(self._stream, min(_HOLD_S, idle_s))
            except TimeoutError:
                outlet.rest()
                await writable(self._stream, idle_s)
            if loop.time() - window > idle_s:
                if outlet.sent - mark < RATE_BYTES_MIN * idle_s:
                    raise TimeoutError
                window, mark = loop.time(), outlet.sent

    def _sample(self, flow: Flow) -> None:
        """Tells a limited flow how long the way to the peer is, as the kernel knows it: background classes follow it."""
        if flow.limited and (found := trips(self._stream)) is not None:
            flow.sampled(found.seconds, lost=found.resent > self._resent)
            self._resent = found.resent
