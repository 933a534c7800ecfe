"""``add-twin``: what a UnixFS CID costs `add` of small files (specs/0031 §9).

What is looked for is a hundredth, and single runs differ by a tenth. So there are many short pairs of runs, in one process,
where start-up, which would hide some of it, is left out; and of their ratios the mean of the middle half is taken.
"""

from __future__ import annotations

import asyncio
import gc
import random
import resource
import time
from typing import TYPE_CHECKING, Final

from wherry.session import Session
from wherry_cli.bench.add import TWIN, TWIN_BOUND, TWIN_CPU
from wherry_cli.bench.data import count_files, make_tree
from wherry_cli.bench.figure import Figure, Report, Run, Table, middle_mean, percentile
from wherry_cli.bench.scale import Scale

if TYPE_CHECKING:
    from pathlib import Path

    from wherry_cli.bench.figure import Arm
    from wherry_cli.bench.workspace import Work, Workspace

FOLDERS: Final = {"a hundred files a directory": 100, "six files a directory": 6}
COLUMNS: Final = ("tree", "pairs", "time, ms", "without, ms", "CPU time, ms", "CPU time without, ms")
_FILES: Final = 2000
_PAIRS: Final = 100  # a round
_DRAWN: Final = 1000  # samples of the bootstrap (Efron, "Bootstrap Methods", 1979)


def add_twin(space: Workspace) -> Report:
    """Adds trees of small files, with a UnixFS CID and without one, by turns."""
    files = min(_FILES, space.scale.tree_files)
    pairs = _PAIRS * space.scale.rounds if files == _FILES else space.scale.rounds
    arms: list[Arm] = []
    figures: list[Figure] = []
    rows: list[list[str | float | None]] = []
    for name, a_folder in FOLDERS.items():
        space.say(f"{pairs} pairs of runs: {name}")
        with_twin, without = both = _pairs(space, name, files, a_folder, pairs)
        arms += both
        figures.append(_figure(f"{TWIN_CPU}, {name}", with_twin, without, "cpu_seconds"))
        figures.append(_figure(f"{TWIN}, {name}", with_twin, without, None))
        times = [arm.median_seconds * 1e3 for arm in both]
        cpu = [arm.median_of("cpu_seconds") * 1e3 for arm in both]
        rows.append([name, pairs, *times, *cpu])
    return Report(
        "add-twin",
        f"adding {files:,} small files with a UnixFS CID and without one, in one process",
        arms=arms,
        figures=figures,
        notes=["a figure is the mean of the middle half of all pairs; its range is where that lies with 95 % of certainty"],
        table=Table(COLUMNS, rows),
        at_full_size=files == _FILES and space.scale.rounds >= Scale().rounds,
    )


def _pairs(space: Workspace, name: str, files: int, a_folder: int, pairs: int) -> list[Arm]:
    root = space.folder / f"tree-{a_folder}"
    make_tree(root, files, a_folder=a_folder)
    try:
        arms: dict[str, Work] = {
            f"{name}, with": lambda: _added(space, root, unixfs=True),
            f"{name}, without": lambda: _added(space, root, unixfs=False),
        }
        for arm in arms.values():
            arm()  # imports what an add needs, for both
        return list(space.compare(arms, rounds=pairs, count=count_files(root)[0], unit="files").values())
    finally:
        space.remove(root)


def _added(space: Workspace, root: Path, *, unixfs: bool) -> Run:
    async def add(home: Path) -> Run:
        async with Session.open(home=home, config=space.config, environ=space.environ, verb="bench") as session:
            gc.collect()
            cpu, began = _cpu_seconds(), time.perf_counter()
            await session.add(str(root), unixfs=unixfs)
            return Run(time.perf_counter() - began, {"cpu_seconds": _cpu_seconds() - cpu})

    with space.home() as home:
        return asyncio.run(add(home))


def _cpu_seconds() -> float:
    """Of this process and of the children that it has waited for: those that read small files, too."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum([each.ru_utime + each.ru_stime for each in used])


def _figure(name: str, upper: Arm, lower: Arm, key: str | None) -> Figure:
    ratios = [
        _time(above, key) / _time(below, key)
        for above, below in zip(upper.runs, lower.runs, strict=True)
        if _time(below, key) > 0  # the clock of CPU time may be as coarse as a run is short
    ]
    chance = random.Random(1979)  # noqa: S311 - the same interval each time, of the same runs
    drawn = [middle_mean(chance.choices(ratios, k=len(ratios))) for _ in range(_DRAWN)] if ratios else []
    return Figure(name, middle_mean(ratios), "x", TWIN_BOUND, percentile(drawn, 2.5), percentile(drawn, 97.5))


def _time(run: Run, key: str | None) -> float:
    return run.seconds if key is None else run.more[key]
