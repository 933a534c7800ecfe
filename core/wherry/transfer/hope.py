"""Whether a transfer can go on, and if not, why (specs/0013 §5). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, Literal, NamedTuple

from wherry.limits import FIRST_SOURCE_S, IDLE_S
from wherry.transfer.source import J

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from wherry.transfer.source import Source, Task

_STALE_TIMES: Final = 20  # the time that a source is waited for: in a crowd each has its turn after minutes (specs/0025 §4.3)
_STALE_S: Final = 180.0  # at the least


def stale_s(wait_s: float) -> float:
    """Gives the seconds after which a get ends to which nothing came, where a source is waited for for ``wait_s``."""
    return max(_STALE_S, _STALE_TIMES * wait_s)


class Verdict(NamedTuple, Generic[J]):
    """Why the transfer cannot go on, and the job that shows it.

    "absent": every source there is said that it does not have the job. "corrupt": those that have it send it wrong, or send
    nothing of it. "denied": all sources refuse us. "unreached": no source could be reached at all. "lost": sources were there,
    and none is of use for too long. "stale": they are there and promise much, and nothing came of it for longer still.

    ``lacking`` are the numbers of those that do not have it, as they said.
    """

    kind: Literal["absent", "corrupt", "denied", "unreached", "lost", "stale"]
    job: J
    lacking: frozenset[int] = frozenset()


class Hope(Generic[J]):
    """Looks at what waits, and at who might give it. For one thread."""

    __slots__ = ("_is_bad", "_may_ask", "_sources", "_wait_s")

    def __init__(
        self,
        sources: Sequence[Source],
        wait_s: float,
        may_ask: Callable[[Source, Task[J]], bool],
        is_bad: Callable[[Source, Task[J]], bool],
    ) -> None:
        """``may_ask`` tells whether a source may be asked for a job now, ``is_bad`` that it sent it wrong too often."""
        self._sources = sources
        self._wait_s = wait_s
        self._may_ask = may_ask
        self._is_bad = is_bad

    def verdict(self, waiting: Iterable[Task[J]], now: float, came_at: float = float("-inf")) -> Verdict[J] | None:
        """Tells why the transfer cannot go on; None while it can. ``came_at``: when anything came last."""
        until = now - stale_s(self._wait_s)
        stale = came_at < until and self._stood_still(until)
        for task in waiting:
            if stale and task.put < until:
                return Verdict("stale", task.job)  # however much is promised
            if any(
                not source.denied and self._might(source, task) and self._hopeful(source, now, task) for source in self._sources
            ):
                continue  # nearly always, and soon: many jobs wait, and this is asked at each change
            able = [source for source in self._sources if self._might(source, task) and not source.denied]
            return Verdict(
                self._kind(task, able), task.job, frozenset({one.number for one in self._sources if self._lacks(one, task)})
            )
        return None

    def _stood_still(self, until: float) -> bool:
        """Whether sources were reached, none of them since ``until``, and nobody works on anything."""
        reached = [source for source in self._sources if source.reached]
        return bool(reached) and all(source.since < until and not source.working for source in reached)

    def _might(self, source: Source, task: Task[J]) -> bool:
        """Whether a source may have a job, now or when it has more."""
        return source.number not in task.absent and not self._is_bad(source, task)

    def _lacks(self, source: Source, task: Task[J]) -> bool:
        """Whether a source said that it does not have a job; one with a part, that this is not of it."""
        return source.number in task.absent or (source.partial and not self._may_ask(source, task))

    def _kind(self, task: Task[J], able: list[Source]) -> Literal["absent", "corrupt", "denied", "unreached", "lost"]:
        if self._sources and all(source.denied for source in self._sources):
            return "denied"
        if not any(source.reached for source in self._sources):
            return "unreached"
        if any(self._is_bad(source, task) for source in self._sources):
            return "corrupt"
        if any(source.reached and not self._lacks(source, task) for source in able):
            return "lost"
        return "absent" if any(self._lacks(source, task) for source in self._sources) else "unreached"

    def _hopeful(self, source: Source, now: float, task: Task[J]) -> bool:
        """Whether to go on waiting for a source: it is there and not failing, or has not been of no use for too long.

        One that does not have the job is waited for as long as it goes on to get more.
        """
        if not source.reached:
            # One that was not tried yet is, however short the wait for those that are lost.
            return now - source.since < (min(FIRST_SOURCE_S, self._wait_s) if source.failures else FIRST_SOURCE_S)
        if source.alive and (source.choked or not source.failures):
            return not source.partial or self._may_ask(source, task) or now - source.grew < self._wait_s
        asked = source.alive and source.working  # it is back, perhaps: its answer is waited for
        return now - source.since < self._wait_s + (IDLE_S if asked else 0.0)
