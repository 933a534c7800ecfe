"""The ``log`` observer: what this process does, a line of JSON an event (specs/0019 §4)."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

from wherry.abc.observer import Observer
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
from wherry_observe.outlet import FileOutlet, StreamOutlet
from wherry_observe.words import line_of

if TYPE_CHECKING:
    from wherry.observe import Event
    from wherry_observe.options import LogOptions

SCHEMA: Final = "wherry/log/1"
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


class LogObserver(Observer):
    """Writes lines. For one thread at a time."""

    def __init__(self, options: LogOptions) -> None:
        """Opens the file, if one is named. Raises LocalError."""
        self._least = _RANKS[options.level]
        self._outlet: FileOutlet | StreamOutlet = (
            StreamOutlet(_STDERR) if options.file is None else FileOutlet(options.file, options.max_bytes, options.keep)
        )

    def take(self, events: list[Event]) -> None:
        """See `Observer.take`. Raises LocalError if the lines cannot be written."""
        now = time.time()  # events do not say when they were; they are at most the gathering time old
        lines = []
        for event in events:
            level = level_of(event)
            if level is not None and _RANKS[level] >= self._least:
                lines.append(line_of(_fields(event, level, now)))
        if lines:
            self._outlet.write(lines)

    def close(self) -> None:
        """See `Observer.close`."""
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
