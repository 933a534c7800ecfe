"""`wherry plugins check` finds what is wrong with any installed plugin, whatever that does, and passes wherry's own."""

from __future__ import annotations

import json

import pytest
from strangers import environ, install, plugin

from wherry_cli.app import run
from wherry_cli.checking import Checked, check
from wherry_cli.invocation import Invocation

pytestmark = pytest.mark.timeout(180)

LIAR = """
from wherry_cache.memory import MemoryCache
class Liar(MemoryCache):
    def get_many(self, cids):
        return [kept and kept._replace(data=kept.data[:-1]) for kept in super().get_many(cids)]
return Liar(options.max_bytes)
"""


def checked(site, kind, name, *, timeout_s=120.0, configured=False, **more):
    found = check(kind, name, environ(site, **more), configured=configured, timeout_s=timeout_s)
    return {one.check: one for one in found}


def failed(found):
    return {name: one.reason for name, one in found.items() if one.outcome == "failed"}


@pytest.mark.parametrize(
    ("kind", "name"),
    [("cache", "memory"), ("chunker", "fixed"), ("compressor", "identity"), ("policy", "round-robin"), ("transport", "file")],
)
def test_wherrys_own_pass(tmp_path, kind, name):
    found = checked(tmp_path, kind, name)
    assert failed(found) == {}
    assert sum(one.outcome == "passed" for one in found.values()) > 5


def test_a_cache_that_lies_is_caught_and_the_reason_is_said(tmp_path):
    found = checked(plugin(tmp_path / "site", "cache", LIAR), "cache", "acme.own")
    reasons = failed(found)
    assert "came back as others" in reasons["TestCache.test_it_gives_back_what_was_put"]
    assert found["TestProvider.test_it_builds_with_its_defaults"].outcome == "passed"


def test_a_check_that_hangs_is_named(tmp_path):
    site = plugin(
        tmp_path / "site", "policy", "return Sleeper()",
        more="""
            from wherry.abc.policy import Policy
            class Sleeper(Policy):
                def plan(self, view, rng):
                    import time
                    time.sleep(1000)
        """,
    )  # fmt: skip
    reasons = failed(checked(site, "policy", "acme.own", timeout_s=8.0))
    assert list(reasons.values()) == ["it did not end within 8 s"]
    assert next(iter(reasons)).startswith("TestPolicy.")


def test_a_check_that_kills_the_process_is_named(tmp_path):
    site = plugin(
        tmp_path / "site", "policy", "return Killer()",
        more="""
            from wherry.abc.policy import Policy
            class Killer(Policy):
                def plan(self, view, rng):
                    import os
                    os._exit(9)
        """,
    )  # fmt: skip
    reasons = failed(checked(site, "policy", "acme.own"))
    assert [reason.partition(":")[0] for reason in reasons.values()] == ["the process ended with code 9"]


def test_a_cache_without_a_quota_says_what_its_author_can_do(tmp_path):
    site = plugin(
        tmp_path / "site", "cache", "from wherry_cache.memory import MemoryCache\nreturn MemoryCache(options.room)",
        more="""
            @dataclass(frozen=True, slots=True, kw_only=True)
            class Room:
                room: Size = option(Size(1 << 20), help="bytes to keep")
        """, options="Room",
    )  # fmt: skip
    found = checked(site, "cache", "acme.own")
    skipped = {one.reason for one in found.values() if one.outcome == "skipped"}
    assert "it has no option max_bytes; its author can say how in acme_wherry.wherry_check (specs/0006 §13)" in skipped


AUTHORS = """
from wherry.testing.cache import CacheContract
from wherry_cache.memory import MemoryCache

class TestMine(CacheContract):
    plugin = "acme.own"

    def make_cache(self, folder, max_bytes):
        return MemoryCache(max_bytes)

class TestOther(CacheContract):
    plugin = "acme.other"

    def make_cache(self, folder, max_bytes):
        raise RuntimeError("not this one")
"""


def test_an_authors_own_suites_go_before_the_made_ones(tmp_path):
    site = plugin(tmp_path / "site", "cache", LIAR)
    (site / "acme_wherry" / "wherry_check.py").write_text(AUTHORS)
    found = checked(site, "cache", "acme.own")
    assert failed(found) == {}
    assert {name.partition(".")[0] for name in found} == {"TestProvider", "TestMine"}


def test_a_heavy_module_is_caught(tmp_path):
    site = plugin(tmp_path / "site", "cache", LIAR, more="import sqlite3")
    reasons = failed(checked(site, "cache", "acme.own"))
    assert "imports sqlite3" in reasons["TestProvider.test_its_module_is_light"]


def test_an_author_that_cannot_be_imported_is_a_failure(tmp_path):
    site = plugin(tmp_path / "site", "cache", LIAR)
    (site / "acme_wherry" / "wherry_check.py").write_text("import nonsense\n")
    assert "No module named 'nonsense'" in failed(checked(site, "cache", "acme.own"))["collecting"]


def test_configured_options_are_used(tmp_path):
    """A configured path is not: it has the user's blocks in it."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "wherry.toml").write_text(
        f'[cache]\nuse = "mine"\n[cache.mine]\nplugin = "disk"\neviction = "2q"\npath = "{tmp_path / "precious"}"\n'
    )
    found = checked(tmp_path, "cache", "mine", configured=True, WHERRY_HOME=str(home))
    assert failed(found) == {}
    assert "TestCache.test_it_gives_back_what_was_put" in found
    assert not (tmp_path / "precious").exists()


def line(site, monkeypatch, *words):
    monkeypatch.syspath_prepend(str(site))
    return run(["plugins", "check", *words], Invocation(environ=environ(site)))


def test_the_verb_passes_with_0_and_fails_with_4(tmp_path, monkeypatch, capsys):
    site = plugin(tmp_path / "site", "cache", LIAR)
    assert line(site, monkeypatch, "fixed", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == "wherry/plugin-check/1"
    assert [(one["kind"], one["name"]) for one in said["plugins"]] == [("chunker", "fixed")]
    assert {"check", "outcome", "reason", "seconds"} == set(said["plugins"][0]["checks"][0])
    assert line(site, monkeypatch, "acme.own", "-q") == 4
    captured = capsys.readouterr()
    assert "came back as others" in captured.out
    assert all(text.startswith("failed ") for text in captured.out.splitlines())
    assert "acme.own does not keep its contract" in captured.err


def test_what_does_not_load_is_said_with_its_distribution(tmp_path, monkeypatch, capsys):
    site = install(tmp_path / "site", "gone-wherry", {"gone": "gone_wherry"}, {"gone_wherry.py": "import nonsense"})
    assert line(site, monkeypatch, "gone") == 4
    said = capsys.readouterr().err
    assert "gone cannot be checked: it is broken: gone (of gone-wherry 1.0): ModuleNotFoundError" in said


@pytest.mark.parametrize("words", [["nonsense"], ["fixed", "--kind", "cache"]])
def test_what_is_not_installed(tmp_path, monkeypatch, capsys, words):
    assert line(tmp_path, monkeypatch, *words) == 4
    assert "is installed" in capsys.readouterr().err


def test_a_checked_thing_has_a_json_form():
    one = Checked("TestCache.test_x", "failed", "why", 0.5)
    assert one.to_json() == {"check": "TestCache.test_x", "outcome": "failed", "reason": "why", "seconds": 0.5}
