"""The lines of the log: what others name cannot forge them, nor move the cursor of a terminal."""

from __future__ import annotations

import logging
from typing import Any

from wherry_cli.log_lines import Escaped


def record(message: str, *, exc_info: Any = None) -> logging.LogRecord:
    return logging.LogRecord("wherry.swarm", logging.WARNING, __file__, 1, message, (), exc_info)


def test_a_name_with_a_line_end_is_one_line():
    line = Escaped("%(levelname)s %(name)s: %(message)s").format(record("peer 'a\nERROR wherry: all is lost' left"))
    assert "\n" not in line
    assert line.startswith("WARNING wherry.swarm: peer 'a")


def test_control_characters_do_not_reach_a_terminal():
    line = Escaped("%(message)s").format(record("\x1b[2J\x07gone\x9b1m"))
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in line)


def test_a_traceback_keeps_its_lines():
    try:
        raise ValueError("wrong")
    except ValueError as problem:
        text = Escaped("%(message)s").format(record("failed", exc_info=(ValueError, problem, problem.__traceback__)))
    assert text.splitlines()[0] == "failed"
    assert text.splitlines()[-1] == "ValueError: wrong"
