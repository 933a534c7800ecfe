"""The tables of options in specs/0024, from the plugins themselves.

    python tests/support/option_tables.py

writes them into the page anew; a test compares.
"""

from __future__ import annotations

import re
from pathlib import Path

from wherry.plugin.manager import Manager

PAGE = Path(__file__).parents[2] / "specs/0024-plugins-that-ship.md"
TABLE = re.compile(r"(<!-- options: (\w+) ([\w-]+) -->\n)(.*?)(<!-- end -->\n)", re.DOTALL)


def table(kind, name):
    """The options of one plugin, as Markdown."""
    (line,) = [line for line in Manager().listing() if (line.kind, line.name) == (kind, name)]
    if not line.options:
        return "It has no options.\n"
    rows = ["| option | default | meaning |", "|---|---|---|"]
    for one in line.options:
        meaning = f"{one.help}; {one.expected}" + (f"; also `{one.env}` in the environment" if one.env else "")
        value = "not set" if one.default is None else one.text(one.default)
        rows.append(f"| `{one.name}` | {value} | {meaning.replace('|', chr(92) + '|')} |")
    return "\n".join(rows) + "\n"


def renewed(text):
    """The page with its tables as they must be."""
    return TABLE.sub(lambda found: f"{found[1]}{table(found[2], found[3])}{found[5]}", text)


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text()))
