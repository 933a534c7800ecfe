"""``dedup`` and ``dedup-releases``: what ten versions of a dataset take, cut at fixed distances and by their content."""

from __future__ import annotations

import hashlib
import random
from typing import TYPE_CHECKING, Final

from wherry.units import MiB
from wherry.wiring import Wiring
from wherry_cli.bench.corpus import PROJECT, VERSIONS, fetch_releases, write_versions
from wherry_cli.bench.figure import Bound, Figure, Report, Table
from wherry_cli.bench.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wherry.abc.chunker import Chunker
    from wherry_cli.bench.workspace import Workspace

SAVED_BOUND: Final = Bound("at least", 30.0)
STAY_BOUND: Final = Bound("at least", 95.0)
CHUNKERS: Final = ("fixed:1MiB", "fastcdc:1MiB", "fastcdc:256KiB", "fastcdc:64KiB")
DEFAULT: Final = "fastcdc:256KiB"  # what the bounds are about
COLUMNS: Final = ("cut", "logical MB", "unique MB", "stored MB", "saved %")
_STRETCH: Final = 4 * MiB


def dedup(space: Workspace) -> Report:
    """Adds ten versions of tables made by rule; then puts a byte in front of a file."""
    folder = space.folder / "versions"
    space.say(f"writing {VERSIONS} versions of three tables")
    versions = list(write_versions(folder, space.scale.version_bytes))
    report = _report(space, "dedup", f"{VERSIONS} versions of three tables", versions)
    space.remove(folder)
    wiring = Wiring(space.folder / "cutting", None, {})
    for name in CHUNKERS:
        stay = _stay(wiring.chunker(name), space.scale.front_bytes)
        label = f"leaves that stay with a byte in front of {space.scale.front_bytes / 1e6:,.0f} MB, {name}"
        report.figures.append(Figure(label, stay, "%", STAY_BOUND if name == DEFAULT else None))
    report.at_full_size = space.scale.version_bytes >= Scale().version_bytes and space.scale.front_bytes >= Scale().front_bytes
    return report


def dedup_releases(space: Workspace) -> Report:
    """Downloads ten releases of a package that carries data, and adds them."""
    summary = f"{VERSIONS} releases of {PROJECT}, a week apart"
    folder = space.folder / "releases"
    try:
        versions = list(fetch_releases(folder))
    except OSError as problem:
        space.remove(folder)
        return Report("dedup-releases", summary, skipped=str(problem))
    report = _report(space, "dedup-releases", summary, versions)
    space.remove(folder)
    return report


def _report(space: Workspace, name: str, summary: str, versions: Sequence[Path]) -> Report:
    rows: list[list[str | float | None]] = []
    for cut in CHUNKERS:
        space.say(f"adding with {cut}")
        logical, unique, stored = _added(space, versions, cut)
        rows.append([cut, logical / 1e6, unique / 1e6, stored / 1e6, _saved(logical, unique)])
    figures = [
        Figure(f"saved by {row[0]}", float(row[-1] or 0), "%", SAVED_BOUND if row[0] == DEFAULT else None) for row in rows
    ]
    return Report(name, f"adding {summary}", figures=figures, table=Table(COLUMNS, rows))


def _added(space: Workspace, versions: Sequence[Path], cut: str) -> tuple[int, int, int]:
    """Adds each version to one home. Gives logical, unique and stored bytes."""
    sums = [0, 0, 0]
    with space.home() as home:
        for version in versions:
            found = space.wherry(home, "add", str(version), "--chunker", cut).result
            for at, key in enumerate(("bytes", "unique_bytes", "stored_bytes")):
                sums[at] += found[key]
    return sums[0], sums[1], sums[2]


def _saved(logical: int, unique: int) -> float:
    return 100 * (1 - unique / logical) if logical else 0.0


def _stay(chunker: Chunker, size: int) -> float:
    """How many of a hundred leaves of a file of chance are leaves of that file with a byte before it, too."""
    before = _digests(chunker, size, b"")
    after = _digests(chunker, size, b"\0")
    return 100 * len(before & after) / len(before)


def _digests(chunker: Chunker, size: int, front: bytes) -> set[bytes]:
    """Cuts a file that is generated and never whole in memory."""
    found: set[bytes] = set()
    rest = front
    for start in range(0, size, _STRETCH):
        # The stretch's own seed, so that the file is the same both times.
        data = memoryview(rest + random.Random(start).randbytes(min(_STRETCH, size - start)))  # noqa: S311 - no secret
        at = 0
        for length in chunker.cut(data, last=start + _STRETCH >= size):
            found.add(hashlib.sha256(data[at : at + length]).digest())
            at += length
        rest = bytes(data[at:])
    return found
