"""The lines of JSON between the process of libtorrent and wherry, and the two ways in which it ends early (specs/0036 §11)."""

from __future__ import annotations

import json
import os
import select
from typing import Any, Protocol


class Gone(Exception):  # no error: wherry wants it to end
    """Wherry is gone, or has enough."""


class Failed(Exception):  # as above
    """It cannot go on; wherry is told why."""

    def __init__(self, text: str, number: int = 0) -> None:
        super().__init__(text)
        self.number = number  # errno; 0: none


class Talk(Protocol):
    """The lines to wherry."""

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """Waits for the next line; None: none came. Raises Gone."""

    def say(self, **words: object) -> None:
        """Says a line. Raises Gone."""


class Pipes:
    """Two file descriptors: standard input and output, unless others are given."""

    def __init__(self, read: int = 0, write: int = 1) -> None:
        self._read, self._write = read, write
        self._held = bytearray()

    def hear(self, seconds: float) -> dict[str, Any] | None:
        """See `Talk.hear`."""
        while True:
            line, newline, rest = self._held.partition(b"\n")
            if newline:
                self._held = rest
                found: dict[str, Any] = json.loads(line)
                return found
            if not select.select([self._read], [], [], seconds)[0]:
                return None
            data = os.read(self._read, 1 << 20)
            if not data:
                raise Gone
            self._held += data

    def say(self, **words: object) -> None:
        """See `Talk.say`."""
        data = memoryview(json.dumps(words).encode() + b"\n")
        try:
            while data:
                data = data[os.write(self._write, data) :]
        except OSError as problem:
            raise Gone from problem
