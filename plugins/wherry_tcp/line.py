"""One connection at work: a task that receives, one that sends, and the requests under way (specs/0004 §5, §7)."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Arrival
from wherry.errors import PeerBusy, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, in_words
from wherry.limits import BATCH_BYTES_MAX, RATE_BYTES_MIN, STARVED_S
from wherry.offload import in_thread, settled
from wherry.outlet import LEAVE_BYTES, CutShort
from wherry.wire.connection import Asked, Connection
from wherry.wire.messages import Bye, Error, Ping, Pong
from wherry_tcp.engine import patience
from wherry_tcp.inlet import Inlet, Took
from wherry_tcp.sender import Sender
from wherry_tcp.stream import readable, writable
from wherry_tcp.words import ended

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from wherry.abc.transport import Laid, Lender, Want
    from wherry.buffers import Buffer
    from wherry.wire.messages import Message
    from wherry_tcp.answers import Answering
    from wherry_tcp.engine import Engine
    from wherry_tcp.stream import Stream

_LAST_S: Final = 1.0  # for the last words of both sides
_LAST_BEHIND_S: Final = 0.25  # the same where they would come behind an answer that nobody wants any more


class Fetch:
    """A request of ours, with who wants it."""

    __slots__ = ("arrival", "asked", "buffer", "done", "lender", "lending")

    def __init__(self, asked: Asked, lender: Lender, done: asyncio.Future[None]) -> None:
        self.asked = asked
        self.lender = lender
        self.done = done
        self.buffer: Buffer | None = None
        self.lending: asyncio.Future[Buffer] | None = None
        self.arrival: Arrival | None = None  # settled already


class Line:
    """One open connection. Made and used on one event loop."""

    def __init__(self, stream: Stream, wire: Connection, engine: Engine) -> None:
        self.stream = stream
        self.wire = wire
        self.peer = wire.peer
        self.requests_max = engine.options.max_requests  # that the peer takes; its Hello says it
        self.codings: tuple[str, ...] = ()  # that our Hello offered
        self.decodes: tuple[str, ...] = ()  # that the peer's did
        self.rate = 0.0  # bytes a second while an answer was received, lately
        self._engine = engine
        self._options = engine.options
        self._inlet = Inlet(stream, wire, self._settle)
        self._fetches: dict[Asked, Fetch] = {}
        self._out = Sender(stream, wire, engine)
        self._pumped = asyncio.Event()  # no thread receives
        self._pumped.set()
        self._bulk_at = 0.0  # when bytes of blocks were received last
        self._rest_s: float | None = None  # for so long nothing more is heard; None: the next message may be taken at once
        self._problem: PeerError | None = None
        self._ending = False
        self.closed = False

    @property
    def failed(self) -> bool:
        """Whether something has ended it that is not yet cleared away."""
        return self._problem is not None or self._ending

    def charge(self, whom: str) -> None:
        """Says whom this connection leads to, for the limits of the link: a proven id, or a host. Before `run`."""
        self._out.charge(whom)

    # Handshake: before `run`

    async def hear(self) -> Message:
        """Receives one message. Raises PeerError, OSError."""
        while not self.wire.received:
            took = self._inlet.pump(0, threaded=False)
            if self.wire.received:
                break
            if took is Took.DRY:
                await readable(self.stream, self._options.connect_timeout)
            elif took is Took.ENDED:
                raise PeerProtocolError(f"{self.peer} closed the connection in the handshake", peer=self.peer)
        message = self.wire.received.popleft()
        if isinstance(message, Asked):
            raise PeerProtocolError(f"{self.peer} sent blocks in the handshake", peer=self.peer)
        return message

    async def say(self, message: Message) -> None:
        """Sends one message. Raises PeerError, OSError."""
        data = memoryview(self.wire.send(message))
        while data:
            try:
                data = data[self.stream.send(data) :]
            except BlockingIOError:
                await writable(self.stream, self._options.connect_timeout)

    # What it is told to do

    def put(self, data: bytes) -> None:
        """Has bytes of messages sent, before answers that have not begun. Ends a connection whose peer takes none."""
        if self.closed or self._ending or not data:
            return
        try:
            self._out.put(data)
        except PeerTimeout as problem:
            self.fail(problem)

    def send(self, message: Message) -> None:
        """Has a message sent."""
        if not self.closed and not self._ending:
            self.put(self.wire.send(message))

    def answer(self, answering: Answering) -> None:
        """Has a request of the peer answered, after those before it."""
        self._out.answer(answering)

    def rest(self, seconds: float) -> None:
        """Hears nothing more from the peer for so long; of 0, until the loop has had a turn. For `run`'s ``took``."""
        self._rest_s = seconds

    def fail(self, problem: PeerError) -> None:
        """Ends the connection for a fault; `run` comes back with it."""
        if self._problem is None:
            self._problem = problem
        self.stream.wake()

    def end(self, reason: str) -> None:
        """Ends the connection in good order: what is under way is given up, and the peer is told why."""
        if not self._ending:
            self.send(Bye(reason))
            self.finish()

    def finish(self) -> None:
        """Ends the connection when what is to be sent is sent."""
        self._ending = True
        self._out.end()

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> tuple[Arrival, PeerError | None]:
        """Asks for blocks and waits for them; cancelled, it lets go of the buffer first.

        Gives also the fault that ended the connection, where blocks had come by then. Raises PeerError where none had.
        """
        if self.closed or self._ending:
            raise PeerUnreachable(f"the connection to {self.peer} has ended", peer=self.peer)
        sizes = [want.size for want in wants]
        known = sum(size for size in sizes if size is not None)
        asked, data = self.wire.ask(
            wants, BATCH_BYTES_MAX if None in sizes else known, self.codings, self._engine.codings().decode_into
        )
        loop = asyncio.get_running_loop()
        fetch = self._fetches[asked] = Fetch(asked, lender, loop.create_future())
        self.put(data)
        began = loop.time()
        late = loop.call_later(self._options.request_timeout, self._late, fetch, began)
        try:
            await fetch.done
            if asked.refused:
                raise PeerBusy(f"{self.peer} does not answer us now", peer=self.peer)
        except BaseException as problem:
            came = self._came(fetch)
            if isinstance(problem, PeerError) and came:
                return Arrival(fetch.buffer, came), problem
            await self._drop(fetch)
            raise
        finally:
            late.cancel()
            self._fetches.pop(asked, None)
        if fetch.arrival is not None:
            return fetch.arrival, None
        if not asked.reader.blocks and fetch.buffer is not None:
            fetch.buffer.release()
            fetch.buffer = None
        return Arrival(fetch.buffer, asked.reader.blocks, asked.reader.missing), None

    def _came(self, fetch: Fetch) -> list[Laid]:
        """Gives the blocks of a request that lie whole in its buffer, once nothing is received any more."""
        if not self.closed or fetch.buffer is None or fetch.arrival is not None:
            return []
        asked = fetch.asked
        return asked.reader.whole(self._inlet.filled if self.wire.filling is asked else 0)

    def _late(self, fetch: Fetch, began: float) -> None:
        """Gives a request up whose answer has not begun, while nothing else came either."""
        if fetch.done.done() or fetch.buffer is not None:
            return
        loop = asyncio.get_running_loop()
        left = max(began, self._bulk_at) + self._options.request_timeout - loop.time()
        if left > 0:
            loop.call_later(left, self._late, fetch, began)
        else:
            fetch.done.set_exception(PeerTimeout(f"{self.peer} does not answer", peer=self.peer))

    async def _drop(self, fetch: Fetch) -> None:
        """Takes a request back, and its buffer away from whoever fills it."""
        fetch.asked.unwanted = True
        if not self.closed and not self._ending:
            self.put(self.wire.cancel(fetch.asked))
        if fetch.lending is not None:
            fetch.lending.cancel()
        while not self._pumped.is_set():
            with suppress(asyncio.CancelledError):  # cancelled again: the thread is there all the same
                await self._pumped.wait()
        self._inlet.divert()
        if fetch.buffer is not None:
            fetch.buffer.release()
            fetch.buffer = None

    # At work

    async def run(self, took: Callable[[Line, Message | Asked], None]) -> PeerError | None:
        """Works until the connection ends; gives why, None if that was in good order.

        ``took`` is told each message, and each answer for which nobody waited any more.
        """
        reader = asyncio.create_task(self._read(took))
        writer = asyncio.create_task(self._out.run())
        try:
            await asyncio.wait({reader, writer}, return_when=asyncio.FIRST_COMPLETED)
            if not reader.done():  # what the peer said last tells why nothing can be sent, or that it has heard our Bye
                await asyncio.wait({reader}, timeout=_LAST_BEHIND_S if self._inlet.midway else _LAST_S)
            elif self._ending:
                await asyncio.wait({writer}, timeout=_LAST_S)
        finally:
            self.stream.wake()
            reader.cancel()
            writer.cancel()
            try:
                await settled([reader, writer])
            finally:  # also where this is cancelled once more while it waits for a thread
                self._closed(reader, writer)
        return self._problem

    def _closed(self, *tasks: asyncio.Task[None]) -> None:
        try:
            for task in tasks:
                if self._problem is None and not task.cancelled() and task.exception() is not None:
                    self._problem = self._blamed(task.exception())
        finally:  # also where the fault is of the program, and goes on
            self.closed = True
            self.stream.close(late=self._problem is not None and not isinstance(self._problem, PeerUnreachable))
        problem = self._problem or PeerUnreachable(f"{self.peer} ended the connection", peer=self.peer)
        for fetch in list(self._fetches.values()):
            if not fetch.done.done():
                fetch.done.set_exception(problem)
        self._out.clear()

    def _blamed(self, problem: BaseException | None) -> PeerError:
        if isinstance(problem, PeerError):
            return problem
        if isinstance(problem, TimeoutError):
            return PeerTimeout(f"{self.peer} was silent or too slow", peer=self.peer)
        if isinstance(problem, OSError | CutShort | ssl.SSLError):
            return PeerProtocolError(f"the connection to {self.peer} is cut: {in_words(problem)}", peer=self.peer)
        raise problem or RuntimeError("a task that failed has no exception")

    # Receiving

    async def _read(self, took: Callable[[Line, Message | Asked], None]) -> None:
        loop, idle_s = asyncio.get_running_loop(), self._options.idle_timeout
        window = heard = loop.time()
        mark = seen = 0  # bytes, at these times
        bulk = late = False
        while True:
            state = await self._pump_in() if bulk else self._inlet.pump(0, threaded=False)
            bulk = False
            while self._tell(took):
                rest_s, self._rest_s = self._rest_s or 0.0, None
                await asyncio.sleep(rest_s)
            if state is Took.ENDED:
                if self._inlet.midway:
                    raise PeerProtocolError(f"{self.peer} cut the connection in the middle of a message", peer=self.peer)
                return
            if state is Took.EVENTS:
                await asyncio.sleep(0)
            elif state is Took.BULK:
                bulk = True
            elif state is Took.BUFFER:
                await self._lend()
                window, mark = loop.time(), self._inlet.got
            else:
                now, midway = loop.time(), self._inlet.midway
                if self._inlet.got != seen:
                    seen, heard = self._inlet.got, now
                    if not midway:
                        window, mark = now, seen
                elif late:  # it was silent for so long, and is still after this process had time to look
                    if now - heard >= self._patience(midway=midway):
                        raise TimeoutError
                    if not midway:
                        self.send(Ping(0))
                span = self._patience(midway=midway)
                if now - window > span:
                    if midway and seen - mark < RATE_BYTES_MIN * span:
                        raise TimeoutError
                    window, mark = now, seen
                filling = self.wire.filling
                bulk = filling is not None and filling.reader.bulk
                late = False
                try:
                    await readable(self.stream, min(idle_s, STARVED_S) if midway else idle_s / 3)
                except TimeoutError:
                    late = True

    def _patience(self, *, midway: bool) -> float:
        """Gives how long the peer may be silent now: not long with a buffer that others wait for."""
        fetch = self._fetches.get(self.wire.filling) if midway and self.wire.filling is not None else None
        starving = fetch is not None and fetch.buffer is not None and fetch.lender.awaited
        return min(self._options.idle_timeout, STARVED_S) if starving else self._options.idle_timeout

    async def _pump_in(self) -> Took:
        """Receives blocks on a worker's thread."""
        engine, before, began = self._engine, self._inlet.got, asyncio.get_running_loop().time()
        engine.pumping_in += 1
        self._pumped.clear()
        try:
            return await in_thread(partial(self._inlet.pump, patience(engine.pumping_in), threaded=True), engine.receiving)
        finally:
            self._pumped.set()
            engine.pumping_in -= 1
            now = asyncio.get_running_loop().time()
            if self._inlet.got - before >= LEAVE_BYTES:
                self.rate = (self._inlet.got - before) / max(now - began, 1e-6)
            self._bulk_at = now

    async def _lend(self) -> None:
        """Has a buffer lent for the request whose blocks come next, unless it is taken back meanwhile."""
        filling = self.wire.filling
        if filling is None:
            return
        fetch = self._fetches.get(filling)
        if fetch is None or fetch.asked.unwanted:
            filling.unwanted = True  # nobody waits for it any more
            return
        fetch.lending = asyncio.ensure_future(fetch.lender.lend())
        try:
            await asyncio.wait([fetch.lending])
        except asyncio.CancelledError:
            fetch.lending.cancel()
            await asyncio.wait([fetch.lending])
            if not fetch.lending.cancelled() and fetch.lending.exception() is None:
                fetch.lending.result().release()
            raise
        lending, fetch.lending = fetch.lending, None
        if lending.cancelled():
            return
        buffer = lending.result()
        if fetch.done.done() or fetch.asked.unwanted:
            filling.unwanted = True
            buffer.release()
            return
        fetch.buffer = buffer
        filling.reader.view = buffer.view

    def _settle(self, asked: Asked) -> None:
        """Has what came verified and written, on the thread that received it."""
        fetch = self._fetches.get(asked)
        if fetch is None or fetch.buffer is None or asked.unwanted or not asked.reader.blocks:
            return
        arrival = Arrival(fetch.buffer, asked.reader.blocks, asked.reader.missing)
        fetch.lender.settle(arrival)
        fetch.arrival = arrival

    def _tell(self, took: Callable[[Line, Message | Asked], None]) -> bool:
        """Hands on what was received; tells whether it stops for a rest, after which there may be more."""
        while self.wire.received and self._rest_s is None:
            message = self.wire.received.popleft()
            if isinstance(message, Asked):
                fetch = self._fetches.get(message)
                if fetch is not None and not fetch.done.done():
                    fetch.done.set_result(None)
                else:
                    took(self, message)
            elif isinstance(message, Ping):
                self.send(Pong(message.number))
            elif isinstance(message, Error | Bye):
                raise ended(message, self.peer)
            elif not isinstance(message, Pong):
                took(self, message)
        return self._rest_s is not None
