"""The way to one web server: batches on the loop, their runs in threads (specs/0020 §3, specs/decisions/0004)."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, ClassVar, Final

from wherry.abc.transport import Arrival, Channel
from wherry.errors import PeerBusy, PeerError
from wherry.offload import crewed
from wherry.runs import planned

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from wherry.abc.transport import Lender, Want
    from wherry.buffers import Buffer
    from wherry.httpline import Line
    from wherry.runs import Plan, Run
    from wherry_web.client import Client
    from wherry_web.options import WebOptions

_BATCHES: Final = 4  # under way at a time: each holds a buffer of the process's budget


class WebChannel(Channel):
    """A way to one plain web server. Made by the transport."""

    manifests: ClassVar[bool] = False

    def __init__(self, client: Client, peer: str, options: WebOptions) -> None:
        self._client, self._peer = client, peer
        self._width = options.connections
        self.parallel = min(options.connections, _BATCHES)  # type: ignore[misc]  # an instance's own number, as configured
        self._threads = ThreadPoolExecutor(options.connections, "wherry-web")

    async def fetch(self, wants: Sequence[Want], lender: Lender) -> AsyncGenerator[Arrival, None]:
        """See `Channel.fetch`. What has no place in a file is missing."""
        left = self._client.rest_until - time.monotonic()
        if left > 0:
            raise PeerBusy(f"{self._peer} asks to be left alone for {left:.0f} s", peer=self._peer)
        if all(want.size is None for want in wants):  # manifest nodes: no memory is lent for them
            yield Arrival(missing=range(len(wants)))
            return
        buffer = await lender.lend()
        try:
            batch = _Batch(planned(wants, len(buffer.view)), buffer, self._client, lender)
            await crewed(self._threads, batch.work, batch.hands(self._width), batch.cut)
            if batch.failure is not None and not batch.arrival.blocks:
                raise batch.failure
        except BaseException:
            buffer.release()
            raise
        yield batch.arrival
        if batch.failure is not None:
            raise batch.failure

    def close(self) -> None:
        """Ends the threads; fetches are over by then."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _Batch:
    """The runs of one fetch, and what came of them. Worked on by several threads."""

    def __init__(self, plan: Plan, buffer: Buffer, client: Client, lender: Lender) -> None:
        self._runs, self._buffer, self._client, self._lender = deque(plan.runs), buffer, client, lender
        self._blocks, self._missing = list(plan.blocks), list(plan.missing)
        self._lines: set[Line] = set()  # in use
        self._lock = threading.Lock()
        self._stopped = False
        self._working = 0
        self.failure: PeerError | None = None
        self.arrival = Arrival(buffer)

    def hands(self, width: int) -> int:
        """Gives how many threads this is work for; they are counted on to come."""
        self._working = max(1, min(width, len(self._runs)))
        return self._working

    def work(self) -> None:
        """Takes runs until there are none; the last thread to end settles what came."""
        try:
            while (run := self._next()) is not None:
                self._do(run)
        finally:
            with self._lock:
                self._working -= 1
                last = not self._working and not self._stopped
        if last:
            self.arrival.blocks, self.arrival.missing = self._blocks, self._missing
            self._lender.settle(self.arrival)

    def _next(self) -> Run | None:
        with self._lock:
            return self._runs.popleft() if self._runs and not self._stopped and self.failure is None else None

    def _do(self, run: Run) -> None:
        used: list[Line] = []

        def hold(line: Line | None) -> None:
            with self._lock:
                self._lines.difference_update(used)
                used[:] = [line] if line is not None else []
                self._lines.update(used)
                cut = self._stopped
            if line is not None:
                line.awaited = lambda: self._lender.awaited
                if cut:
                    line.cut()

        try:
            count = self._client.fetch(run, self._buffer.view, hold)
        except PeerError as problem:
            with self._lock:
                self.failure = self.failure or problem
                self._blocks += run.arrived(run.came)[0]
            return
        blocks, missing = run.arrived(count)
        with self._lock:
            self._blocks += blocks
            self._missing += missing

    def cut(self) -> None:
        """Wakes the threads; they end without settling."""
        with self._lock:
            self._stopped = True
            lines = list(self._lines)
        for line in lines:
            line.cut()
