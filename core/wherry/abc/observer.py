"""The contract of an observer: metrics and logs of what this process does (specs/0006 §11, specs/0019).

Written for implementers. An observer sees the events of ``wherry.observe`` and changes nothing. It never sees a CID, a path
or a peer's words as a label: what comes from content or from strangers has no bound, and must not become a metric's name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wherry.observe import Event


class Observer(ABC):
    """Takes events. Core calls it from one thread at a time, apart from the event loop, with a bounded queue between."""

    @abstractmethod
    def take(self, events: list[Event]) -> None:
        """Takes events in the order in which they happened. What it raises is said once, and the observer is left out then.

        So what may pass, such as a disk that is full, is better borne here, and tried again with the next events.

        It may block: meanwhile events queue up, and beyond OBSERVER_EVENTS_MAX the oldest are dropped and counted.
        """

    @abstractmethod
    def close(self) -> None:
        """Writes what is left and frees everything. Idempotent; no `take` follows."""
