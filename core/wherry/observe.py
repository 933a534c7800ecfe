"""What the engine tells whoever watches a verb: two frozen events and the callable that takes them.

An observer is called on the loop's thread, so it must be cheap and must not block; what it raises ends the verb.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

Phase = Literal["scan", "hash", "fetch", "verify", "finish"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a verb is; at most about ten a second, and one last."""

    verb: str
    phase: Phase
    bytes_done: int = 0
    bytes_total: int | None = None  # None: not known yet
    files_done: int = 0
    files_total: int | None = None
    wire_bytes: int = 0  # payload received from, or sent to, other machines by this process
    sources_alive: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """Something a person may want to know while the verb runs, such as a source that was lost."""

    level: Literal["info", "warning"]
    text: str


Event: TypeAlias = Progress | Note
Observe: TypeAlias = Callable[[Event], None]


def quiet(event: Event) -> None:
    """Observes nothing."""
    del event
