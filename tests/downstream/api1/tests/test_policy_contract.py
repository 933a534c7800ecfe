"""The policy keeps the contract of policies."""

from __future__ import annotations

from wherry.abc.policy import Policy
from wherry.testing.policy import PolicyContract

from acme_api1.policy.policy import SoonestPolicy


class TestPolicy(PolicyContract):
    def make_policy(self) -> Policy:
        return SoonestPolicy(16e6)
