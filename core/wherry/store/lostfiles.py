"""Says of files that others ask for, and that can no longer be given, that this is so: once an hour each, and of few."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from wherry.errors import LocalError, SourceChanged

if TYPE_CHECKING:
    from wherry.errors import WherryError

_UNREAD_MAX: Final = 1024  # files an hour that are read before anything of them is promised
_NAMED_MAX: Final = 50  # files an hour: of a tree that has gone, all would be
_AGAIN_S: Final = 3600.0
_LOG: Final = logging.getLogger(__name__)


class LostFiles:
    """What a node that serves found changed, gone or unreadable. Safe for threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._told: set[str] = set()
        self._unread: set[str] = set()  # there and as they were, but for places that the disk does not give

    def __call__(self, path: str, problem: WherryError) -> None:
        """Takes that ``path`` could not be given, and logs a warning unless that was said, or enough was."""
        with self._lock:
            now = time.monotonic()
            if now - self._since > _AGAIN_S:
                self._since, self._told, self._unread = now, set(), set()
            if isinstance(problem, LocalError) and not isinstance(problem, SourceChanged) and len(self._unread) < _UNREAD_MAX:
                self._unread.add(path)
            if path in self._told or len(self._told) > _NAMED_MAX:
                return
            self._told.add(path)
            last = len(self._told) > _NAMED_MAX
        if last:
            _LOG.warning("more files than these %d changed or went, and are not served: `wherry doctor` says more", _NAMED_MAX)
        else:
            _LOG.warning("%s, and is not served: restore it, or `wherry add` it again", problem.message)

    def doubtful(self, path: str) -> bool:
        """Tells whether a read of ``path`` failed within the hour, of which its signature knows nothing."""
        return path in self._unread and time.monotonic() - self._since <= _AGAIN_S
