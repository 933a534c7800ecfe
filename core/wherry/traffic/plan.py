"""What is asked of the link: limits, classes and their shares, and a timetable (specs/0026 §1). Frozen values, no clock."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from wherry.errors import UsageError
from wherry.limits import TIMETABLE_ROWS_MAX
from wherry.traffic.bucket import RATE_MIN
from wherry.traffic.peers import check_count, read_peer_limits
from wherry.units import format_rate, parse_rate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

ClassName = Literal["interactive", "high", "normal", "bulk"]
CLASSES: Final[tuple[ClassName, ...]] = ("interactive", "high", "normal", "bulk")
SHARES: Final[dict[ClassName, int]] = {"interactive": 40, "high": 30, "normal": 20, "bulk": 10}

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_ROW: Final = re.compile(
    r"(?P<days>daily|[a-z]{3}(?:[-,][a-z]{3})*)\s+(?P<from>\d\d:\d\d)-(?P<to>\d\d:\d\d)"
    r"(?:\s+up\s+(?P<up>none|[0-9.]+\s*[a-z/]*))?(?:\s+down\s+(?P<down>none|[0-9.]+\s*[a-z/]*))?",
    re.ASCII | re.IGNORECASE,
)
_FORM: Final = (
    'such as "mon-fri 08:00-18:00 up 2 MB/s down 5 MB/s": days, times, then up, down or both; none takes a limit away'
)


class Pair(NamedTuple):
    """Rates both ways, in bytes a second; None: no limit."""

    up: float | None = None
    down: float | None = None


UNLIMITED: Final = Pair()


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the timetable: while it holds, its limits of the node take the place of the others."""

    days: frozenset[int]  # 0 is Monday; of a night, the day on which it begins
    begin: int  # minutes since midnight
    end: int  # at or before `begin`: on the next day
    up: float | None = None
    down: float | None = None
    sets_up: bool = False  # whether it says anything of this way
    sets_down: bool = False

    @classmethod
    def parse(cls, text: str) -> Row:
        """Reads ``DAYS HH:MM-HH:MM [up RATE|none] [down RATE|none]``. Raises ValueError."""
        match = _ROW.fullmatch(text.strip())
        if match is None or (match["up"] is None and match["down"] is None):
            raise ValueError(f"{text!r} is no line of a timetable, {_FORM}")
        return cls(
            days=_days(match["days"].lower()),
            begin=_minutes(match["from"]),
            end=_minutes(match["to"]),
            up=_rate(match["up"]),
            down=_rate(match["down"]),
            sets_up=match["up"] is not None,
            sets_down=match["down"] is not None,
        )

    def holds(self, when: datetime) -> bool:
        """Tells whether it holds at a local time."""
        minute, day = when.hour * 60 + when.minute, when.weekday()
        if self.begin < self.end:
            return day in self.days and self.begin <= minute < self.end
        return (day in self.days and minute >= self.begin) or ((day - 1) % 7 in self.days and minute < self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassPlan:
    """What a class may have of the link."""

    share: int = 1  # of a limited link, against the other classes that ask at the time
    limit: Pair = UNLIMITED
    background: bool = False  # gives way to all other traffic on the way to each peer


def _classes() -> dict[str, ClassPlan]:
    return {name: ClassPlan(share=share, background=name == "bulk") for name, share in SHARES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is asked of the link. The default limits nothing."""

    node: Pair = UNLIMITED
    classes: Mapping[str, ClassPlan] = field(default_factory=_classes)
    transfer: Pair = UNLIMITED  # of each transfer that has no limit of its own
    peer: Pair = UNLIMITED  # of each peer, in all transfers together
    peers: Mapping[str, Pair] = field(default_factory=dict)  # of single peers (`peers.peer_name`), in the place of that
    timetable: tuple[Row, ...] = ()  # the first that holds and says something of a way goes for that way

    def __post_init__(self) -> None:
        """Raises UsageError for a rate that is too low, or for other classes than there are."""
        check_count(len(self.peers))
        pairs = [self.node, self.transfer, self.peer, *self.peers.values(), *(one.limit for one in self.classes.values())]
        rates = [rate for pair in pairs for rate in pair] + [rate for row in self.timetable for rate in (row.up, row.down)]
        for rate in rates:
            check_rate(rate)
        if set(self.classes) != set(CLASSES) or any(one.share < 1 for one in self.classes.values()):
            raise UsageError(f"a plan has the classes {', '.join(CLASSES)}, each with a share of 1 or more")

    def at(self, when: datetime) -> Pair:
        """Gives the limits of the node that hold at a local time."""
        up, down = self.node
        for row in reversed(self.timetable):
            if row.holds(when):
                up = row.up if row.sets_up else up
                down = row.down if row.sets_down else down
        return Pair(up, down)


def plan_of(limits: Any) -> Plan:
    """Makes a plan of a section `[limits]` (`wherry.config.Limits`, which stands above this). Raises UsageError."""

    def pair(prefix: str) -> Pair:
        return Pair(getattr(limits, f"{prefix}up"), getattr(limits, f"{prefix}down"))

    def of_class(name: str) -> ClassPlan:
        share: int = getattr(limits, f"{name}_share")
        return ClassPlan(share=share, limit=pair(f"{name}_"), background=name in limits.background)

    return Plan(
        node=pair(""),
        classes={name: of_class(name) for name in CLASSES},
        transfer=pair("transfer_"),
        peer=pair("peer_"),
        peers={name: Pair(*rates) for name, rates in read_peer_limits(limits.peers).items()},
        timetable=read_timetable(limits.timetable),
    )


def read_timetable(lines: Sequence[str]) -> tuple[Row, ...]:
    """Reads the lines of a timetable. Raises UsageError, which tells the line."""
    if len(lines) > TIMETABLE_ROWS_MAX:
        raise UsageError(f"{len(lines)} lines are too many, at most {TIMETABLE_ROWS_MAX}")
    rows = []
    for line in lines:
        try:
            row = Row.parse(line)
        except ValueError as problem:
            raise UsageError(str(problem)) from problem
        check_rate(row.up)
        check_rate(row.down)
        rows.append(row)
    return tuple(rows)


def check_rate(rate: float | None) -> None:
    """Raises UsageError for a rate that is too low to be one."""
    if rate is not None and not rate >= RATE_MIN:
        least = format_rate(RATE_MIN)
        raise UsageError(f"a limit of {rate:g} bytes a second is below {least}", hint="pause the transfer instead")


def _days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        names = part.split("-")
        if len(names) > 2 or any(name not in _DAYS for name in names):
            raise ValueError(f"{part!r} is no day: write daily, or days such as mon-fri or sat,sun")
        first, last = _DAYS.index(names[0]), _DAYS.index(names[-1])
        days.update(day % 7 for day in range(first, last + 1 if last >= first else last + 8))
    return frozenset(days)


def _minutes(text: str) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    if hours * 60 + minutes > 24 * 60 or minutes > 59:
        raise ValueError(f"{text!r} is no time: write 00:00 to 24:00")
    return hours * 60 + minutes


def _rate(text: str | None) -> float | None:
    return None if text is None or text.lower() == "none" else parse_rate(text)
