"""What a benchmark found, as plain values: runs, arms, figures and their bounds (specs/0014 §3). No I/O, no clock."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

Sense = Literal["at least", "at most", "below"]


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit that a figure is held against."""

    sense: Sense
    limit: float

    def met(self, value: float) -> bool:
        """Tells whether ``value`` keeps to the limit. What is no number keeps to none."""
        if self.sense == "at least":
            return value >= self.limit
        return value <= self.limit if self.sense == "at most" else value < self.limit


@dataclass(frozen=True, slots=True)
class Figure:
    """One number that a benchmark is about."""

    name: str
    value: float
    unit: str  # x, s, ms, us, MB, files/s, or a plain count: ""
    bound: Bound | None = None
    low: float | None = None  # of the rounds, taken one by one
    high: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the bound is kept; None without a bound."""
        return None if self.bound is None else self.bound.met(self.value)

    def to_json(self) -> dict[str, object]:
        """The JSON form."""
        bound = None if self.bound is None else {"sense": self.bound.sense, "limit": self.bound.limit}
        found: dict[str, object] = {
            "name": self.name, "value": _short(self.value), "unit": self.unit, "bound": bound, "met": self.met,
        }  # fmt: skip
        if self.low is not None and self.high is not None:
            found["range"] = [_short(self.low), _short(self.high)]
        return found


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one arm: the time of its whole process, and whatever else was seen (names end in their unit)."""

    seconds: float
    more: Mapping[str, float] = field(default_factory=dict)

    def to_json(self, number: int) -> dict[str, object]:
        """The JSON form of the run of round ``number``."""
        return {"round": number, "seconds": _short(self.seconds), **{key: _short(value) for key, value in self.more.items()}}


@dataclass(slots=True)
class Arm:
    """One of the things that are compared: its runs, in the order of the rounds."""

    name: str
    runs: list[Run] = field(default_factory=list)
    count: float = 0  # of `unit`s that each run moves; 0: no rate makes sense
    unit: str = "MB"

    @property
    def median_seconds(self) -> float:
        """The median of the whole-process times."""
        return median(run.seconds for run in self.runs)

    def median_of(self, key: str) -> float:
        """The median of what else was seen under ``key``, over the runs that have it; not a number if none has."""
        found = [run.more[key] for run in self.runs if key in run.more]
        return median(found) if found else math.nan

    def highest(self, key: str) -> float:
        """The highest of what else was seen under ``key``; not a number if no run has it."""
        return max((run.more[key] for run in self.runs if key in run.more), default=math.nan)

    def to_json(self) -> dict[str, object]:
        """The JSON form."""
        rate = _short(self.count / self.median_seconds) if self.count and self.runs and self.median_seconds > 0 else None
        return {
            "name": self.name,
            "runs": [run.to_json(number) for number, run in enumerate(self.runs, 1)],
            "median_seconds": _short(self.median_seconds) if self.runs else None,
            "rate": rate,
            "rate_unit": f"{self.unit}/s" if self.count else None,
        }


@dataclass(frozen=True, slots=True)
class Table:
    """Figures that are too many for a line each. A cell is a word, a number, or None where there is nothing to say."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]

    def to_json(self) -> dict[str, object]:
        """The JSON form: the columns, and an object for each row."""
        rows = [
            {name: _short(cell) if isinstance(cell, float) else cell for name, cell in zip(self.columns, row, strict=True)}
            for row in self.rows
        ]
        return {"columns": list(self.columns), "rows": rows}


@dataclass(slots=True)
class Report:
    """What one benchmark found."""

    name: str
    summary: str
    arms: list[Arm] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: str | None = None  # why nothing was measured
    at_full_size: bool = True  # False: smaller than what its bounds are stated for
    table: Table | None = None  # of the medians of its arms, which are then too many to be printed run by run

    def to_json(self) -> dict[str, object]:
        """The JSON form."""
        return {
            "name": self.name,
            "summary": self.summary,
            "at_full_size": self.at_full_size,
            "skipped": self.skipped,
            "arms": [arm.to_json() for arm in self.arms],
            "figures": [figure.to_json() for figure in self.figures],
            "notes": list(self.notes),
            "table": None if self.table is None else self.table.to_json(),
        }


def rounds_in_turn(arms: Sequence[str], rounds: int) -> Iterator[tuple[int, str]]:
    """Gives (round, arm): every arm once a round, forwards and backwards in turn, so that a drift favours nobody."""
    for number in range(rounds):
        for arm in arms if number % 2 == 0 else reversed(arms):
            yield number, arm


def faster(name: str, subject: Arm, reference: Arm, bound: Bound | None, *, key: str | None = None) -> Figure:
    """How many times as fast ``subject`` is as ``reference``: the ratio of median times, and the range round by round."""
    return _ratio(name, reference, subject, bound, key)


def slower(name: str, subject: Arm, reference: Arm, bound: Bound | None, *, key: str | None = None) -> Figure:
    """How many times as long ``subject`` takes as ``reference``; ``key`` takes another time than the whole process's."""
    return _ratio(name, subject, reference, bound, key)


def _ratio(name: str, upper: Arm, lower: Arm, bound: Bound | None, key: str | None) -> Figure:
    above, below = _times(upper, key), _times(lower, key)
    each = [_divided(first, second) for first, second in zip(above, below, strict=True)]
    return Figure(name, _divided(median(above), median(below)), "x", bound, min(each), max(each))


def _times(arm: Arm, key: str | None) -> list[float]:
    return [run.seconds if key is None else run.more[key] for run in arm.runs]


def _divided(above: float, below: float) -> float:
    return above / below if below > 0 else math.nan


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest of ``values`` that at least ``percent`` of a hundred of them do not exceed (nearest rank)."""
    ordered = sorted(values)
    if not ordered:
        return math.nan
    return ordered[max(1, math.ceil(percent / 100 * len(ordered))) - 1]


def middle_mean(values: Sequence[float]) -> float:
    """The mean of the middle half of ``values`` (the interquartile mean); not a number if there are none."""
    ordered = sorted(values)
    cut = len(ordered) // 4
    return fmean(ordered[cut : len(ordered) - cut]) if ordered else math.nan


def all_met(reports: Sequence[Report]) -> bool | None:
    """Whether every bound that was measured is kept; None if there was none."""
    found = [figure.met for report in reports for figure in report.figures if figure.met is not None]
    return all(found) if found else None


def _short(value: float) -> float | None:
    """Gives a number of six digits, and null for what is none: JSON has no NaN."""
    return float(f"{value:.6g}") if math.isfinite(value) else None
