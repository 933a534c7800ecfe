"""Other people's plugins have bounded time, are looked at before use, and print nothing into a result."""

from __future__ import annotations

from types import ModuleType

import pytest

from wherry.abc.cipher import Cipher
from wherry.abc.compressor import Compressor
from wherry.abc.locator import Locator
from wherry.abc.transport import Transport
from wherry.chunking import FixedChunker
from wherry.env import Env
from wherry.errors import PluginBroken, PluginContractError
from wherry.plugin import hookimpl, provider
from wherry.plugin.bounded import bounded
from wherry.plugin.built import check_built
from wherry.plugin.installed import Found, Installed
from wherry.plugin.manager import Manager
from wherry_cache.memory import MemoryCache
from wherry_cache.options import MemoryOptions


def module(build, before=lambda: None):
    made = ModuleType("plugin")

    @hookimpl
    def wherry_register_caches():
        before()
        return [provider("acme.slow", options=MemoryOptions, build=build, summary="s")]

    made.wherry_register_caches = wherry_register_caches
    return made


class Others(Installed):
    def __init__(self, *loads):
        self.loads = loads

    def own(self):
        return []

    def others(self):
        return [Found(f"acme{n}", "acme.plugin", "acme-wherry", "1.2", load) for n, load in enumerate(self.loads)]

    def extras(self):
        return []


def in_memory(options, env):
    return MemoryCache(options.max_bytes)


@pytest.mark.parametrize("where", ["import", "hook"])
def test_a_plugin_that_hangs_when_it_is_loaded_is_broken(held, where):
    hangs = held.wait if where == "import" else lambda: module(in_memory, held.wait)
    manager = Manager(Others(hangs, lambda: module(in_memory)), load_s=0.05)
    assert manager.get("cache", "acme.slow")
    (line,) = [line for line in manager.listing() if line.status == "broken"]
    assert line.distribution == "acme-wherry"
    assert "has not come back after 0.05 s" in line.cause


def test_a_plugin_that_hangs_when_it_is_built_is_broken(held, tmp_path):
    manager = Manager(Others(lambda: module(lambda options, env: held.wait())), build_s=0.05)
    with pytest.raises(PluginBroken, match=r"'acme.slow' \(of acme-wherry 1.2\) has not come back after 0.05 s") as caught:
        manager.build("cache", "acme.slow", MemoryOptions(), Env(tmp_path, {}))
    assert "WHERRY_DISABLE_PLUGINS" in caught.value.hint


def test_exits_and_errors_name_the_distribution(tmp_path):
    def leave(options, env):
        raise SystemExit(3)

    with pytest.raises(PluginBroken, match=r"\(of acme-wherry 1.2\) cannot be built: SystemExit: 3"):
        Manager(Others(lambda: module(leave))).build("cache", "acme.slow", MemoryOptions(), Env(tmp_path, {}))


def test_what_a_package_prints_is_no_result(capsys):
    Manager(Others(lambda: module(in_memory, lambda: print("noise")))).listing()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "noise\n"


def test_bounded_gives_and_raises_what_the_call_does():
    assert bounded(lambda: 5, 5, "it") == 5
    assert bounded(lambda: None, 5, "it") is None
    for problem in (KeyboardInterrupt, LookupError):
        with pytest.raises(problem):
            bounded(raiser(problem), 5, "it")


def raiser(problem):
    def call():
        raise problem

    return call


def odd(base, **attributes):
    """An object of a contract with these attributes, and no methods of its own."""
    made = type("Odd", (base,), attributes)
    made.__abstractmethods__ = frozenset()
    return made()


@pytest.mark.parametrize(
    ("kind", "base", "fine", "wrong"),
    [
        ("transport", Transport, {"schemes": frozenset({"acme"})}, {"schemes": "acme"}),
        ("transport", Transport, {"schemes": frozenset({"acme"})}, {"schemes": frozenset()}),
        ("transport", Transport, {"schemes": frozenset({"acme"})}, {"schemes": frozenset({"Acme"})}),
        ("transport", Transport, {"schemes": frozenset({"acme"})}, {"schemes": {5}}),
        ("compressor", Compressor, {"levels": (1,)}, {"levels": ()}),
        ("compressor", Compressor, {"levels": (1,)}, {"levels": 3}),
        ("cipher", Cipher, {"key_bytes": 32, "nonce_bytes": 12, "tag_bytes": 16}, {"key_bytes": 16}),
        ("cipher", Cipher, {"key_bytes": 32, "nonce_bytes": 12, "tag_bytes": 16}, {"nonce_bytes": "12"}),
        ("cipher", Cipher, {"key_bytes": 32, "nonce_bytes": 12, "tag_bytes": 16}, {"tag_bytes": 4}),
        ("locator", Locator, {"reach": "public"}, {"reach": "everywhere"}),
        ("locator", Locator, {"reach": "public"}, {"reach": None}),
    ],
)
def test_attributes_are_looked_at(kind, base, fine, wrong):
    check_built(kind, odd(base, **fine), "it")
    with pytest.raises(PluginContractError, match="must be"):
        check_built(kind, odd(base, **fine | wrong), "it")
    raises = odd(base, **fine | dict.fromkeys(wrong, property(lambda self: 1 / 0)))
    with pytest.raises(PluginContractError, match="cannot be read"):
        check_built(kind, raises, "it")


@pytest.mark.parametrize(
    "wrong", [{"name": ""}, {"name": 5}, {"name": "a\nb"}, {"leaf_bytes_max": 0}, {"leaf_bytes_max": 1 << 30}]
)
def test_chunkers_say_what_they_are(wrong):
    check_built("chunker", FixedChunker(1 << 20), "it")
    with pytest.raises(PluginContractError, match="must be"):
        check_built("chunker", type("Odd", (FixedChunker,), wrong)(1 << 20), "it")
