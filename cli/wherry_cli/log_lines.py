"""How a record of the log is written, on standard error as in the daemon's file."""

from __future__ import annotations

import logging

from wherry_cli.render import safe


class Escaped(logging.Formatter):
    """One line a record but for tracebacks, with names made safe."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name is logging's
        """Gives the line, in which no name or message of others has control characters."""
        return safe(super().formatMessage(record))
