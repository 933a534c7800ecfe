"""Registers the locators. Light: aiohttp and zeroconf are imported when somebody is looked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_locate.options import MdnsOptions, StaticOptions, TrackerOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.locator import Locator
    from wherry.env import Env


def build_static(options: StaticOptions, env: Env) -> Locator:
    """Makes the locator."""
    from wherry_locate.static import Static

    return Static([*env.peers.values(), *options.addresses])


def build_tracker(options: TrackerOptions, env: Env) -> Locator:
    """Makes the locator."""
    from wherry_locate.tracker import Tracker

    return Tracker(options, env.home)


def build_mdns(options: MdnsOptions, env: Env) -> Locator:
    """Makes the locator. Raises ImportError without the extra ``mdns``."""
    del env
    from wherry_locate.mdns import Mdns

    return Mdns(options)


@hookimpl
def wherry_register_locators() -> Iterable[Provider[Locator]]:
    """Offers ``static``, ``tracker`` and ``mdns``."""
    return [
        provider("static", options=StaticOptions, build=build_static, summary="the peers that the configuration names"),
        provider("tracker", options=TrackerOptions, build=build_tracker, summary="asks HTTP servers (Delegated Routing V1)"),
        provider("mdns", options=MdnsOptions, build=build_mdns, summary="asks the local network (multicast DNS), and answers"),
    ]
