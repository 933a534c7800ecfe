"""Four big transfers from one server, for as long as something else is measured."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from wherry.errors import WherryError
from wherry_cli.bench.child import started

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wherry_cli.bench.workspace import Workspace

TRANSFERS: Final = 4
_LOOK_S: Final = 0.05
_BYTES_CAME: Final = re.compile(r'"bytes_done": [1-9]')


class Load:
    """Transfers that begin again when they end. Each has a thread that starts, watches and ends its processes."""

    def __init__(self, space: Workspace, address: str, cid: str, homes: list[Path]) -> None:
        self._space = space
        self._words = ("get", cid, "--from", address, "-o", "null:")
        self._stopping = threading.Event()
        self._moving = [False] * len(homes)
        self._problems: list[WherryError] = []
        self._threads = [threading.Thread(target=self._keep, args=item, daemon=True) for item in enumerate(homes)]

    def under_way(self) -> bool:
        """Tells whether every transfer is moving bytes. Raises the error of one that failed."""
        if self._problems:
            raise self._problems[0]
        return all(self._moving)

    def start(self) -> None:
        """Begins."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Ends every transfer."""
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def _keep(self, number: int, home: Path) -> None:
        try:
            while not self._stopping.is_set():
                self._transfer(number, home)
        except WherryError as problem:
            self._problems.append(problem)

    def _transfer(self, number: int, home: Path) -> None:
        with started(self._space.wherry_line(home, *self._words, progress=True), self._space.environ) as child:
            while not child.gone():
                if self._stopping.wait(_LOOK_S):
                    return
                if not self._moving[number]:
                    self._moving[number] = bool(_BYTES_CAME.search(child.said()))
            self._moving[number] = False
            child.wait()


@contextmanager
def loaded(space: Workspace, address: str, cid: str) -> Iterator[Load]:
    """Keeps TRANSFERS transfers of ``cid`` going while the block lasts."""
    with space.home() as first, space.home() as second, space.home() as third, space.home() as fourth:
        load = Load(space, address, cid, [first, second, third, fourth])
        load.start()
        try:
            yield load
        finally:
            load.stop()
