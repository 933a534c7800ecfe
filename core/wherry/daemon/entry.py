"""A transfer in a running daemon: its record, its task, and what is known of it just now (specs/0027 §4). No loop needed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wherry.daemon.meter import Meter
from wherry.daemon.reports import TransferReport, TransferWhy, report
from wherry.transfer.why import Ledger

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from wherry.daemon.record import Record
    from wherry.observe import Progress

_OVER = frozenset({"complete", "seeding", "failed", "cancelled"})  # no time passes: nothing is waited for


class Entry:
    """One transfer. For the thread of the daemon's loop."""

    __slots__ = ("_before", "_clock", "_meter", "_moving", "_said", "kept_bytes", "ledger", "record", "sources_alive", "task")

    def __init__(self, record: Record, clock: Callable[[], float]) -> None:
        """``clock`` gives seconds that do not go back."""
        self.record = record
        self.ledger = Ledger(clock, "class")
        self.task: asyncio.Task[Any] | None = None  # runs, or is about to end
        self._clock = clock
        self._meter = Meter(clock())
        self._before = record.fetched_bytes  # by earlier runs
        self.kept_bytes = record.fetched_bytes  # as written last
        self.sources_alive = 0
        self._said: tuple[object, ...] = ()  # by the run, last
        self._moving = False
        self.settle()

    def settle(self, detail: str = "") -> None:
        """Books the time from here on to what the state says."""
        state = self.record.state
        if state in _OVER:
            self.ledger.end()
        elif state == "paused":
            self.ledger.now("paused")
        elif state == "queued" and self.record.retry_at is not None and self.record.failure is not None:
            self.ledger.now("resting", detail or self.record.failure.message)
        elif state == "queued":
            self.ledger.now("class", detail)
        else:
            self.ledger.now("planning", detail)

    def begin(self) -> None:
        """A run begins."""
        self._before = self.record.fetched_bytes
        self.sources_alive = 0
        self._said = ()
        self._meter = Meter(self._clock())

    def progress(self, event: Progress) -> bool:
        """Takes what a run tells of itself. Gives whether `report` tells anything else now."""
        record, now = self.record, self._clock()
        moved = self._before + event.wire_bytes - record.fetched_bytes
        said = event.bytes_done, event.bytes_total, event.sources_alive, self.ledger.text
        before, self._said = self._said, said
        if moved == 0 and said == before:
            moved_lately, self._moving = self._moving, self._meter.rate(now) > 0
            return moved_lately or self._moving  # the rate that falls to nothing is told, too
        self._moving |= moved > 0
        self._meter.add(max(0, moved), now)
        self.sources_alive = event.sources_alive
        self.record = replace(
            record, bytes_done=event.bytes_done, bytes_total=event.bytes_total,
            fetched_bytes=self._before + event.wire_bytes,
            failures=0 if moved > 0 else record.failures,  # a byte came: the budget is whole again
        )  # fmt: skip
        return True

    def whole(self, size: int) -> None:
        """Takes that every byte is there: of a target that was whole already, no progress is told."""
        self.record = replace(self.record, bytes_done=size, bytes_total=size)

    def report(self) -> TransferReport:
        """Tells what it is now."""
        reason = self.ledger.text
        rate = self._meter.rate(self._clock())
        return report(self.record, rate=rate, sources_alive=self.sources_alive, waits_for=reason)

    def why(self) -> TransferWhy:
        """Tells where its time went."""
        return TransferWhy(id=self.record.id, state=self.record.state, why=self.ledger.report())
