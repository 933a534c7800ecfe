"""Says of files that others ask for, and that can no longer be given, that this is so: once an hour each, and of few."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wherry.errors import WherryError

_NAMED_MAX: Final = 50  # files an hour: of a tree that has gone, all would be
_AGAIN_S: Final = 3600.0
_LOG: Final = logging.getLogger(__name__)


class LostFiles:
    """What a node that serves found changed, gone or unreadable. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._told: set[str] = set()

    def __call__(self, path: str, problem: WherryError) -> None:
        """Takes that ``path`` could not be given, and logs a warning unless that was said, or enough was."""
        with self._lock:
            now = time.monotonic()
            if now - self._since > _AGAIN_S:
                self._since, self._told = now, set()
            if path in self._told or len(self._told) > _NAMED_MAX:
                return
            self._told.add(path)
            last = len(self._told) > _NAMED_MAX
        if last:
            _LOG.warning("more files than these %d changed or went, and are not served: `wherry doctor` says more", _NAMED_MAX)
        else:
            _LOG.warning("%s, and is not served: restore it, or `wherry add` it again", problem.message)
