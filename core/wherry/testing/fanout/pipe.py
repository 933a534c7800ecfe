"""The two directions of a node's link (specs/0030 §3): fluid, shared fairly by what is under way."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.testing.fanout.clock import Clock

_EPSILON: Final = 1e-3  # of a byte: times are floats


class Flow:
    """One block on its way up."""

    __slots__ = ("cut", "finish", "sent", "size")

    def __init__(self, size: int, finish: float, sent: Callable[[], None]) -> None:
        self.size = size
        self.finish = finish  # by the service that each flow gets
        self.sent = sent
        self.cut = False


class Uplink:
    """Gives each flow the same share of its rate.

    All flows get the same, so the one with the least left is over first, and ``_service``, what each has got since the
    beginning, tells of all how far they are (the virtual time of fair queueing; Parekh and Gallager, 1993).
    """

    def __init__(self, clock: Clock, rate: float) -> None:
        self.rate = rate
        self.moved = 0.0  # bytes
        self._clock = clock
        self._heap: list[tuple[float, int, Flow]] = []
        self._count = 0
        self._order = 0
        self._service = 0.0
        self._at = 0.0
        self._version = 0

    def send(self, size: int, sent: Callable[[], None]) -> Flow:
        """Takes a block; ``sent`` is called when its last byte has left."""
        self._advance()
        flow = Flow(size, self._service + size, sent)
        self._order += 1
        heapq.heappush(self._heap, (flow.finish, self._order, flow))
        self._count += 1
        self._plan()
        return flow

    def cut(self, flow: Flow) -> int:
        """Ends a flow; gives how many bytes of it were sent."""
        self._advance()
        flow.cut = True
        self._count -= 1
        self._plan()
        return max(0, round(flow.size - max(0.0, flow.finish - self._service)))

    def _advance(self) -> None:
        now = self._clock.now
        if self._count:
            self._service += (now - self._at) * self.rate / self._count
            self.moved += (now - self._at) * self.rate
        self._at = now

    def _plan(self) -> None:
        heap = self._heap
        while heap and heap[0][2].cut:
            heapq.heappop(heap)
        self._version += 1
        if heap:
            left = max(0.0, heap[0][0] - self._service)
            self._clock.after(left * self._count / self.rate, self._over, self._version)

    def _over(self, version: int) -> None:
        if version != self._version:
            return
        self._advance()
        heap, done = self._heap, []
        while heap and (heap[0][2].cut or heap[0][0] <= self._service + _EPSILON):
            flow = heapq.heappop(heap)[2]
            if not flow.cut:
                done.append(flow)
        self._count -= len(done)
        self._plan()
        for flow in done:
            flow.sent()


class Downlink:
    """Takes blocks one behind the other, as fast as it can; what comes while it is busy waits in the network."""

    __slots__ = ("_free", "rate")

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self._free = 0.0

    def take(self, now: float, size: int) -> float:
        """Gives when the last byte of a block is through, that could be at ``now``.

        Its bytes came while it was sent; so a link that was idle meanwhile adds nothing.
        """
        takes = size / self.rate
        self._free = max(self._free, now - takes) + takes
        return self._free
