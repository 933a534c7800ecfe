"""The fetching side beside a gateway that is not wherry's: parts of files as CARs, and raw blocks (specs/0033 §11).

Any Trustless Gateway answers ``GET /ipfs/{cid}?format=raw`` (specs.ipfs.tech/http-gateways/trustless-gateway), and most give
the blocks of a range of a file in one CAR. A few threads take the wants of a fetch one after the other, each on a connection
that is kept, and receive straight into the lent buffer. Nothing that comes is believed: core hashes it against the CID that
was asked for.
"""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Arrival, Channel, Laid
from wherry.buffers import ROOM
from wherry.cid import RAW
from wherry.errors import PeerError, PeerProtocolError, WrongLength
from wherry.httpline import fill
from wherry.limits import CAR_HEADER_BYTES_MAX, LEAF_BYTES_MAX, PB_BYTES_MAX
from wherry.offload import crewed, stoppable
from wherry_http.gateways import ABSENT, CAR_TYPE, RAW_TYPE, Held, kind_of
from wherry_http.stretches import HEAD_BYTES_MAX, OTHER_BYTES_MAX, Cut, Receiver, Strange, Stretch, divided

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence

    from wherry.abc.transport import Lender, Want
    from wherry.buffers import Buffer
    from wherry.httplines import Lines
    from wherry_http.gateways import Asker
    from wherry_http.options import HttpOptions

_BATCHES: Final = 4  # under way at a time: each holds a buffer of the process's budget
_ACCEPT_CAR: Final = f"{CAR_TYPE}; version=1; order=dfs; dups=n"
_FAULTS: Final = frozenset({500, 502, 504})  # of a gateway that asks others, and may have more luck another time
_USELESS_MAX: Final = 3  # CARs in a row that bring nothing; then no more are asked for


class GatewayChannel(Channel):
    """A way to one trustless gateway. `prove` proves that it is one."""

    def __init__(self, asker: Asker, lines: Lines, options: HttpOptions) -> None:
        self.asker, self._lines, self.memory = asker, lines, asker.memory
        self.peer = asker.peer
        self.parallel = min(options.connections, _BATCHES)  # type: ignore[misc]  # an instance's own number, as configured
        self._connections = options.connections
        self._threads = ThreadPoolExecutor(options.connections, "wherry-gateway")
        self.useless = 0  # CARs in a row

    async def prove(self) -> None:
        """Checks that a Trustless Gateway is there. Raises as `Asker.prove`."""
        held = Held()
        await stoppable(lambda: self.asker.prove(held.hold), held.cut)

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`."""
        self.memory.check_rest(self.peer)
        buffer = await lender.lend()
        try:
            batch = _Batch(wants, buffer, self, lambda: lender.awaited)
            hands = max(1, min(self._connections, batch.tasks))
            await crewed(self._threads, batch.work, hands, batch.held.cut)
            if batch.failure is not None and not batch.blocks and not batch.missing:
                raise batch.failure
        except BaseException:
            buffer.release()
            raise
        yield Arrival(buffer, batch.blocks, batch.missing)
        if batch.failure is not None:
            raise batch.failure

    def close(self) -> None:
        """Ends the connections; fetches are over by then."""
        self._lines.close()
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Full(Exception):
    """There is no room for a block of unknown size: it is asked for again."""


class _Batch:
    """The wants of one fetch, and what came of them. Worked on by several threads."""

    def __init__(self, wants: Sequence[Want], buffer: Buffer, channel: GatewayChannel, awaited: Callable[[], bool]) -> None:
        self.blocks: list[Laid] = []
        self.missing: list[int] = []
        self.failure: PeerError | None = None
        self.held = Held(awaited)
        self._wants, self._view, self._channel = wants, buffer.view, channel
        self._peer, self._asker, self._memory = channel.peer, channel.asker, channel.memory
        self._lock = threading.Lock()
        self._starts: dict[int, int] = {}  # of wants whose size is known: those that follow each other lie back to back
        self._at = ROOM
        for number, want in enumerate(wants):
            if want.size is not None and self._at + want.size <= len(self._view):
                self._starts[number] = self._at
                self._at += want.size
        stretches, single = divided(wants)
        self._stretches, self._single = deque(stretches), deque(single)
        self.tasks = len(wants) if self._memory.gives_none(self._peer) else len(stretches) + len(single)

    def work(self) -> None:
        """Takes what is to be asked for until there is nothing."""
        try:
            while (task := self._next()) is not None:
                if isinstance(task, Stretch):
                    self._stretch(task)
                else:
                    self._block(task)
        except _Full:
            return
        except PeerError as problem:
            with self._lock:
                self.failure = self.failure or problem

    def _next(self) -> Stretch | int | None:
        with self._lock:
            if self.held.stopped or self.failure is not None:
                return None
            if self._stretches:
                return self._stretches.popleft()
            return self._single.popleft() if self._single else None

    def _place(self, number: int, size: int) -> tuple[memoryview, Callable[[], None]]:
        """Finds room for a block, and what to call when it lies there. Raises PeerProtocolError for a wrong size, _Full."""
        want = self._wants[number]
        most = LEAF_BYTES_MAX if want.cid.codec == RAW else PB_BYTES_MAX
        if size > most:
            words = f"{self._peer} promises {size} bytes for block {want.cid}, at most {most} are taken"
            raise PeerProtocolError(words, peer=self._peer)
        if want.size is not None and size != want.size:
            words = f"{self._peer} promises {size} bytes for block {want.cid}, not {want.size}"
            raise WrongLength(words, block=want.cid, peer=self._peer)
        with self._lock:
            start = self._starts.get(number)
            if start is None:
                start = self._at
                if start + size > len(self._view):
                    raise _Full
                self._at += size

        def done() -> None:
            with self._lock:
                self.blocks.append(Laid(number, start, start + size))

        return self._view[start : start + size], done

    # Raw blocks

    def _block(self, number: int) -> None:
        """Asks for a block. Raises PeerError, _Full."""
        cid, peer = self._wants[number].cid, self._peer
        with self._asker.answer(f"/ipfs/{cid}?format=raw", RAW_TYPE, LEAF_BYTES_MAX, self.held.hold) as (response, _, _):
            if response.status in ABSENT:
                with self._lock:
                    self.missing.append(number)
                return
            self._asker.check(response)
            status, kind = response.status, kind_of(response)
            if status != 200 or kind != RAW_TYPE:
                raise PeerProtocolError(f"{peer} answered with status {status} and {kind!a} to a raw block", peer=peer)
            if response.length is None:
                raise PeerProtocolError(f"{peer} does not say how long a block is", peer=peer)
            view, done = self._place(number, response.length)
            fill(response, view, peer)
            done()

    # CARs

    def _stretch(self, stretch: Stretch) -> None:
        """Asks for a CAR, and notes as raw blocks what does not come by it. Raises PeerError, _Full."""
        if not self._memory.may_ask(self._peer):
            self._instead(stretch)
            return
        receiver, gives = Receiver(stretch, self._wants, self._peer), None
        try:
            gives = self._car(stretch, receiver)
        except Strange:
            gives = False
        except Cut:
            pass
        except PeerProtocolError:
            gives = False
            raise
        finally:
            with self._lock:
                self._channel.useless = 0 if receiver.came else self._channel.useless + 1
            if gives is None and self._channel.useless >= _USELESS_MAX:
                gives = False
            self._memory.told(self._peer, gives)
        self._instead(stretch)

    def _car(self, stretch: Stretch, receiver: Receiver) -> bool | None:
        """Asks for a CAR and takes what comes; tells whether this gateway gives such. None: it may."""
        bytes_max = len(self._view) + CAR_HEADER_BYTES_MAX + OTHER_BYTES_MAX * 2 + HEAD_BYTES_MAX * len(stretch.wants)
        with self._asker.answer(stretch.path, _ACCEPT_CAR, bytes_max, self.held.hold) as (response, _, _):
            if response.status == 200 and kind_of(response) == CAR_TYPE:
                self._asker.check(response)
                receiver.receive(response, self._place)
                return True if receiver.came else None
            if response.status in (429, 503):
                self._asker.check(response)
            return None if response.status in ABSENT or response.status in _FAULTS else False

    def _instead(self, stretch: Stretch) -> None:
        """Has the blocks of a stretch that did not come asked for one by one."""
        with self._lock:
            came = {laid.want for laid in self.blocks}
            self._single.extend([number for number in stretch.wants if number not in came])
