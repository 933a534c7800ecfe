"""``get-large`` and ``get-tree``: fetching over loopback into files, beside curl from nginx and rsync's daemon."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from wherry_cli.bench.data import check_copied, count_files
from wherry_cli.bench.figure import Bound, Report, Run, faster
from wherry_cli.bench.reference import RECEIVE_FILE, bare_python, installed, nginx, rsync_daemon, sendfile_server
from wherry_cli.bench.scale import Scale

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from wherry_cli.bench.workspace import Workspace

LARGE_BOUND: Final = Bound("at least", 1.2)
TREE_BOUND: Final = Bound("at least", 2.0)
GET: Final = "wherry get, verified and synced"
CURL: Final = "curl from nginx, unverified"
SOCKETS: Final = "bare Python sendfile and recv, unverified"
RSYNC: Final = "rsync -a from its daemon"


def get_large(space: Workspace) -> Report:
    """Gets the large file into a file."""
    source, size = space.large(), space.scale.large_bytes
    output = space.folder / "output"
    with_curl = installed("nginx", "curl")
    name = CURL if with_curl else SOCKETS
    with _getter(space, source, output) as get, _copier(space, source, output, with_curl=with_curl) as copy:
        arms = {
            GET: _checked(space, output, get, (1, size)),
            name: _checked(space, output, copy, (1, size)),
        }
        found = space.compare(arms, count=size / 1e6)
    notes = space.large_notes()
    if not with_curl:
        notes.append(
            "nginx or curl is not installed: the reference is a plain Python server and client, not what the bound says"
        )
    return Report(
        "get-large",
        f"getting a file of {size / 1e6:,.0f} MB over loopback HTTP into a file",
        arms=[found[GET], found[name]],
        figures=[faster("rate against the reference", found[GET], found[name], LARGE_BOUND)],
        notes=notes,
        at_full_size=size >= Scale().large_bytes and with_curl,
    )


def get_tree(space: Workspace) -> Report:
    """Gets the tree of small files."""
    if not installed("rsync"):
        return Report("get-tree", "getting a tree of small files", skipped="rsync, the reference, is not installed")
    root = space.tree()
    files, size = count_files(root)
    output = space.folder / "output"
    with _getter(space, root, output) as get, rsync_daemon(space.folder, root, space.environ) as address:

        def copy() -> Run:
            ended = space.plain("rsync", "-a", address, f"{output}/")
            return Run(ended.seconds, {"cpu_seconds": ended.cpu_seconds, "peak_bytes": float(ended.peak_bytes)})

        arms = {GET: _checked(space, output, get, (files, size)), RSYNC: _checked(space, output, copy, (files, size))}
        found = space.compare(arms, count=files, unit="files")
    return Report(
        "get-tree",
        f"getting {files:,} files of {size / files / 1024:.1f} KiB on average over loopback",
        arms=[found[GET], found[RSYNC]],
        figures=[faster("files a second against the reference", found[GET], found[RSYNC], TREE_BOUND)],
        at_full_size=files >= Scale().tree_files,
    )


@contextmanager
def _getter(space: Workspace, source: Path, output: Path) -> Iterator[Callable[[], Run]]:
    """Serves ``source``; gives what gets it into ``output``."""
    with space.home() as server_home:
        cid = space.wherry(server_home, "add", str(source)).result["cid"]
        with space.serving(server_home) as served:

            def get() -> Run:
                with space.home() as home:
                    return space.wherry(home, "get", cid, "--from", served.address, "-o", str(output)).run()

            yield get


@contextmanager
def _copier(space: Workspace, source: Path, output: Path, *, with_curl: bool) -> Iterator[Callable[[], Run]]:
    """Serves ``source`` in the plain way; gives what copies it to ``output``."""
    if with_curl:
        with nginx(space.folder, source.parent, space.environ) as address:
            yield lambda: _plain(space, "curl", "-q", "-sS", "-f", "-o", str(output), f"{address}/{source.name}")
    else:
        with sendfile_server(source, space.environ) as port:
            yield lambda: _plain(space, *bare_python(RECEIVE_FILE, port, str(output)))


def _plain(space: Workspace, *line: str) -> Run:
    ended = space.plain(*line)
    return Run(ended.seconds, {"cpu_seconds": ended.cpu_seconds, "peak_bytes": float(ended.peak_bytes)})


def _checked(space: Workspace, output: Path, work: Callable[[], Run], expected: tuple[int, int]) -> Callable[[], Run]:
    """Makes an arm: nothing is there before, and all of it afterwards; neither is timed."""

    def arm() -> Run:
        space.remove(output)
        space.settle()
        run = work()
        check_copied(output, expected)
        space.remove(output)
        return run

    return arm
