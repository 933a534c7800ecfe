"""The contract of transports catches broken ones over TCP, and plugins' modules that are not as they should be."""

from __future__ import annotations

import os
from contextlib import aclosing, asynccontextmanager
from functools import partial

import pytest

from wherry.errors import PeerTimeout, PeerUnreachable, WherryError
from wherry.testing.checks import failing
from wherry.testing.memory import MemoryNetwork, MemoryTransport
from wherry.testing.transport import TransportContract
from wherry_http.options import HttpOptions
from wherry_http.transport import HttpTransport

pytestmark = pytest.mark.timeout(120)


def on_connecting(kind, change):
    """A transport that lets other errors out of ``connect`` than it should."""

    class Transport(HttpTransport):
        @asynccontextmanager
        async def connect(self, address):
            opening = super().connect(address)
            try:
                channel = await opening.__aenter__()
            except kind as problem:
                raise change(problem) from problem
            try:
                yield channel
            finally:
                await opening.__aexit__(None, None, None)

    return Transport


def on_fetching(kind, change):
    """A transport whose channels let other errors out of ``fetch`` than they should."""

    class Transport(HttpTransport):
        @asynccontextmanager
        async def connect(self, address):
            async with super().connect(address) as channel:
                right_fetch = channel.fetch

                async def fetch(wants, lender):
                    try:
                        async with aclosing(right_fetch(wants, lender)) as arrivals:
                            async for arrival in arrivals:
                                yield arrival
                    except kind as problem:
                        raise change(problem) from problem

                channel.fetch = fetch
                yield channel

    return Transport


TCP_BROKEN = [
    (on_connecting(PeerTimeout, lambda _: TimeoutError()), "test_bad_peers_are_given_up"),
    (  # who redirects may lead to a dead address, too, and is to be named
        on_connecting(PeerUnreachable, lambda _: PeerUnreachable("no", peer="somebody")),
        "test_a_dead_address_ends_in_time test_bad_peers_are_given_up",
    ),
    (on_fetching(PeerTimeout, lambda _: OSError("timed out")), "test_a_peer_that_dies_midway"),
]


class OverTCP(TransportContract):
    """The suite for transports over TCP."""

    def __init__(self, make):
        # A busy machine may stand still for half a second.
        self.make_transport = partial(make, HttpOptions(connect_timeout=2.0, idle_timeout=1.5))

    def make_transport(self):
        raise NotImplementedError

    def listen_address(self):
        return "http://127.0.0.1:0"

    def dial(self, host, port):
        return f"http://{host}:{port}"


@pytest.mark.parametrize(("broken", "check"), TCP_BROKEN, ids=[check for _, check in TCP_BROKEN])
def test_exactly_its_check_fails_over_tcp(broken, check, tmp_path):
    assert failing(OverTCP(broken), tmp_path) == set(check.split())


def test_a_peer_that_is_never_given_up_is_found(tmp_path):
    suite = OverTCP(HttpTransport)
    suite.patience_s = 1.5
    suite.make_transport = partial(HttpTransport, HttpOptions(idle_timeout=60.0))
    assert {"test_bad_peers_are_given_up", "test_a_peer_that_dies_midway"} <= failing(suite, tmp_path)


# What is looked at in the plugin's module


class Named(TransportContract):
    """A suite whose transport is not looked at."""

    def make_transport(self):
        return MemoryTransport(MemoryNetwork())

    def listen_address(self):
        return "memory://a"


LIGHT = """
from wherry.plugin import hookimpl, provider
from wherry.testing.memory import MemoryNetwork

@hookimpl
def wherry_register_transports():
    return [{offered}]
"""
RIGHT = "__import__('dataclasses').replace(MemoryNetwork().provider(), name='acme.memory')"
PLUGIN_BROKEN = [
    ("import aiohttp" + LIGHT.format(offered=RIGHT), {"test_its_plugin_is_light"}),
    (LIGHT.format(offered="MemoryNetwork().provider()"), {"test_its_provider_is_right"}),
    (LIGHT.format(offered=""), {"test_its_provider_is_right"}),
    (LIGHT.format(offered=RIGHT), set()),
]


@pytest.mark.parametrize(("text", "expected"), PLUGIN_BROKEN)
def test_plugins_modules_are_looked_at(text, expected, tmp_path, monkeypatch):
    name = f"acme_plugin_{abs(hash(text))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    suite = Named()
    suite.plugin_module, suite.heavy = name, ("aiohttp",)
    failed = set()
    for check in ("test_its_plugin_is_light", "test_its_provider_is_right"):
        try:
            getattr(suite, check)()
        except AssertionError:
            failed.add(check)
        except WherryError:
            failed.add(check)
    assert failed == expected


def test_each_of_these_checks_has_a_broken_one():
    covered = {check for _, found in TCP_BROKEN for check in found.split()} | {
        check for _, found in PLUGIN_BROKEN for check in found
    }
    assert covered == {
        "test_bad_peers_are_given_up", "test_a_dead_address_ends_in_time", "test_a_peer_that_dies_midway",
        "test_its_plugin_is_light", "test_its_provider_is_right",
    }  # fmt: skip
