"""Registers the observer acme.observer. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from acme_api1.observer.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.observer import Observer
    from wherry.env import Env


def build(options: Options, env: Env) -> Observer:
    """Makes the observer."""
    from acme_api1.observer.observer import CountingObserver

    return CountingObserver(options.file or env.home / "acme-observer" / "counts.json", options.every)


@hookimpl
def wherry_register_observers() -> Iterable[Provider[Observer]]:
    """Offers ``acme.observer``."""
    return [provider("acme.observer", options=Options, build=build, summary="counts of what happens, in a JSON file", api=1)]
