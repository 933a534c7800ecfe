"""The observer: counts events by their kind. It never sees a CID or a path as a label, and must make none of what it sees."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING

from wherry.abc.observer import Observer

if TYPE_CHECKING:
    from pathlib import Path

    from wherry.observe import Event


class CountingObserver(Observer):
    """Counts, and writes the counts as one JSON object: whole, or not at all."""

    def __init__(self, file: Path, every_s: float) -> None:
        self._file = file
        self._every_s = every_s
        self._counts: Counter[str] = Counter()
        self._written = time.monotonic()
        self._closed = False

    def take(self, events: list[Event]) -> None:
        """See `Observer.take`. wherry calls it from one thread, apart from what moves data, so it may write a file."""
        self._counts.update(type(event).__name__ for event in events)
        if time.monotonic() - self._written >= self._every_s:
            self._write()

    def close(self) -> None:
        """See `Observer.close`."""
        if not self._closed:
            self._closed = True
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_name(f"{self._file.name}.{os.getpid()}")  # several processes may run at once
        beside.write_text(json.dumps(self._counts, sort_keys=True) + "\n")
        beside.replace(self._file)
