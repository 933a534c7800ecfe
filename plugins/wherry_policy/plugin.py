"""Registers the policies. Light: each is imported when it is built."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.plugin import Provider, hookimpl, provider
from wherry_policy.options import NoOptions, ReputationOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.abc.policy import Policy
    from wherry.env import Env


def build_reputation(options: ReputationOptions, env: Env) -> Policy:
    """Makes the policy."""
    del env
    from wherry_policy.reputation import Reputation

    return Reputation(options.poor)


def build_fastest(options: NoOptions, env: Env) -> Policy:
    """Makes the policy."""
    del options, env
    from wherry_policy.fastest import Fastest

    return Fastest()


def build_round_robin(options: NoOptions, env: Env) -> Policy:
    """Makes the policy."""
    del options, env
    from wherry_policy.even import RoundRobin

    return RoundRobin()


def build_random(options: NoOptions, env: Env) -> Policy:
    """Makes the policy."""
    del options, env
    from wherry_policy.even import Random

    return Random()


def build_local_first(options: NoOptions, env: Env) -> Policy:
    """Makes the policy."""
    del options, env
    from wherry_policy.local import LocalFirst

    return LocalFirst()


@hookimpl
def wherry_register_policies() -> Iterable[Provider[Policy]]:
    """Offers ``reputation``, ``fastest``, ``round-robin``, ``random`` and ``local-first``."""
    return [
        provider(
            "reputation",
            options=ReputationOptions,
            build=build_reputation,
            summary="more for peers that were of more use",
        ),
        provider("fastest", options=NoOptions, build=build_fastest, summary="each job where it will be done first"),
        provider("round-robin", options=NoOptions, build=build_round_robin, summary="the same number of jobs for each peer"),
        provider("random", options=NoOptions, build=build_random, summary="each job to a peer by chance"),
        provider(
            "local-first", options=NoOptions, build=build_local_first, summary="far peers only for what near ones cannot give"
        ),
    ]
