"""Plugins are found by kind and name; what is broken stays alone and is told of."""

from __future__ import annotations

import sys
import zipfile
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import pytest

from wherry.abc.cache import Cache
from wherry.env import Env
from wherry.errors import PluginBroken, PluginContractError, PluginError, PluginNotFound
from wherry.plugin import API_VERSION, Provider, hookimpl, hookspecs, option, provider
from wherry.plugin.installed import Found, Installed
from wherry.plugin.manager import Manager
from wherry_cache.memory import MemoryCache


@dataclass(frozen=True, kw_only=True)
class Options:
    size: int = option(5, help="how many")
    token: str | None = option(None, help="for the door", secret=True)


def build(options, env):
    return MemoryCache(options.size)


def offering(*names, **more):
    """A plugin's module that offers caches of these names."""
    module = ModuleType("plugin")
    given = {"options": Options, "build": build, "summary": "a cache"} | more

    @hookimpl
    def wherry_register_caches():
        return [provider(name, **given) for name in names]

    module.wherry_register_caches = wherry_register_caches
    return module


def found(name, module, distribution="acme-wherry"):
    def load():
        if isinstance(module, BaseException):
            raise module
        if isinstance(module, str):
            return import_module(module)
        return module

    return Found(name, f"{name}.plugin", distribution, "1.2", load)


class Fake(Installed):
    """Installed packages of the test's own."""

    def __init__(self, own=(), others=(), extras=()):
        self.mine, self.theirs, self.the_extras = own, others, extras
        self.asked_others = 0

    def own(self):
        return [found(name, module, "wherry") for name, module in dict(self.mine).items()]

    def others(self):
        self.asked_others += 1
        return [one if isinstance(one, Found) else found(*one) for one in self.theirs]

    def extras(self):
        return self.the_extras


def listed(manager):
    return {(line.kind, line.name, line.status): line for line in manager.listing()}


def test_built_in_plugins_are_found_without_looking_at_others():
    installed = Fake({"base": offering("disk", "memory")}, [("acme", RuntimeError("must not be loaded"))])
    manager = Manager(installed)
    assert manager.get("cache", "memory").name == "memory"
    assert installed.asked_others == 0


def test_others_are_loaded_when_a_name_is_not_found():
    installed = Fake({"base": offering("disk")}, [("acme", offering("acme.fast"))])
    assert Manager(installed).get("cache", "acme.fast").summary == "a cache"


def test_nobody_shadows_a_built_in():
    manager = Manager(Fake({"base": offering("disk", summary="the real one")}, [("acme", offering("disk"))]))
    assert [line.status for line in manager.listing()] == ["broken", "ok"]
    assert manager.get("cache", "disk").summary == "the real one"
    assert "'vendor.name'" in listed(manager)["", "acme", "broken"].cause


@pytest.mark.parametrize("name", ["Disk", "", "a_b", "-a", "a" * 64, "a.b", "dísk"])
def test_built_in_names_have_a_form(name):
    assert listed(Manager(Fake({"base": offering(name)})))["", "base", "broken"].cause


@pytest.mark.parametrize("name", ["fast", "Acme.fast", "acme.", "acme.fast.er", "acme..fast", ".fast"])
def test_names_of_others_have_a_form(name):
    assert "'vendor.name'" in listed(Manager(Fake(others=[("acme", offering(name))])))["", "acme", "broken"].cause


def test_unknown_names_are_answered_with_what_there_is():
    with pytest.raises(PluginNotFound) as caught:
        Manager(Fake({"base": offering("disk", "memory")})).get("cache", "memroy")
    assert caught.value.message == "no cache 'memroy' is installed"
    assert caught.value.hint == 'did you mean "memory"?; installed: disk, memory'


def test_a_known_extra_is_answered_with_the_line_that_installs_it():
    with pytest.raises(PluginNotFound, match=r"pip install 'wherry\[libp2p\]'"):
        Manager(Fake({"base": offering("disk")}, extras=["libp2p"])).get("transport", "libp2p")


def test_unknown_kinds():
    with pytest.raises(PluginNotFound, match="kinds: transport, cache"):
        Manager(Fake()).get("cashe", "disk")


def test_without_an_installed_wherry_the_answer_says_so():
    with pytest.raises(PluginNotFound, match="pip install -e"):
        Manager(Fake()).get("cache", "disk")


@pytest.mark.parametrize(
    "problem", [ImportError("no module named quic"), SystemExit(3), RuntimeError("boom")], ids=["import", "exit", "error"]
)
def test_a_package_that_does_not_load_harms_nobody(problem):
    manager = Manager(Fake({"base": offering("disk")}, [("acme", problem), ("best", offering("best.cache"))]))
    assert manager.get("cache", "best.cache").name == "best.cache"
    line = listed(manager)["", "acme", "broken"]
    assert type(problem).__name__ in line.cause
    assert str(problem) in line.cause
    assert (line.distribution, line.version) == ("acme-wherry", "1.2")


def test_a_name_that_a_broken_plugin_could_have_given_is_broken():
    cause = ImportError("no module named quic")
    with pytest.raises(PluginBroken, match="no module named quic") as caught:
        Manager(Fake(others=[("acme", cause)])).get("cache", "acme.fast")
    assert caught.value.__cause__ is cause


def test_other_names_are_not_found_and_the_broken_one_is_named():
    with pytest.raises(PluginNotFound, match="does not load: acme"):
        Manager(Fake(others=[("acme", ImportError("x"))])).get("cache", "else.fast")


def test_keyboard_interrupts_pass():
    with pytest.raises(KeyboardInterrupt):
        Manager(Fake(others=[("acme", KeyboardInterrupt())])).listing()


def test_a_misspelt_hook_is_blamed_on_its_author():
    module = offering("best.cache")

    @hookimpl
    def wherry_register_chaches():
        return []

    module.wherry_register_chaches = wherry_register_chaches
    manager = Manager(Fake({"base": offering("disk")}, [("acme", module), ("best", offering("best.cache"))]))
    assert "wherry_register_chaches" in (cause := listed(manager)["", "acme", "broken"].cause)
    assert "did you mean wherry_register_caches?" in cause
    assert manager.get("cache", "best.cache")


def test_hooks_take_no_arguments():
    module = ModuleType("plugin")

    @hookimpl
    def wherry_register_caches(config):
        return []

    module.wherry_register_caches = wherry_register_caches
    assert "config" in listed(Manager(Fake(others=[("acme", module)])))["", "acme", "broken"].cause


def test_a_hook_without_its_mark_is_told():
    module = ModuleType("plugin")
    module.wherry_register_caches = list
    cause = listed(Manager(Fake(others=[("acme", module)])))["", "acme", "broken"].cause
    assert "wherry_register_caches is not marked" in cause
    assert "hookimpl" in cause


def test_a_plugin_without_hooks_is_told():
    assert "no hook" in listed(Manager(Fake(others=[("acme", ModuleType("plugin"))])))["", "acme", "broken"].cause


def test_one_plugin_cannot_wrap_the_hooks_of_another():
    module = ModuleType("plugin")

    @hookimpl(wrapper=True)
    def wherry_register_caches():
        yield
        return []

    module.wherry_register_caches = wherry_register_caches
    manager = Manager(Fake({"evil": module, "base": offering("disk")}))
    assert manager.get("cache", "disk")


@pytest.mark.parametrize("answer", [None, 5, "disk", [5], [Options]])
def test_hooks_give_providers(answer):
    module = ModuleType("plugin")

    @hookimpl
    def wherry_register_caches():
        return answer

    module.wherry_register_caches = wherry_register_caches
    lines = Manager(Fake(others=[("acme", module)])).listing()
    assert [line.status for line in lines] == ([] if answer is None else ["broken"])  # pluggy drops None


def test_what_one_plugin_offers_twice():
    assert "twice" in listed(Manager(Fake({"base": offering("disk", "disk")})))["", "base", "broken"].cause


def test_what_two_plugins_claim_is_an_error_that_names_both():
    other = Found("beta", "beta.plugin", "beta-wherry", "2", lambda: offering("acme.fast", "beta.fine"))
    manager = Manager(Fake(others=[("acme", offering("acme.fast")), other]))
    with pytest.raises(PluginContractError, match=r"acme.plugin \(of acme-wherry\) and beta.plugin \(of beta-wherry\)"):
        manager.get("cache", "acme.fast")
    assert manager.get("cache", "beta.fine")
    clashes = [line for line in manager.listing() if line.status == "clash"]
    assert [line.distribution for line in clashes] == ["acme-wherry", "beta-wherry"]
    assert all("beta-wherry" in line.cause for line in clashes)


@pytest.mark.parametrize(("api", "side"), [(API_VERSION + 1, "upgrade wherry"), (0, "upgrade the plugin")])
def test_other_api_numbers_are_refused_with_the_side_to_upgrade(api, side):
    cause = listed(Manager(Fake(others=[("acme", offering("acme.fast", api=api))])))["", "acme", "broken"].cause
    assert f"plugin API {api}" in cause
    assert side in cause


@dataclass
class NotFrozen:
    pass


@dataclass(frozen=True)
class NoHelp:
    size: int = 5


@dataclass(frozen=True)
class Contradicts:
    size: int = option(5, help="how many")

    def __post_init__(self):
        raise ValueError("five is right out")


@pytest.mark.parametrize(
    ("more", "cause"),
    [
        ({"options": NotFrozen}, "not frozen"),
        ({"options": dict}, "not a dataclass"),
        ({"options": NoHelp}, "option"),
        ({"options": Contradicts}, "five is right out"),
        ({"summary": ""}, "summary"),
        ({"summary": "two\nlines"}, "summary"),
        ({"build": None}, "callable"),
    ],
)
def test_providers_are_checked(more, cause):
    assert cause in listed(Manager(Fake(others=[("acme", offering("acme.fast", **more))])))["", "acme", "broken"].cause


def test_a_hook_that_goes_away_is_noticed_and_works(monkeypatch):
    """The way by which a hook goes: its specification warns whoever implements it, and nobody else is disturbed."""
    words = DeprecationWarning("wherry_register_caches goes away; use\n another")
    monkeypatch.setitem(hookspecs.wherry_register_caches.wherry_spec, "warn_on_impl", words)
    manager = Manager(Fake(others=[("acme", offering("acme.fast")), ("best", ModuleType("none"))]))
    assert manager.get("cache", "acme.fast")
    line = listed(manager)["cache", "acme.fast", "ok"]
    assert line.notice == line.to_json()["notice"] == "wherry_register_caches goes away; use another"


def test_disabled_plugins_are_left_out_and_told_of():
    installed = Fake({"base": offering("disk"), "more": offering("memory")})
    manager = Manager.from_environ({"WHERRY_DISABLE_PLUGINS": " more, ,other"}, installed)
    assert manager.get("cache", "disk")
    with pytest.raises(PluginNotFound, match="more is disabled by WHERRY_DISABLE_PLUGINS"):
        manager.get("cache", "memory")
    assert ("", "more", "disabled") in listed(manager)


def test_listing_tells_of_options():
    line = listed(Manager(Fake({"base": offering("disk")})))["cache", "disk", "ok"]
    assert [(one.name, one.default, one.help, one.secret) for one in line.options] == [
        ("size", 5, "how many", False),
        ("token", None, "for the door", True),
    ]
    assert line.to_json()["options"][0] == {
        "name": "size", "type": "integer", "default": "5", "help": "how many", "secret": False, "choices": [], "env": None,
    }  # fmt: skip


def test_building(tmp_path):
    manager = Manager(Fake({"base": offering("disk")}))
    cache = manager.build("cache", "disk", Options(size=7), Env(tmp_path, {}))
    assert isinstance(cache, Cache)
    assert cache.usage().bytes_max == 7


def raising(problem):
    def build(options, env):
        raise problem

    return build


@pytest.mark.parametrize(
    ("build", "kind", "text"),
    [
        (raising(ImportError("no module named aioquic")), PluginBroken, "aioquic"),
        (raising(ValueError("boom")), PluginBroken, "ValueError: boom"),
        (raising(PluginError("its own")), PluginError, "its own"),
        (lambda options, env: "a string", PluginContractError, "built str, which is no Cache"),
    ],
)
def test_what_cannot_be_built(build, kind, text, tmp_path):
    with pytest.raises(kind, match=text):
        Manager(Fake({"base": offering("disk", build=build)})).build("cache", "disk", Options(), Env(tmp_path, {}))


def test_options_of_another_class_are_refused(tmp_path):
    with pytest.raises(PluginContractError, match="takes Options"):
        Manager(Fake({"base": offering("disk")})).build("cache", "disk", NoHelp(), Env(tmp_path, {}))


def test_a_provider_is_immutable():
    one = provider("disk", options=Options, build=build, summary="a cache")
    assert isinstance(one, Provider)
    with pytest.raises(AttributeError):
        one.name = "other"


def test_real_distributions_are_read(tmp_path, monkeypatch):
    """A wheel that is put on the path is found, by way of importlib.metadata."""
    site = tmp_path / "site"
    with zipfile.ZipFile(tmp_path / "acme.whl", "w") as wheel:
        info = "acme_wherry-3.1.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: Acme_Wherry\nVersion: 3.1\n")
        wheel.writestr(f"{info}/entry_points.txt", "[wherry]\nacme = acme_wherry_plugin\n[other]\nx = y\n")
        wheel.writestr(
            "acme_wherry_plugin.py",
            "from dataclasses import dataclass\nfrom wherry.plugin import *\n"
            "@dataclass(frozen=True)\nclass O:\n    size: Size = option(Size(1), help='x')\n"
            "@hookimpl\ndef wherry_register_caches():\n"
            "    return [provider('acme.fast', options=O, build=lambda o, e: None, summary='s')]\n",
        )
        wheel.extractall(site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.delitem(sys.modules, "acme_wherry_plugin", raising=False)
    manager = Manager()
    line = listed(manager)["cache", "acme.fast", "ok"]
    assert (line.plugin, line.distribution, line.version) == ("acme", "acme-wherry", "3.1")
    assert manager.get("cache", "acme.fast").name == "acme.fast"
    sys.modules.pop("acme_wherry_plugin", None)
