"""``add-large`` and ``add-tree``: reading and naming, beside one bare thread that reads and hashes in a plain loop,
and beside the same without a UnixFS CID (specs/0031 §9).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry_cli.bench.data import count_files
from wherry_cli.bench.figure import Bound, Report, Run, faster, slower
from wherry_cli.bench.reference import HASH_FILE, HASH_TREE, bare_python
from wherry_cli.bench.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wherry_cli.bench.figure import Arm
    from wherry_cli.bench.workspace import Workspace

LARGE_BOUND: Final = Bound("at least", 1.5)
TREE_BOUND: Final = Bound("at most", 1.5)
TWIN_BOUND: Final = Bound("at most", 1.03)
ADD: Final = "wherry add"
WITHOUT: Final = "wherry add --no-unixfs"
LOOP: Final = "bare Python, one thread, hashlib"
TWIN_CPU: Final = "CPU time with a UnixFS CID against without one"  # of two times that near, the clock's tells of chance alone
TWIN: Final = "time with a UnixFS CID against without one"


def add_large(space: Workspace) -> Report:
    """Adds the large file from the page cache."""
    source, size = space.large(), space.scale.large_bytes
    found = _arms(space, source, HASH_FILE, size / 1e6, "MB")
    wherry, without, loop = found[ADD], found[WITHOUT], found[LOOP]
    return Report(
        "add-large",
        f"adding a file of {size / 1e6:,.0f} MB that lies in the page cache",
        arms=[wherry, without, loop],
        figures=[
            faster("rate against the reference, whole processes", wherry, loop, LARGE_BOUND),
            faster("rate against the reference, without start-up", wherry, loop, None, key="engine_seconds"),
            slower(TWIN_CPU, wherry, without, TWIN_BOUND, key="cpu_seconds"),
            slower(TWIN, wherry, without, None, key="engine_seconds"),
        ],
        notes=space.large_notes(),
        at_full_size=size >= Scale().large_bytes,
    )


def add_tree(space: Workspace) -> Report:
    """Adds the tree of small files."""
    root = space.tree()
    files, size = count_files(root)
    space.plain(*bare_python(HASH_TREE, str(root)))  # so that the first arm finds what the others find: all in memory
    found = _arms(space, root, HASH_TREE, files, "files")
    wherry, without, loop = found[ADD], found[WITHOUT], found[LOOP]
    return Report(
        "add-tree",
        f"adding {files:,} files of {size / files / 1024:.1f} KiB on average",
        arms=[wherry, without, loop],
        figures=[
            slower("time against the reference, whole processes", wherry, loop, TREE_BOUND),
            slower("time against the reference, without start-up", wherry, loop, None, key="engine_seconds"),
            slower(TWIN_CPU, wherry, without, TWIN_BOUND, key="cpu_seconds"),
            slower(TWIN, wherry, without, None, key="engine_seconds"),
        ],
        at_full_size=files >= Scale().tree_files,
    )


def _arms(space: Workspace, source: Path, loop: str, count: float, unit: str) -> dict[str, Arm]:
    def add(*how: str) -> Callable[[], Run]:
        def run() -> Run:
            with space.home() as home:  # a new one each time: what is known already would not be read again
                space.settle()
                return space.wherry(home, "add", *how, str(source)).run()

        return run

    def reference() -> Run:
        space.settle()
        ended = space.plain(*bare_python(loop, str(source)))
        return Run(ended.seconds, {"cpu_seconds": ended.cpu_seconds, "engine_seconds": float(ended.output)})

    return space.compare({ADD: add(), WITHOUT: add("--no-unixfs"), LOOP: reference}, count=count, unit=unit)
