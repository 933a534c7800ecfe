"""A plugin that offers what the configuration chooses by default, of every kind but transports and caches, without options.

Tests of the configuration give it to their manager, so that nothing is wrong but what they make wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

from wherry.config.model import SELECTIONS
from wherry.plugin import hookimpl, provider
from wherry.plugin.hookspecs import KINDS
from wherry.plugin.installed import Found


@dataclass(frozen=True, slots=True, kw_only=True)
class NoOptions:
    pass


def _hook(kind):
    def register():
        names = SELECTIONS[kind].default
        return [provider(name, options=NoOptions, build=lambda options, env: None, summary=f"a {kind}") for name in names]

    return hookimpl(register)


def _module():
    module = ModuleType("defaults")
    for kind in set(SELECTIONS) - {"transport", "cache"}:
        setattr(module, KINDS[kind].hook, _hook(kind))
    return module


def defaults():
    """The plugin, as it is installed."""
    return Found("defaults", "defaults", "wherry", "0", _module)
