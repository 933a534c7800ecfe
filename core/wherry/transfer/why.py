"""Where the time of one transfer goes: every second of it has a reason (specs/0027 §7). Pure: the clock is given.

Whoever drives a transfer says ``ledger.now(reason)`` when what it waits for changes; that costs a comparison if it did not.
The reasons are a closed set, so the seconds of all of them add up to the time that passed, and nothing is left unexplained.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, get_args

from wherry.results import Result

if TYPE_CHECKING:
    from collections.abc import Callable

Reason = Literal[
    "moving",  # bytes come in
    "planning",  # the manifest is read, what is here already is looked at
    "connecting",  # no source is reached yet, or locators are still asked
    "no-provider",  # sources are there, and none of them has what is missing
    "choked",  # those that have it do not give now: they serve others first
    "limited",  # by a limit that the user set
    "class",  # transfers of a higher class, or those before it in the queue, go first
    "memory",  # all buffers are lent
    "disk",  # what has come is being written or made durable
    "cpu",  # what has come is being hashed, opened or decoded
    "resting",  # every source failed and is left alone for a while
    "paused",  # by the user
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
INTERVALS_MAX: Final = 32  # of history: some seconds of one that stops and goes; 4 KiB, and there may be 1,000 transfers
DETAIL_CHARS_MAX: Final = 200  # it may repeat what strangers said

_WORDS: Final[dict[Reason, tuple[str, str]]] = {  # without a detail, and with one
    "moving": ("data comes in", "data comes in from {}"),
    "planning": ("what to fetch is worked out", "what to fetch is worked out: {}"),
    "connecting": ("no source is connected yet", "no source is connected yet: {}"),
    "no-provider": ("no provider has what is missing", "no provider has {}"),
    "choked": ("every provider serves others first", "{} serves others first"),
    "limited": ("a limit is reached", "the limit {} is reached"),
    "class": ("other transfers go first", "other transfers go first: {}"),
    "memory": ("all buffers are in use", "all buffers are in use: {}"),
    "disk": ("the disk is busy", "the disk is busy: {}"),
    "cpu": ("the processor is busy", "the processor is busy: {}"),
    "resting": ("every source failed and rests", "every source failed and rests: {}"),
    "paused": ("it is paused", "it is paused: {}"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent(Result):
    """Seconds that went to one reason."""

    schema = "wherry/spent/1"

    reason: str
    seconds: float
    text: str  # for people; it may repeat what strangers said: escape it


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval(Result):
    """A stretch of time with one reason. ``began`` is in seconds since the ledger began."""

    schema = "wherry/interval/1"

    reason: str
    detail: str
    began: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Why(Result):
    """Where the time went. The seconds of ``spent`` add up to ``elapsed``."""

    schema = "wherry/why/1"

    elapsed: float
    idle: float  # of it, what was not "moving"
    current: str | None  # the reason now; None: the transfer is over
    current_seconds: float  # since when
    text: str  # the reason now, for people
    spent: list[Spent]  # the longest first
    last: list[Interval]  # the last intervals, the newest last


class Ledger:
    """Attributes the time of one transfer. For one thread. Begins with "planning" when it is made."""

    __slots__ = ("_began", "_clock", "_detail", "_details", "_reason", "_seconds", "_seen", "_since", "_what", "_when")

    def __init__(self, clock: Callable[[], float], reason: Reason = "planning") -> None:
        """``clock`` gives seconds that do not go back; a step back counts as none passed."""
        self._clock = clock
        self._began = self._since = self._seen = clock()
        self._reason: Reason | None = reason
        self._detail = ""
        self._seconds: dict[Reason, float] = {}
        self._details: dict[Reason, str] = {}  # the last one of each
        # Intervals, INTERVALS_MAX at most. What and when lie apart: a tuple of each took 200 bytes.
        self._what: list[tuple[Reason, str]] = []
        self._when = array("d")  # when each began, and its seconds

    def now(self, reason: Reason, detail: str = "") -> None:
        """From here on the transfer waits for ``reason``. ``detail`` says for what exactly: a block, a peer, a limit.

        A ledger that has ended goes on: the time between does not count. Raises ValueError for what is no reason.
        """
        if reason == self._reason:
            if detail:
                self._detail = detail[:DETAIL_CHARS_MAX]
            return
        if reason not in REASONS:
            raise ValueError(f"{reason!r} is none of {', '.join(REASONS)}")
        was_over = self._reason is None
        at = self._time()
        self._close(at)
        if was_over:
            self._began += at - self._since
            self._what.clear()
            del self._when[:]  # it speaks of times since the beginning, and that has moved
        self._reason, self._detail, self._since = reason, detail[:DETAIL_CHARS_MAX], at

    def end(self) -> None:
        """The transfer is over: no more time passes."""
        if self._reason is not None:
            at = self._time()
            self._close(at)
            self._reason, self._since = None, at

    @property
    def reason(self) -> Reason | None:
        """What the time goes to now; None once it has ended."""
        return self._reason

    @property
    def text(self) -> str | None:
        """What the time goes to now, for people; None once it has ended."""
        return None if self._reason is None else words(self._reason, self._detail)

    def report(self) -> Why:
        """Gives where the time went until now. The ledger goes on."""
        at = self._time() if self._reason is not None else self._since
        seconds, details, last = dict(self._seconds), dict(self._details), self._intervals()
        current = 0.0
        if self._reason is not None:
            current = at - self._since
            seconds[self._reason] = seconds.get(self._reason, 0.0) + current
            details[self._reason] = self._detail or details.get(self._reason, "")
            last.append(
                Interval(reason=self._reason, detail=self._detail, began=self._since - self._began, seconds=at - self._since)
            )
        ordered = sorted(seconds, key=lambda reason: (-seconds[reason], REASONS.index(reason)))
        elapsed = at - self._began
        return Why(
            elapsed=elapsed, idle=max(0.0, elapsed - seconds.get("moving", 0.0)),
            current=self._reason, current_seconds=current,
            text=self.text or "it is over",
            spent=[Spent(reason=one, seconds=seconds[one], text=words(one, details.get(one, ""))) for one in ordered],
            last=last[-INTERVALS_MAX:],
        )  # fmt: skip

    def _time(self) -> float:
        self._seen = max(self._seen, self._clock())
        return self._seen

    def _close(self, at: float) -> None:
        """Books what passed until ``at``."""
        if self._reason is None:
            return
        self._seconds[self._reason] = self._seconds.get(self._reason, 0.0) + (at - self._since)
        if self._detail:
            self._details[self._reason] = self._detail
        what = self._reason, self._detail
        self._what.append(next((one for one in self._what if one == what), what))  # few differ: most are kept once
        self._when.extend((self._since - self._began, at - self._since))
        del self._what[:-INTERVALS_MAX], self._when[: -2 * INTERVALS_MAX]

    def _intervals(self) -> list[Interval]:
        return [
            Interval(reason=reason, detail=detail, began=self._when[2 * place], seconds=self._when[2 * place + 1])
            for place, (reason, detail) in enumerate(self._what)
        ]


def words(reason: Reason, detail: str = "") -> str:
    """Says a reason in words. What a stranger said in ``detail`` is repeated as it is: escape it."""
    bare, detailed = _WORDS[reason]
    return detailed.format(detail) if detail else bare


def lines(report: Why) -> list[str]:
    """Gives a report as lines for people: ``3.2 s: no provider has block bafk...``."""
    return [f"{one.seconds:.1f} s: {one.text}" for one in report.spent]
