"""``startup``: what it costs to start wherry, beside a Python that does nothing; and that `add` needs no network library."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from wherry.units import KiB
from wherry_cli.bench.figure import Bound, Figure, Report, Run
from wherry_cli.bench.workspace import wherry_program

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry_cli.bench.workspace import Workspace

START_BOUND: Final = Bound("below", 0.15)  # seconds over a bare Python
AIOHTTP_BOUND: Final = Bound("at most", 0)
VERSION: Final = "wherry version"
BARE: Final = "bare Python"
_IMPORTED: Final = """
import sys
from wherry_cli.app import run
code = run(sys.argv[1:])
print(sum(name.partition(".")[0] == "aiohttp" for name in sys.modules))
raise SystemExit(code)
"""


def startup(space: Workspace) -> Report:
    """Starts both, many times."""

    def line(*words: str) -> Run:
        ended = space.plain(*words)
        return Run(ended.seconds, {"cpu_seconds": ended.cpu_seconds})

    arms: dict[str, Callable[[], Run]] = {
        VERSION: lambda: line(*wherry_program(), "version"),
        BARE: lambda: line(sys.executable, "-c", "pass"),
    }
    for arm in arms.values():
        arm()  # so that the first round finds all files in memory, as the others do
    found = space.compare(arms, rounds=space.scale.starts)
    over = [ours.seconds - bare.seconds for ours, bare in zip(found[VERSION].runs, found[BARE].runs, strict=True)]
    value = found[VERSION].median_seconds - found[BARE].median_seconds
    return Report(
        "startup",
        f"`wherry version` over a bare Python, {space.scale.starts} starts each",
        arms=[found[VERSION], found[BARE]],
        figures=[
            Figure("start over a bare Python", value, "s", START_BOUND, min(over), max(over)),
            Figure("modules of aiohttp that `add` imports", _aiohttp_in_add(space), "", AIOHTTP_BOUND),
        ],
    )


def _aiohttp_in_add(space: Workspace) -> int:
    file = space.folder / "small.bin"
    file.write_bytes(bytes(64 * KiB))
    with space.home() as home:
        words = space.wherry_line(home, "add", str(file))[len(wherry_program()) :]
        return int(space.plain(sys.executable, "-c", _IMPORTED, *words).output.splitlines()[-1])
