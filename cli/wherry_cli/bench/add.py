"""``add-large`` and ``add-tree``: reading and naming, beside one bare thread that reads and hashes in a plain loop; the
former beside the same without a UnixFS CID, too (specs/0031 §9). What that costs small files is in `add-twin`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry_cli.bench.data import count_files
from wherry_cli.bench.figure import Bound, Report, Run, faster, slower
from wherry_cli.bench.reference import HASH_FILE, HASH_TREE, bare_python
from wherry_cli.bench.scale import Scale

if TYPE_CHECKING:
    from pathlib import Path

    from wherry_cli.bench.workspace import Work, Workspace

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
    adding = {ADD: _add(space, source), WITHOUT: _add(space, source, "--no-unixfs")}
    found = space.compare({**adding, LOOP: _reference(space, source, HASH_FILE)}, count=size / 1e6)
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
    adding, loop = _add(space, root), _reference(space, root, HASH_TREE)
    found = space.compare({ADD: adding, LOOP: loop}, count=files, unit="files")
    return Report(
        "add-tree",
        f"adding {files:,} files of {size / files / 1024:.1f} KiB on average",
        arms=list(found.values()),
        figures=[
            slower("time against the reference, whole processes", found[ADD], found[LOOP], TREE_BOUND),
            slower("time against the reference, without start-up", found[ADD], found[LOOP], None, key="engine_seconds"),
        ],
        at_full_size=files >= Scale().tree_files,
    )


def _add(space: Workspace, source: Path, *how: str) -> Work:
    def run() -> Run:
        with space.home() as home:  # a new one each time: what is known already would not be read again
            space.settle()
            return space.wherry(home, "add", *how, str(source)).run()

    return run


def _reference(space: Workspace, source: Path, program: str) -> Work:
    def run() -> Run:
        space.settle()
        ended = space.plain(*bare_python(program, str(source)))
        return Run(ended.seconds, {"cpu_seconds": ended.cpu_seconds, "engine_seconds": float(ended.output)})

    return run
