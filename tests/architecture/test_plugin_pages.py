"""The page for users of the plugins that ship shows each of them, with the options that it has, and lines that select it."""

from __future__ import annotations

import re
import tomllib

from option_tables import PAGE, TABLE, renewed

from wherry.plugin.hookspecs import KINDS
from wherry.plugin.installed import OWN_DISTRIBUTION
from wherry.plugin.manager import Manager

TEXT = PAGE.read_text()


def test_the_tables_are_what_the_plugins_say():
    """If this fails: run tests/support/option_tables.py."""
    assert renewed(TEXT) == TEXT


def test_every_plugin_that_ships_is_there():
    ships = {(line.kind, line.name) for line in Manager().listing() if line.distribution == OWN_DISTRIBUTION}
    shown = {(found[2], found[3]) for found in TABLE.finditer(TEXT)}
    assert shown == ships


def test_each_kind_is_selected_by_a_line_that_is_right():
    """What the page says to write is read, and means a plugin that there is."""
    from wherry.config.model import SELECTIONS

    blocks = [tomllib.loads(block) for block in re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)]
    assert {kind for block in blocks for kind in block} == set(SELECTIONS)
    assert set(SELECTIONS) == set(KINDS) - {"command"}
    names = {(line.kind, line.name) for line in Manager().listing()}
    for block in blocks:
        for kind, section in block.items():
            use = section["use"] if isinstance(section["use"], list) else [section["use"]]
            for name in use:
                assert (kind, section.get(name, {}).get("plugin", name)) in names
