"""The tables and diagrams of specs/0004 §4, from the tables of the code.

    python tests/support/exchange_states.py

writes them into the page anew; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from wherry.wire.states import FLOW, REQUEST, Request, Stage, diagram, listing

PAGE = Path(__file__).parents[2] / "specs/0004-native-exchange.md"
PART = re.compile(r"(<!-- states: (\w+) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)
TABLES = {"flow": (FLOW, Stage.NEW), "request": (REQUEST, Request.ASKED)}


def part(name):
    table, first = TABLES[name]
    return f"{listing(table)}\n```mermaid\n{diagram(table, first)}```\n"


def renewed(text):
    """The page with its tables and diagrams as they must be."""
    return PART.sub(lambda found: f"{found[1]}{part(found[2])}{found[4]}", text)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
