"""Registers the observers ``log`` and ``prometheus``. Light: what they write with is imported when one is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_observe.options import LogOptions, PrometheusOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.observer import Observer
    from wherry.env import Env


def build_log(options: LogOptions, env: Env) -> Observer:
    """Opens the log. Raises LocalError if its file cannot be written."""
    del env
    from wherry_observe.log import LogObserver

    return LogObserver(options)


def build_prometheus(options: PrometheusOptions, env: Env) -> Observer:
    """Begins to listen. Raises ConfigError for an address that is none, LocalError for one that is taken."""
    del env
    from wherry_observe.prometheus import PrometheusObserver

    return PrometheusObserver(options)


@hookimpl
def wherry_register_observers() -> Iterable[Provider[Observer]]:
    """Offers ``log`` and ``prometheus``."""
    return [
        provider("log", options=LogOptions, build=build_log, summary="events as JSON lines, in a file or on standard error"),
        provider(
            "prometheus",
            options=PrometheusOptions,
            build=build_prometheus,
            summary="metrics for Prometheus, over HTTP or in a file",
        ),
    ]
