"""A configuration is shown so that it is read back as the same, without its secrets."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinds import defaults

from wherry.config import check, json_schema, load
from wherry.config.model import SECTIONS, SELECTIONS
from wherry.plugin import Duration, Size, hookimpl, option, provider
from wherry.plugin.hookspecs import KINDS
from wherry.plugin.installed import Found, Installed
from wherry.plugin.manager import Manager
from wherry.plugin.options import options_of


@dataclass(frozen=True, slots=True, kw_only=True)
class WireOptions:
    timeout: Duration = option(Duration(5.0), help="how long", minimum=0.1)
    chunk: Size = option(Size(1 << 20), help="how large")
    cert: Path | None = option(None, help="certificate")
    hosts: tuple[str, ...] = option((), help="whom")
    token: str | None = option(None, help="the door", secret=True, env="WHERRY_TOKEN")
    password: str | None = option(None, help="another door", secret=True)


class Plugins:
    """A plugin's module."""

    @staticmethod
    @hookimpl
    def wherry_register_transports():
        return [
            provider(name, options=WireOptions, build=lambda options, env: None, summary=f"a {name}")
            for name in ("http", "tcp", "file", "web", "wire")
        ]


class Fake(Installed):
    def own(self):
        cache = Found("cache", "wherry_cache.plugin", "wherry", "0", lambda: import_module("wherry_cache.plugin"))
        return [Found("plugins", "plugins", "wherry", "0", lambda: Plugins), cache, defaults()]

    def others(self):
        return []

    def extras(self):
        return []


@pytest.fixture
def manager():
    return Manager(Fake())


@pytest.fixture
def write(tmp_path):
    def write(text, name="wherry.toml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def keys(problems):
    return [problem.key for problem in problems]


# Secrets


def test_a_secret_in_the_file_is_refused_and_not_shown(tmp_path, write, manager):
    write('[transport.http]\ntoken = "hush-hush"\npassword = "hush-hush"')
    problems = check(None, tmp_path, {}, manager)
    assert keys(problems) == ["transport.http.token", "transport.http.password"]
    assert "token_file = PATH, or set WHERRY_TOKEN" in str(problems[0])
    assert "set WHERRY_TRANSPORT__HTTP__PASSWORD" in str(problems[1])
    assert "hush-hush" not in "".join(map(str, problems))


def test_secrets_from_a_file_of_their_own_and_from_variables(tmp_path, write, manager):
    write('[transport.http]\ntoken_file = "token"')
    write("hush-hush\n", "token")

    def token(environ):
        return load(None, tmp_path, environ, manager).instances["transport", "http"].options.token

    assert token({}) == "hush-hush"
    assert token({"WHERRY_TOKEN": "other"}) == "other"
    assert token({"WHERRY_TOKEN": "other", "WHERRY_TRANSPORT__HTTP__TOKEN": "nearest"}) == "nearest"
    write("given\n", "given")
    file = {"WHERRY_TRANSPORT__HTTP__TOKEN_FILE": str(tmp_path / "given")}  # as --token-file is
    assert token(file) == token({"WHERRY_TOKEN": "other", **file}) == "given"
    assert token({"WHERRY_TRANSPORT__HTTP__TOKEN": "nearest", **file}) == "nearest"
    assert load(None, tmp_path, {}, manager).origin("transport.http.token").endswith(f"which names {tmp_path / 'token'}")


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * 70_000, b"a\0b"])
def test_files_that_hold_no_secret(tmp_path, write, manager, content):
    write('[transport.http]\ntoken_file = "token"')
    if content is not None:
        (tmp_path / "token").write_bytes(content)
    (problem,) = check(None, tmp_path, {}, manager)
    assert problem.key == "transport.http.token_file"
    assert "holds the secret" in str(problem)


def test_a_secret_that_can_be_none_is_said_to_come_from_where_it_was_given(tmp_path, write):
    file, variable = tmp_path / "token", "WHERRY_TRANSPORT__HTTP__TOKEN_FILE"
    write("two words", "token")
    for environ, source in (
        ({"WHERRY_TOKEN": "tök€n"}, "environment WHERRY_TOKEN"),
        ({variable: str(file)}, f"environment {variable}, which names {file}"),
    ):
        problems = check(None, tmp_path, environ, Manager())
        assert source in [problem.source for problem in problems if problem.key == "transport.http"]
    write('[transport.http]\ntoken_file = "token"')
    (problem,) = check(None, tmp_path, {}, Manager())
    assert problem.source == f"{tmp_path / 'wherry.toml'}, which names {file}"
    assert "words" not in str(problem)


def test_secrets_are_shown_nowhere(tmp_path, write, manager):
    write('[transport.http]\ntoken_file = "token"')
    write("canary-1", "token")
    environ = {"WHERRY_TRANSPORT__FILE__PASSWORD": "canary-2", "WHERRY_TOKEN": "canary-3"}
    config = load(None, tmp_path, environ, manager)
    assert config.instances["transport", "file"].options.password == "canary-2"
    bare = load(None, tmp_path, environ)
    shown = [repr(config), config.show(), config.show(origin=True), config.to_toml(), json.dumps(config.to_json())]
    shown += [repr(bare), bare.show(), json.dumps(bare.to_json()), repr(dict(bare.instances["transport", "file"].entries))]
    assert "canary" not in "".join(shown)
    assert 'token_file = "token"' in config.show()
    assert "# password is set, and secret" in config.show()


# Showing


def test_what_is_shown_is_read_back_as_the_same(tmp_path, write, manager):
    write(
        '[get]\nwait = "1.5s"\nmax_bytes = "3 GiB"\n[serve]\nlisten = ["http://a:1", "http://b:2"]\n[peers]\nlab = "http://lab:1"\n'
        '[transport]\nuse = ["a.b", "http"]\n[transport."a.b"]\nplugin = "wire"\nhosts = ["x\\"y", "\\u007f\\u00e9\\\\"]\n'
        'chunk = 1000001\ntimeout = 0.30000000000000004\n[cache]\nuse = "memory"'
    )
    config = load(None, tmp_path, {}, manager)
    again = load(write(config.to_toml(), "again.toml"), tmp_path, {}, manager)
    assert [getattr(config, name) for name in ("use", "instances", "peers", "serve", "get", "add", "memory")] == [
        getattr(again, name) for name in ("use", "instances", "peers", "serve", "get", "add", "memory")
    ]
    assert again.to_toml() == config.to_toml()


@given(
    hosts=st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))),
    chunk=st.integers(0, (1 << 63) - 1),
    timeout=st.floats(0.1, 1e300),
)
def test_any_value_is_read_back_as_the_same(tmp_path_factory, hosts, chunk, timeout):
    folder = tmp_path_factory.mktemp("config")
    text = f"[transport.wire]\nhosts = {json.dumps(hosts, ensure_ascii=False)}\nchunk = {chunk}\ntimeout = {timeout!r}".replace(
        "\x7f", "\\u007f"
    )
    (folder / "a.toml").write_text(text, encoding="utf-8", newline="")
    manager = Manager(Fake())
    config = load(folder / "a.toml", folder, {}, manager)
    options = config.instances["transport", "wire"].options
    assert (options.hosts, options.chunk, options.timeout) == (tuple(hosts), chunk, timeout)
    (folder / "b.toml").write_text(config.to_toml(), encoding="utf-8", newline="")
    assert load(folder / "b.toml", folder, {}, manager).instances["transport", "wire"].options == options


def test_origins_are_shown(tmp_path, write, manager):
    path = write("[get]\nwait = 5")
    text = load(None, tmp_path, {"WHERRY_ADD__MTIME": "yes"}, manager).show(origin=True)
    assert f'wait = "5s"  # file {path}\n' in text
    assert "mtime = true  # environment WHERRY_ADD__MTIME\n" in text
    assert 'budget = "32 MiB"  # default\n' in text
    tomllib.loads(text)


def test_json(tmp_path, write, manager):
    path = write("[get]\nwait = 5")
    shown = load(None, tmp_path, {}, manager).to_json()
    assert shown["schema"] == "wherry/config/1"
    assert shown["file"] == str(path)
    assert (shown["values"]["get.wait"], shown["origins"]["get.wait"]) == (5.0, f"file {path}")
    assert shown["values"]["transport.use"] == ["http", "tcp", "file", "web"]
    assert shown["values"]["cache.disk.max_bytes"] == 10 << 30


def test_schema(manager):
    schema = json_schema(manager)
    assert schema["additionalProperties"] is False
    properties = schema["properties"]
    assert set(properties) == {*KINDS, *SECTIONS, "peers", "profile"}
    assert properties["get"]["properties"]["links"] == {
        "type": "string", "enum": ["refuse", "skip", "keep"], "default": "refuse",
        "description": "what is done with a symbolic link that leaves the tree",
    }  # fmt: skip
    http = properties["transport"]["properties"]["http"]
    assert http["properties"]["timeout"]["default"] == "5s"
    assert "token" not in http["properties"]
    assert http["properties"]["token_file"]["type"] == "string"
    assert properties["cache"]["properties"]["use"]["default"] == "disk"
    json.dumps(schema)


PAGE = (Path(__file__).parents[2] / "specs/0007-configuration.md").read_text()


def rows_of_the_page():
    """The keys of each section that specs/0007 lists."""
    page = PAGE.partition("| section | key |")[2]
    found, section = {}, ""
    for row in page.partition("\n\n")[0].splitlines()[2:]:
        first, keys = row.split("|")[1:3]
        section = first.strip().strip("`[]") or section
        names = re.findall(r"`(\w+)`", keys)
        for klass in ("interactive", "high", "normal", "bulk") if "CLASS_" in keys else ("",):
            found.setdefault(section, set()).update(name.replace("CLASS", klass) for name in names)
    return found


def test_the_page_lists_the_sections_and_keys_that_there_are():
    rows = rows_of_the_page()
    for kind, selection in SELECTIONS.items():
        assert rows.pop(kind) == {"use"}
        assert f"{kind}.NAME" in rows, kind
        del rows[f"{kind}.NAME"]
        default = ", ".join(f'"{name}"' for name in selection.default)
        assert f"| `[{kind}]` | `use` | `{f'[{default}]' if selection.many else default}` |" in PAGE, kind
    assert set(rows) == {*SECTIONS, "peers", 'command."NAME"', "profile.NAME.SECTION"}
    for name, cls in SECTIONS.items():
        assert rows[name] == {option.name for option in options_of(cls)}, name
