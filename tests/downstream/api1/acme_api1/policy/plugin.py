"""Registers the policy acme.policy. wherry imports this to list it, so what is heavy is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider

from acme_api1.policy.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.policy import Policy
    from wherry.env import Env


def build(options: Options, env: Env) -> Policy:
    """Makes the policy."""
    del env
    from acme_api1.policy.policy import SoonestPolicy

    return SoonestPolicy(float(options.newcomer_rate))


@hookimpl
def wherry_register_policies() -> Iterable[Provider[Policy]]:
    """Offers ``acme.policy``."""
    return [provider("acme.policy", options=Options, build=build, summary="the peer that should be done first", api=1)]
