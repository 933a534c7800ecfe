"""The place and the tools that every benchmark is given: data made once, fresh homes, whole processes, arms in turn."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from wherry_cli.bench import data
from wherry_cli.bench.child import Child, Ended, finished, started
from wherry_cli.bench.figure import Arm, Run, rounds_in_turn
from wherry_cli.bench.machine import memory_bytes
from wherry_cli.bench.report import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from wherry_cli.bench.scale import Scale

LISTEN: Final = "http://127.0.0.1:0"
_WORTH_SAYING_S: Final = 0.5  # every run is in the report; these lines only show that it goes on
Work = Callable[[], Run]


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verb of wherry's that has ended well: the process, and the JSON that it printed."""

    ended: Ended
    result: dict[str, Any]

    def run(self) -> Run:
        """The figures of it."""
        more = {"cpu_seconds": self.ended.cpu_seconds, "peak_bytes": float(self.ended.peak_bytes)}
        if "seconds" in self.result:
            more["engine_seconds"] = float(self.result["seconds"])
        return Run(self.ended.seconds, more)


def wherry_program() -> list[str]:
    """The beginning of every command line of wherry's: the installed script, as a user starts it, if there is one."""
    script = Path(sys.executable).with_name("wherry")
    return [str(script)] if script.is_file() else [sys.executable, "-m", "wherry_cli"]


class Served:
    """A server of wherry's under way."""

    def __init__(self, child: Child) -> None:
        self.child = child
        self.addresses: list[str] = json.loads(child.first_line())["listen"]
        self.address = self.addresses[0]


class Workspace:
    """One run's folder and scale. Other threads than the one that made it may use `wherry_line` and `environ`."""

    def __init__(
        self, folder: Path, scale: Scale, *, config: Path | None, environ: Mapping[str, str], say: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.scale = scale
        self.environ = {name: value for name, value in environ.items() if not name.startswith("WHERRY_")}
        self.say = say
        self._homes = 0
        self.config = config or folder / "wherry.toml"
        if config is None:  # the figures are of wherry as it comes, unless --config says otherwise
            self.config.touch()

    # Data

    def large(self) -> Path:
        """The large file, made when it is first asked for, and in the page cache."""
        path = self.folder / "large" / "large.bin"
        if not path.exists():
            self.say(f"making a file of {self.scale.large_bytes / 1e6:,.0f} MB")
            path.parent.mkdir()
            data.make_large(path, self.scale.large_bytes)
        data.warm(path)
        return path

    def large_notes(self) -> list[str]:
        """What to know about the page cache."""
        available = memory_bytes("MemAvailable")
        if available and available < 2 * self.scale.large_bytes:
            return [f"the file may not stay in the page cache: {available / 1e9:.1f} GB of memory are available"]
        return []

    def tree(self) -> Path:
        """The tree of small files, made when it is first asked for."""
        root = self.folder / "tree"
        if not root.exists():
            self.say(f"making a tree of {self.scale.tree_files:,} files")
            data.make_tree(root, self.scale.tree_files)
        return root

    # Processes

    def wherry_line(self, home: Path, *words: str, progress: bool = False) -> list[str]:
        """The command line of a verb with ``home`` as its home; JSON on standard output, errors and ``progress`` beside it."""
        how = ("--progress", "json") if progress else ("-q",)
        return [*wherry_program(), "--json", *how, "--home", str(home), "--config", str(self.config), *words]

    def wherry(self, home: Path, *words: str) -> Outcome:
        """Runs a verb to its end, in a process of its own. Raises WherryError."""
        ended = finished(self.wherry_line(home, *words), self.environ)
        return Outcome(ended, ended.json())

    def plain(self, *line: str) -> Ended:
        """Runs any other program to its end. Raises WherryError."""
        return finished(line, self.environ)

    @contextmanager
    def serving(self, home: Path) -> Iterator[Served]:
        """Serves what ``home`` holds while the block lasts."""
        with started(self.wherry_line(home, "serve", "--listen", LISTEN), self.environ) as child:
            yield Served(child)

    @contextmanager
    def home(self) -> Iterator[Path]:
        """A home that does not exist yet; it is removed when the block is left."""
        self._homes += 1
        path = self.folder / f"home-{self._homes}"
        try:
            yield path
        finally:
            self.remove(path)

    def remove(self, path: Path) -> None:
        """Removes a file or a tree, if it is there."""
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    def settle(self) -> None:
        """Waits until the disk has what was written so far, so that no arm pays for another's writes."""
        os.sync()

    # Comparing

    def compare(
        self, arms: Mapping[str, Work], *, rounds: int | None = None, count: float = 0, unit: str = "MB"
    ) -> dict[str, Arm]:
        """Runs all ``arms`` in turn and gives their runs. Each run moves ``count`` ``unit``s."""
        found = {name: Arm(name, count=count, unit=unit) for name in arms}
        for number, name in rounds_in_turn(list(arms), self.scale.rounds if rounds is None else rounds):
            run = arms[name]()
            found[name].runs.append(run)
            if run.seconds >= _WORTH_SAYING_S:
                self.say(f"round {number + 1}: {name}: {seconds(run.seconds)}")
        return found
