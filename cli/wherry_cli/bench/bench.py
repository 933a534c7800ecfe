"""One run of the benchmarks: choose, check the room, measure, show each report as soon as it is there, clean up."""

from __future__ import annotations

import difflib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from wherry.errors import NotFound, UsageError
from wherry_cli.bench.data import check_room
from wherry_cli.bench.figure import all_met
from wherry_cli.bench.machine import machine_facts
from wherry_cli.bench.report import SCHEMA, lines_of, lines_of_machine, verdict_line
from wherry_cli.bench.scale import Scale
from wherry_cli.bench.table import BENCHMARKS, disk_bytes
from wherry_cli.bench.workspace import Workspace
from wherry_cli.render import safe
from wherry_cli.signals import Stop

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry_cli.bench.figure import Report
    from wherry_cli.invocation import Invocation

LIST_SCHEMA: Final = "wherry/bench-list/1"
_ROOMY: Final = Path("/var/tmp")  # noqa: S108 - a folder of a random name is made in it; /tmp may lie in memory


def show_names(invocation: Invocation) -> None:
    """Prints the names of the benchmarks and what each shows."""
    out = invocation.out()
    if out.as_json:
        listed = [{"name": name, "summary": each.summary} for name, each in BENCHMARKS.items()]
        out.result({"schema": LIST_SCHEMA, "benchmarks": listed})
        return
    width = max(map(len, BENCHMARKS))
    for name, each in BENCHMARKS.items():
        out.line(name if out.quiet else f"{name:<{width}}  {each.summary}")


def run(
    invocation: Invocation,
    names: Sequence[str],
    *,
    size_bytes: int | None,
    directory: Path | None,
    quick: bool,
    rounds: int | None,
) -> None:
    """Measures and prints. Raises UsageError, NotFound, NoSpace, and the error of any process that fails."""
    chosen = choose(names)
    if rounds is not None and rounds < 1:
        raise UsageError(f"--rounds {rounds}: there must be one at least")
    scale = Scale.of(size_bytes=size_bytes, quick=quick, rounds=rounds, synth_named="synth" in names)
    place = directory if directory is not None else default_place()
    if not place.is_dir():
        raise NotFound(f"there is no directory {str(place)!r}", hint="make it, or name another with --dir")
    check_room(place, disk_bytes(chosen, scale))
    out = invocation.out()
    facts = machine_facts(place.absolute())
    if not (out.as_json or out.quiet):
        for line in lines_of_machine(facts):
            out.line(safe(line))
        out.flush()
    invocation.kept = "what the benchmarks made is removed"
    reports: list[Report] = []
    with Stop().installed(), tempfile.TemporaryDirectory(prefix="wherry-bench-", dir=place.absolute()) as folder:
        config = invocation.config.absolute() if invocation.config is not None else None
        space = Workspace(Path(folder), scale, config=config, environ=invocation.environ, say=lambda text: out.note(safe(text)))
        for name in chosen:
            out.note(f"{name} ...")
            reports.append(BENCHMARKS[name].measure(space))
            if not out.as_json:
                for line in ("", *lines_of(reports[-1], out)):
                    out.line(safe_but_colour(line))
                out.flush()
    if out.as_json:
        listed = [report.to_json() for report in reports]
        out.result({"schema": SCHEMA, "machine": facts, "quick": quick, "met": all_met(reports), "benchmarks": listed})
    else:
        out.line("")
        out.line(verdict_line(reports))


def safe_but_colour(line: str) -> str:
    """Makes a line harmless but for the colours that were put in here."""
    return "\x1b".join(safe(part) for part in line.split("\x1b"))


def choose(names: Sequence[str]) -> list[str]:
    """The benchmarks to run, in the order of the table; what downloads, only if it is named.

    Raises UsageError, which names what is near.
    """
    for name in names:
        if name not in BENCHMARKS:
            near = difflib.get_close_matches(name, BENCHMARKS, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(BENCHMARKS)}"
            raise UsageError(f"there is no benchmark {name!r}", hint=hint)
    return [name for name, each in BENCHMARKS.items() if name in names or not (names or each.asked)]


def default_place() -> Path:
    """Where the data goes if nobody says: the roomy folder for temporary files, which is on a disk."""
    return _ROOMY if os.access(_ROOMY, os.W_OK | os.X_OK) else Path(tempfile.gettempdir())
