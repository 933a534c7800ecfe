"""How reports look to people; to_json of the values is what programs get (specs/0014 §3)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wherry_cli.bench.figure import Arm, Figure, Report, Table
    from wherry_cli.render import Out

SCHEMA: Final = "wherry/bench/1"


def lines_of_machine(facts: Mapping[str, object]) -> Iterator[str]:
    """The machine, a fact a line."""
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        yield f"  {name:<{width}}  {value if value is not None else 'not installed'}"


def lines_of(report: Report, out: Out) -> Iterator[str]:
    """One report: every run of every arm, the figures with their bounds, what to know about it."""
    yield f"{out.paint(report.name, 'bold')}: {report.summary}"
    if report.skipped is not None:
        yield f"  {out.paint('skipped', 'yellow')}: {report.skipped}"
        return
    if report.table is not None:
        yield from _table(report.table)
    else:
        width = max((len(arm.name) for arm in report.arms), default=0)
        for arm in report.arms:
            yield f"  {arm.name:<{width}}  {_runs(arm)}"
    width = max((len(figure.name) for figure in report.figures), default=0)
    for figure in report.figures:
        yield f"  {figure.name:<{width}}  {_figure(figure, report, out)}"
    for note in report.notes:
        yield f"  note: {note}"


def _table(table: Table) -> Iterator[str]:
    """Words to the left, numbers to the right."""
    lines = [list(table.columns), *([_cell(cell) for cell in row] for row in table.rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(table.columns))]
    words = [all(isinstance(row[at], str) for row in table.rows) for at in range(len(table.columns))]
    for line in lines:
        cells = zip(line, widths, words, strict=True)
        yield "  " + "  ".join(f"{text:<{width}}" if word else f"{text:>{width}}" for text, width, word in cells).rstrip()


def _cell(cell: str | float | None) -> str:
    return "-" if cell is None else cell if isinstance(cell, str) else number(cell)


def _runs(arm: Arm) -> str:
    if not arm.runs:
        return "no run"
    each = " ".join(seconds(run.seconds) for run in arm.runs)
    if len(arm.runs) > 1:
        each += f"  median {seconds(arm.median_seconds)}"
    rate = f"  {number(arm.count / arm.median_seconds)} {arm.unit}/s" if arm.count and arm.median_seconds > 0 else ""
    return each + rate


def _figure(figure: Figure, report: Report, out: Out) -> str:
    text = with_unit(figure.value, figure.unit)
    if figure.low is not None and figure.high is not None and figure.low != figure.high:
        text += f" [{number(figure.low)} .. {number(figure.high)}]"
    if figure.bound is None:
        return text
    verdict = out.paint("met", "green") if figure.met else out.paint("NOT met", "red")
    small = "" if report.at_full_size else " (the bound is for the full size)"
    return f"{text}, bound {figure.bound.sense} {with_unit(figure.bound.limit, figure.unit)}: {verdict}{small}"


def verdict_line(reports: Sequence[Report]) -> str:
    """The last line: how many of the bounds are kept."""
    bounds = [figure.met for report in reports for figure in report.figures if figure.met is not None]
    skipped = sum(report.skipped is not None for report in reports)
    small = sum(not report.at_full_size and report.skipped is None for report in reports)
    ends = [f"; {skipped} skipped" if skipped else "", f"; {small} below the size of their bounds" if small else ""]
    return f"{sum(bounds)} of {len(bounds)} bounds met{''.join(ends)}"


def seconds(value: float) -> str:
    """A time for people, in three digits."""
    if not math.isfinite(value):
        return "-"
    return f"{value:.1f}s" if value >= 10 else f"{value:.2f}s" if value >= 1 else f"{value * 1000:.3g}ms"


def number(value: float) -> str:
    """A number for people, in three digits or all of its whole ones."""
    if not math.isfinite(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def with_unit(value: float, unit: str) -> str:
    """A number and its unit: ``1.5x``, ``96 MB``."""
    return number(value) + (unit if unit in ("", "x") else f" {unit}")
