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
    from wherry.abc.chunker import Chunker
    from wherry.abc.cipher import Cipher
    from wherry.abc.command import Command
    from wherry.abc.compressor import Compressor
    from wherry.abc.locator import Locator
    from wherry.abc.observer import Observer
    from wherry.abc.policy import Policy
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


@hookspec
def wherry_register_compressors() -> Iterable[Provider[Compressor]]:
    """Gives compressors: codings of blocks at rest and on one hop (``wherry.abc.compressor``). Their names are for ever."""
    return ()


@hookspec
def wherry_register_ciphers() -> Iterable[Provider[Cipher]]:
    """Gives ciphers: authenticated encryption of blocks (``wherry.abc.cipher``). Their names are for ever."""
    return ()


@hookspec
def wherry_register_chunkers() -> Iterable[Provider[Chunker]]:
    """Gives chunkers: where files are cut into leaves (``wherry.abc.chunker``). Their names are for ever."""
    return ()


@hookspec
def wherry_register_policies() -> Iterable[Provider[Policy]]:
    """Gives policies: which peer is asked for what (``wherry.abc.policy``)."""
    return ()


@hookspec
def wherry_register_locators() -> Iterable[Provider[Locator]]:
    """Gives locators: from a CID to addresses of peers (``wherry.abc.locator``)."""
    return ()


@hookspec
def wherry_register_observers() -> Iterable[Provider[Observer]]:
    """Gives observers: metrics and logs of what a process does (``wherry.abc.observer``)."""
    return ()


@hookspec
def wherry_register_commands() -> Iterable[Provider[Command]]:
    """Gives commands: verbs of the command line (``wherry.abc.command``)."""
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
        Kind("compressor", "wherry_register_compressors", "wherry.abc.compressor:Compressor"),
        Kind("cipher", "wherry_register_ciphers", "wherry.abc.cipher:Cipher"),
        Kind("chunker", "wherry_register_chunkers", "wherry.abc.chunker:Chunker"),
        Kind("policy", "wherry_register_policies", "wherry.abc.policy:Policy"),
        Kind("locator", "wherry_register_locators", "wherry.abc.locator:Locator"),
        Kind("observer", "wherry_register_observers", "wherry.abc.observer:Observer"),
        Kind("command", "wherry_register_commands", "wherry.abc.command:Command"),
    )
}
