"""Registers the locator acme.locator. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from acme_api1.locator.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.locator import Locator
    from wherry.env import Env


def build(options: Options, env: Env) -> Locator:
    """Makes the locator."""
    from acme_api1.locator.locator import FileLocator

    return FileLocator(options.file or env.home / "acme-locator" / "addresses.txt")


@hookimpl
def wherry_register_locators() -> Iterable[Provider[Locator]]:
    """Offers ``acme.locator``."""
    return [provider("acme.locator", options=Options, build=build, summary="addresses from a file", api=1)]
