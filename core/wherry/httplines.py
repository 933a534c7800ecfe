"""The idle connections of a channel, by where they lead and what they may be used for."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, TypeAlias

from wherry.httpline import Line, Times, client_tls

if TYPE_CHECKING:
    import ssl

    from wherry.dial import Dial
    from wherry.weburl import Url

    Key: TypeAlias = tuple[str, str, int, Dial]


class Connections(Times, Protocol):
    """What a transport's options say of its connections."""

    @property
    def connections(self) -> int:
        """That are kept while nobody uses them."""


class Lines:
    """Lends connections to threads. Thread-safe."""

    def __init__(self, options: Connections, tls: ssl.SSLContext | None = None) -> None:
        """``tls`` is the context for https; None: the usual one, made when it is first needed."""
        self._options, self._tls = options, tls
        self._idle: list[tuple[Key, Line]] = []  # the one that was used last at the end
        self._lock = threading.Lock()

    def take(self, url: Url, dial: Dial) -> Line:
        """Gives a connection to the origin of ``url``, or what will be one; it was made under the same ``dial``."""
        key = (url.scheme, url.host, url.port, dial)
        with self._lock:
            for at in reversed(range(len(self._idle))):
                if self._idle[at][0] == key:
                    return self._idle.pop(at)[1]
            if url.scheme == "https" and self._tls is None:
                self._tls = client_tls(None)
        return Line(url.host, url.port, self._tls if url.scheme == "https" else None, self._options, dial)

    def give(self, line: Line, url: Url, dial: Dial) -> None:
        """Takes a connection back that can be used again; closes the one that was idle for longest if there are too many."""
        if line.is_cut:
            line.close()
            return
        with self._lock:
            self._idle.append(((url.scheme, url.host, url.port, dial), line))
            spare = self._idle.pop(0)[1] if len(self._idle) > self._options.connections else None
        if spare is not None:
            spare.close()

    def close(self) -> None:
        """Closes all that are idle."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, line in idle:
            line.close()
