"""The shipped policies keep the contract of policies."""

from __future__ import annotations

from wherry.testing.policy import PolicyContract
from wherry_policy.even import Random, RoundRobin
from wherry_policy.fastest import Fastest
from wherry_policy.local import LocalFirst
from wherry_policy.reputation import Reputation


class TestReputation(PolicyContract):
    def make_policy(self):
        return Reputation(0.25)


class TestFastest(PolicyContract):
    def make_policy(self):
        return Fastest()


class TestRoundRobin(PolicyContract):
    def make_policy(self):
        return RoundRobin()


class TestRandom(PolicyContract):
    def make_policy(self):
        return Random()


class TestLocalFirst(PolicyContract):
    def make_policy(self):
        return LocalFirst()
