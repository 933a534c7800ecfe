"""What wherry sees of this package: a provider of each kind, found by the entry point, for API 1."""

from __future__ import annotations

import pytest
from acme_api1 import plugin
from wherry.plugin.check import offers
from wherry.plugin.installed import Found

KINDS = ("transport", "cache", "compressor", "cipher", "chunker", "policy", "locator", "observer", "command")


@pytest.mark.parametrize("kind", KINDS)
def test_a_provider_of_each_kind(kind):
    offered = offers(Found("acme", "acme_api1.plugin", "acme-api1", "1.0.0", lambda: plugin), builtin=False)
    assert [(one.name, one.api) for its, one in offered if its == kind] == [(f"acme.{kind}", 1)]
