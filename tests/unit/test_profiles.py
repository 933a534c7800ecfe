"""Profiles go before the rest of the file, and the tables of commands are settings like any others."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module

import pytest
from kinds import defaults

from wherry.config import ConfigProblems, check, json_schema, load, resolve
from wherry.plugin import hookimpl, option, provider
from wherry.plugin.installed import Found, Installed
from wherry.plugin.manager import Manager

FILE = """
[get]
wait = "5s"
links = "skip"
[peers]
lab = "http://lab:4290"
[transport.mirror]
plugin = "http"
idle_timeout = "5s"

[profile.ci.get]
wait = "1s"
[profile.ci.peers]
office = "http://office:4290"
[profile.ci.cache]
use = "memory"
[profile.ci.cache.memory]
max_bytes = "64 MiB"
[profile.ci.transport.mirror]
idle_timeout = "9s"
[profile.disk.transport.mirror]
plugin = "file"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncOptions:
    rows: int = option(5, help="how many", minimum=1)
    key: str | None = option(None, help="of the door", secret=True)


class Commands:
    """A third party's plugin."""

    @staticmethod
    @hookimpl
    def wherry_register_commands():
        return [provider("acme.sync", options=SyncOptions, build=lambda options, env: None, summary="Sync all.")]


class Fake(Installed):
    def own(self):
        names = ("http", "tcp", "file", "web", "cache")
        real = [Found(n, n, "wherry", "0", lambda n=n: import_module(f"wherry_{n}.plugin")) for n in names]
        return [*real, defaults()]

    def others(self):
        return [Found("acme", "acme.plugin", "acme-sync", "1", lambda: Commands)]

    def extras(self):
        return []


@pytest.fixture
def manager():
    return Manager(Fake())


@pytest.fixture
def read(tmp_path, manager):
    """Reads a configuration; gives it."""

    def read(text, profile=None, **environ):
        (tmp_path / "wherry.toml").write_text(text)
        if profile is not None:
            environ["WHERRY_PROFILE"] = profile
        return load(None, tmp_path, environ, manager)

    return read


@pytest.fixture
def problems(tmp_path, manager):
    def problems(text, **environ):
        (tmp_path / "wherry.toml").write_text(text)
        return [str(problem).removeprefix(f"{tmp_path}/") for problem in check(None, tmp_path, environ, manager)]

    return problems


def test_without_a_profile_none_counts(read):
    config = read(FILE)
    assert (config.get.wait, config.use["cache"], dict(config.peers)) == (5.0, ("disk",), {"lab": "http://lab:4290"})
    assert (config.profile, config.profiles) == (None, ("ci", "disk"))
    assert read(FILE, profile="").profile is None


def test_a_profile_goes_before_the_file_setting_by_setting(read):
    config = read(FILE, profile="ci")
    assert (config.get.wait, config.get.links) == (1.0, "skip")
    assert dict(config.peers) == {"lab": "http://lab:4290", "office": "http://office:4290"}
    assert config.use["cache"] == ("memory",)
    assert config.instances["cache", "memory"].options.max_bytes == 64 << 20
    mirror = config.instances["transport", "mirror"]
    assert (mirror.plugin, mirror.options.idle_timeout) == ("http", 9.0)


def test_the_environment_goes_before_a_profile(read):
    assert read(FILE, profile="ci", WHERRY_GET__WAIT="3s").get.wait == 3.0


def test_a_table_that_names_another_plugin_takes_the_place_of_the_other(read):
    """The options of one plugin mean nothing to another."""
    mirror = read(FILE, profile="disk").instances["transport", "mirror"]
    assert mirror.plugin == "file"


def test_origins_name_the_profile(read, tmp_path):
    config = read(FILE, profile="ci")
    file = f"file {tmp_path}/wherry.toml"
    assert config.origin("get.wait") == f"{file}, profile ci"
    assert config.origin("get.links") == file
    assert f'wait = "1s"  # {file}, profile ci' in config.show(origin=True)
    shown = config.to_json()
    assert (shown["profile"], shown["profiles"]) == ("ci", ["ci", "disk"])
    assert shown["origins"]["peers.office"] == f"{file}, profile ci"


def test_what_is_shown_of_a_profile_is_read_back_as_the_same(read, tmp_path):
    config = read(FILE, profile="ci")
    again = read(config.to_toml())
    assert (again.get, again.peers, again.use, again.instances) == (config.get, config.peers, config.use, config.instances)


def test_an_unknown_profile_is_told_with_those_that_there_are(read, tmp_path, manager):
    with pytest.raises(
        ConfigProblems, match=r"there is no profile 'disc'; expected one of: ci, disk \(did you mean \"disk\"\?\)"
    ):
        read(FILE, profile="disc")
    with pytest.raises(ConfigProblems, match="no file has a profile"):
        read("", profile="disc")
    (tmp_path / "wherry.toml").unlink()
    with pytest.raises(ConfigProblems, match="there is no profile 'ci'; expected a file that has it"):
        load(None, tmp_path, {"WHERRY_PROFILE": "ci"}, manager)


def test_every_profile_is_checked(problems):
    found = problems(
        '[get]\nwiat = 1\n[profile.a.get]\nlinks = "eat"\n[profile.b.transport.http]\nnonsense = 1\n[profile.c.tarnsport]\n'
        '[profile.d]\nget = 3\n[profile."no name"]\n[profile.e.profile.f.get]\n[profile.g.observer]\nuse = ["acme.none"]'
    )
    assert [line.partition(": ")[2].partition(":")[0] for line in found] == [
        "profile.no name", "get.wiat", "profile.a.get.links", "profile.b.transport.http.nonsense", "profile.c.tarnsport",
        "profile.d.get", "profile.e.profile", "profile.g.observer.use",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["profile = 3", "[profile]\nci = 3"])
def test_profiles_that_are_no_tables(problems, text):
    assert "is no table; expected tables [profile." in problems(text)[0]


def test_a_secret_is_no_more_at_home_in_a_profile(problems, read):
    (said,) = problems('[profile.ci.transport.http]\ntoken = "hunter2"')
    assert "is a secret and must not be written here" in said
    assert "hunter2" not in said
    with pytest.raises(ConfigProblems) as caught:
        read('[profile.ci.transport.http]\ntoken = "hunter2"', profile="ci")
    assert "hunter2" not in str(caught.value)


def test_paths_in_a_profile_begin_at_the_file(read, tmp_path):
    (tmp_path / "token").write_text("hunter2\n")
    config = read('[profile.ci.transport.http]\ntoken_file = "token"', profile="ci")
    assert config.instances["transport", "http"].options.token == "hunter2"
    assert "hunter2" not in config.show(origin=True)
    assert "hunter2" not in json.dumps(config.to_json())


def test_the_schema_tells_of_profiles_and_commands(manager):
    schema = json_schema(manager)
    profile = schema["properties"]["profile"]["additionalProperties"]
    assert set(profile["properties"]) == set(schema["properties"]) - {"profile"}
    for reference in profile["properties"].values():
        assert reference["$ref"].removeprefix("#/properties/") in schema["properties"]
    command = schema["properties"]["command"]
    assert set(command["properties"]) == {"acme.sync"}
    assert set(command["properties"]["acme.sync"]["properties"]) == {"rows", "key_file"}
    assert command["additionalProperties"] is False


# Tables of commands


def test_a_command_has_a_table_and_is_not_chosen(read):
    config = read('[command."acme.sync"]\nrows = 7\n[profile.ci.command."acme.sync"]\nrows = 8', profile="ci")
    assert config.instances["command", "acme.sync"].options == SyncOptions(rows=8)
    assert "command" not in config.use
    assert '[command."acme.sync"]\nrows = 8' in config.show()
    assert config.to_json()["values"]["command.acme.sync.rows"] == 8
    assert "command.acme.sync.plugin" not in config.to_json()["values"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[command.acme.sync]\nrows = 7", 'command.acme.sync: is a table (a name with a dot is written [command."acme.sync"])'),
        ('[command]\nuse = ["acme.sync"]', 'command.use: is no table; expected a table [command."vendor.name"]'),
        ('[command."acme.sync"]\nplugin = "acme.sync"', "command.acme.sync.plugin: unknown option; expected rows, key_file"),
        ('[command."acme.sync"]\nrows = 0', "command.acme.sync.rows: is 0, which is too small"),
        ('[command."acme.sink"]\nrows = 1', "command.acme.sink.rows: no command 'acme.sink' is installed"),
        ("[profile.x.command.acme.sync]", 'is a table (a name with a dot is written [profile.x.command."acme.sync"])'),
    ],
)
def test_what_is_wrong_with_a_commands_table(problems, text, said):
    assert any(said in line for line in problems(text)), problems(text)


def test_a_variable_sets_an_option_of_a_command(tmp_path, manager, problems):
    environ = {"WHERRY_COMMAND__ACME_SYNC__ROWS": "9", "WHERRY_COMMAND__ACME_SYNC__KEY": "hunter2"}
    for config in (load(None, tmp_path, environ), load(None, tmp_path, environ, manager)):
        _, options = resolve(config, "command", "acme.sync", manager, environ)
        assert options == SyncOptions(rows=9, key="hunter2")
    assert problems("", **environ) == []
    assert "hunter2" not in load(None, tmp_path, environ, manager).show()
