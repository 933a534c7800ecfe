"""The ``log`` observer: what this process does, a line of JSON an event (specs/0019 §4)."""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Final

from wherry.abc.observer import Observer
from wherry.errors import WherryError
from wherry.observe import (
    Began,
    CacheUsed,
    Connected,
    Dropped,
    Ended,
    Fetched,
    Note,
    PeerFailed,
    Progress,
    Refused,
    Rejected,
    Served,
    TransferChanged,
)
from wherry_observe.outlet import WAIT_S, FileOutlet, StreamOutlet
from wherry_observe.words import line_of

if TYPE_CHECKING:
    from wherry.observe import Event
    from wherry_observe.options import LogOptions

SCHEMA: Final = "wherry/log/1"
AGAIN_S: Final = 1.0  # between two tries to write while lines are lost
_STDERR: Final = 2
_RANKS: Final = {"debug": 0, "info": 1, "warning": 2}
_LEVELS: Final[dict[type, str]] = {
    Began: "info",
    Connected: "info",
    Refused: "info",
    Rejected: "warning",
    PeerFailed: "warning",
    Dropped: "warning",
    TransferChanged: "info",
    Fetched: "debug",
    Served: "debug",
    CacheUsed: "debug",
    Progress: "debug",
}


_say = logging.getLogger(__name__).warning


class LogObserver(Observer):
    """Writes lines. For one thread at a time.

    Where lines cannot be written, a disk that is full say, they are counted, and the first line that can be written again
    says how many are missing: who serves for months is not to be without a log for good because of one bad moment.
    """

    def __init__(self, options: LogOptions) -> None:
        """Opens the file, if one is named. Raises LocalError."""
        self._least = _RANKS[options.level]
        self._outlet: FileOutlet | StreamOutlet = (
            StreamOutlet(_STDERR) if options.file is None else FileOutlet(options.file, options.max_bytes, options.keep)
        )
        self._missing = 0  # lines that are lost, as no line says yet
        self._lost = 0  # since the last line that could be written
        self._again_at = 0.0

    def take(self, events: list[Event]) -> None:
        """See `Observer.take`."""
        now = time.time()  # events do not say when they were; they are at most the gathering time old
        lines = []
        for event in events:
            level = level_of(event)
            if level is not None and _RANKS[level] >= self._least:
                lines.append(line_of(_fields(event, level, now)))
        if lines:
            self._write(lines)

    def _write(self, lines: list[bytes]) -> None:
        if self._missing and time.monotonic() < self._again_at:
            self._count(len(lines))
            return
        dropped = Dropped(self._missing)
        told = [line_of(_fields(dropped, "warning", time.time()))] if self._missing else []
        try:
            self._outlet.write(told + lines, 0.0 if told else WAIT_S)
        except WherryError as problem:
            if not self._lost:
                _say("the log cannot be written: %s; lines are lost, and it is tried again each second", problem.message)
            if told and self._outlet.whole:
                self._missing = 0
            self._count(len(lines) - max(0, self._outlet.whole - len(told)))
            self._again_at = time.monotonic() + AGAIN_S
        else:
            if self._lost:
                _say("the log is written again; %d lines are lost", self._lost)
            self._missing = self._lost = 0

    def _count(self, lines: int) -> None:
        self._missing += lines
        self._lost += lines

    def close(self) -> None:
        """See `Observer.close`."""
        if self._missing:
            self._again_at = 0.0
            self._write([])
        self._outlet.close()


def level_of(event: Event) -> str | None:
    """Tells how much an event matters; None for one that this log does not know."""
    if isinstance(event, Note):
        return event.level
    if isinstance(event, Ended):
        return "info" if event.ok else "warning"
    return _LEVELS.get(type(event))


def _fields(event: Event, level: str, now: float) -> dict[str, object]:
    whole, fraction = divmod(now, 1)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int(fraction * 1000):03}Z"
    name = type(event).__name__
    word = "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
    fields: dict[str, object] = {"schema": SCHEMA, "time": stamp, "level": level, "event": word}
    for field in dataclasses.fields(event):
        if field.name != "level":
            value = getattr(event, field.name)
            fields[field.name] = round(value, 6) if isinstance(value, float) else value
    return fields
