"""The kinds of plugin, and the hook by which each is registered (specs/0006 §1).

Hooks take no arguments and return providers; they are called once, at wiring, and never on the data path (D7). A new
kind is one hook below and one row of KINDS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.cache import Cache
    from wherry.abc.transport import Transport
    from wherry.plugin.providers import Provider

PROJECT: Final = "wherry"  # of the markers, and the group of the entry points

hookspec: Final = pluggy.HookspecMarker(PROJECT)
hookimpl: Final = pluggy.HookimplMarker(PROJECT)


@hookspec
def wherry_register_transports() -> Iterable[Provider[Transport]]:
    """Gives the transports of this plugin: ways by which blocks travel between machines (``wherry.abc.transport``)."""
    return ()


@hookspec
def wherry_register_caches() -> Iterable[Provider[Cache]]:
    """Gives the caches of this plugin: places where fetched blocks are kept for a while (``wherry.abc.cache``)."""
    return ()


class Kind(NamedTuple):
    """A kind of plugin: its name in the configuration, its hook, and the class that what is built must be."""

    name: str
    hook: str
    contract: str  # "module:class", imported only when something was built


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("transport", "wherry_register_transports", "wherry.abc.transport:Transport"),
        Kind("cache", "wherry_register_caches", "wherry.abc.cache:Cache"),
    )
}
