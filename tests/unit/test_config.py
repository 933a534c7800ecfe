"""The configuration: what is read from where, what is wrong with it, and how it is shown."""

from __future__ import annotations

import os
from dataclasses import FrozenInstanceError, dataclass
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kinds import defaults

from wherry.config import ConfigProblems, check, load, resolve
from wherry.errors import ConfigError, PluginNotFound
from wherry.plugin import Duration, Size, hookimpl, option, provider
from wherry.plugin.installed import Found, Installed
from wherry.plugin.manager import Manager


@dataclass(frozen=True, slots=True, kw_only=True)
class WireOptions:
    timeout: Duration = option(Duration(5.0), help="how long", minimum=0.1)
    chunk: Size = option(Size(1 << 20), help="how large")
    mode: str = option("fast", help="how", choices=("fast", "safe"))
    cert: Path | None = option(None, help="certificate")
    count: int = option(4, help="how many", minimum=1, maximum=64)
    hosts: tuple[str, ...] = option((), help="whom")
    token: str | None = option(None, help="the door", secret=True, env="WHERRY_TOKEN")
    password: str | None = option(None, help="another door", secret=True)

    def __post_init__(self):
        if self.mode == "safe" and self.cert is None:
            raise ValueError("mode safe needs cert")


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
    loaded = 0

    def own(self):
        def load():
            self.loaded += 1
            return Plugins

        cache = Found("cache", "wherry_cache.plugin", "wherry", "0", lambda: import_module("wherry_cache.plugin"))
        return [Found("plugins", "plugins", "wherry", "0", load), cache, defaults()]

    def others(self):
        return []

    def extras(self):
        return ["s3"]


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


def test_defaults(tmp_path):
    config = load(None, tmp_path, {})
    assert config.file is None
    assert config.use == {
        "transport": ("http", "tcp", "file", "web"), "cache": ("disk",), "compressor": ("zstd",),
        "cipher": ("xchacha20poly1305",), "chunker": ("fixed",),
        "policy": ("reputation",), "locator": ("static",), "observer": (),
    }  # fmt: skip
    assert config.serve.listen == ("http://127.0.0.1:4290",)
    assert (config.serve.verify, config.serve.allow_public) == ("stat", False)
    assert (config.get.wait, config.get.links, config.get.names) == (60.0, "refuse", "portable")
    assert (config.get.sync, config.get.max_bytes, config.get.direct_io) == (True, None, True)
    assert config.add.mtime is False
    assert config.memory.budget == 32 << 20
    assert config.peers == {}
    assert config.origin("get.wait") == "default"


def test_the_file_goes_before_defaults_and_the_environment_before_the_file(tmp_path, write):
    path = write('[get]\nwait = "5s"\nlinks = "skip"\n[serve]\nlisten = ["http://[::1]:0"]')
    config = load(None, tmp_path, {"WHERRY_GET__WAIT": "7s", "WHERRY_MEMORY__BUDGET": "64MiB"})
    assert (config.get.wait, config.get.links, config.memory.budget) == (7.0, "skip", 64 << 20)
    assert config.serve.listen == ("http://[::1]:0",)
    assert config.origin("get.wait") == "environment WHERRY_GET__WAIT"
    assert config.origin("get.links") == f"file {path}"
    assert config.origin("get.sync") == "default"


def test_which_file_is_read(tmp_path, write):
    write("[get]\nwait = 1")
    named, explicit = write("[get]\nwait = 2", "named.toml"), write("[get]\nwait = 3", "explicit.toml")
    environ = {"WHERRY_CONFIG": str(named)}
    assert load(None, tmp_path, {}).get.wait == 1
    assert load(None, tmp_path, environ).get.wait == 2
    assert load(explicit, tmp_path, environ).get.wait == 3
    assert load(explicit, tmp_path, environ).file == explicit


@pytest.mark.parametrize("how", ["explicit", "environment"])
def test_a_file_that_somebody_named_must_be_there(tmp_path, how):
    missing = tmp_path / "none.toml"
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        load(missing if how == "explicit" else None, tmp_path, {"WHERRY_CONFIG": str(missing)})


def test_a_config_is_immutable(tmp_path):
    config = load(None, tmp_path, {})
    with pytest.raises(FrozenInstanceError):
        config.file = tmp_path
    with pytest.raises(TypeError):
        config.peers["x"] = "y"


def test_everything_that_is_wrong_is_told_at_once(tmp_path, write, manager):
    path = write(
        '[get]\nwiat = "3s"\nlinks = "skp"\nmax_bytes = -1\n[peer]\na = "http://x"\n[transport]\nuse = ["wire", "s3"]\n'
        '[transport.wire]\ntimeot = "5s"\nchunk = true\n[cache.disk]\nmax_bytes = "many"\n'
    )
    with pytest.raises(ConfigProblems) as caught:
        load(None, tmp_path, {"WHERRY_GET__SYNC": "maybe", "WHERRY_GTE__WAIT": "1"}, manager)
    told = [(one.source, one.key, one.problem, one.near, one.expected) for one in caught.value.problems]
    assert told == [
        (str(path), "peer", "unknown section", "peers", None),
        ("environment", "WHERRY_GTE__WAIT", "unknown section", "get", None),
        (str(path), "get.wiat", "unknown option", "wait", None),
        (str(path), "get.links", "is 'skp'", "skip", "one of 'refuse', 'skip', 'keep'"),
        (str(path), "get.max_bytes", "is negative", None, 'a size such as "4 MiB", at least 1'),
        ("environment", "WHERRY_GET__SYNC", "is text", None, "true or false"),
        (str(path), "transport.wire.timeot", "unknown option", "timeout", None),
        (str(path), "transport.wire.chunk", "is true or false", None, 'a size such as "4 MiB"'),
        (str(path), "transport.use", "no transport 's3' is installed", None, None),
        (str(path), "cache.disk.max_bytes", "'many' is not a number with a unit", None, 'a size such as "4 MiB", at least 0'),
    ]
    text = str(caught.value)
    assert text.startswith("10 problems in the configuration:\n")
    assert f'{path}: get.wiat: unknown option (did you mean "wait"?)' in text
    assert "pip install 'wherry[s3]'" in text
    assert caught.value.exit_code == 3
    assert caught.value.hint is None  # with a manager, all was looked at
    with pytest.raises(ConfigProblems) as caught_first:
        load(None, tmp_path, {"WHERRY_GET__SYNC": "maybe", "WHERRY_GTE__WAIT": "1"})
    assert "there may be more: `wherry config check`" in caught_first.value.hint
    assert check(None, tmp_path, {"WHERRY_GET__SYNC": "maybe", "WHERRY_GTE__WAIT": "1"}, manager) == list(caught.value.problems)


def test_check_finds_nothing_in_the_defaults(tmp_path, manager):
    assert check(None, tmp_path, {}, manager) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[get]\nwait = \n", "line 2"),
        ("[get]\nwait = 1\nwait = 2\n", "line 3"),
        ("[get\n", "line 1"),
        ("x = " + "[" * 5000, "nests too deep"),
        ("x = 1" + "0" * 5000, "is not TOML"),
    ],
)
def test_what_is_no_toml_is_told_with_its_line(tmp_path, write, text, told):
    write(text)
    with pytest.raises(ConfigError, match=told):
        load(None, tmp_path, {})


def test_what_is_no_utf_8(tmp_path):
    (tmp_path / "wherry.toml").write_bytes(b"[get]\n# \xff\n")
    with pytest.raises(ConfigError, match=r"not UTF-8 \(at line 2\)"):
        load(None, tmp_path, {})


def test_files_that_cannot_be_one(tmp_path):
    (tmp_path / "big.toml").write_bytes(b"#" * (1 << 20) + b"#")
    os.mkfifo(tmp_path / "fifo.toml")
    for name, told in [("big.toml", "larger than"), ("fifo.toml", "not a regular file"), (".", "not a regular file")]:
        assert told.lower() in str(check(tmp_path / name, tmp_path, {})[0]).lower()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("get.wait = true", "is true or false"),
        ("get.wait = []", "is a list"),
        ("get.wait = -1", "negative"),
        ("get.wait = inf", "not finite"),
        ("get.wait = nan", "not finite"),
        ("get.wait = 2020-01-01", "a date or time"),
        ('get.wait = "5 s s"', "unit"),
        ("get.sync = 1", "is a whole number"),
        ('get.sync = "true"', "is text"),
        ("get.links = 5", "is a whole number"),
        ("get.links = {}", "is a table"),
        ('get.links = "keep\\u0000"', "NUL"),
        ("get.max_bytes = 0", "too small"),
        ("get.max_bytes = 1.5", "is a number"),
        ("get.max_bytes = 9223372036854775808", "too large"),
        ("transport.http.count = 0", "too small"),
        ("transport.http.count = 70", "too large"),
        ("transport.http.count = true", "is true or false"),
        ('serve.listen = "http://x"', "is text"),
        ("serve.listen = [1]", "is a whole number"),
        ("memory.budget = 1", "too small"),
        ("get = 5", "is no table"),
        ("serve.listen = [" + '"x",' * 1025 + "]", "1025 items"),
        ('transport.use = "http"', "is text"),
        ("transport.use = []", "names no plugin"),
        ('transport.use = ["a", "a"]', "twice"),
        ('transport.use = ["a b"]', "names no plugin"),
        ('cache.use = ["disk"]', "is a list"),
        ('cache.use = ""', "names no plugin"),
        ("transport.sue = 5", 'did you mean "use"'),
        ("transport.fast = 5", "[transport.fast]"),
        ('transport."a b".x = 5', "is no name"),
        ("transport.wire.plugin = 5", "name of a plugin"),
        ('peers.a = "no address"', "is no address"),
        ("peers.a = 5", "is no address"),
        ('peers."a b" = "http://x"', "is no name"),
        (f'peers.a = "http://{"x" * 2048}"', "is no address"),
    ],
)
def test_wrong_values(tmp_path, write, manager, line, told):
    write(line)
    problems = check(None, tmp_path, {}, None if "use" in line or ".wire" in line else manager)
    assert len(problems) == 1
    assert told in str(problems[0])


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("WHERRY_GET__SYNC", "no", lambda c: c.get.sync is False),
        ("WHERRY_GET__WAIT", "1.5", lambda c: c.get.wait == 1.5),
        ("WHERRY_GET__MAX_BYTES", "1 GiB", lambda c: c.get.max_bytes == 1 << 30),
        ("WHERRY_GET__MAX_BYTES", "", lambda c: c.get.max_bytes is None),
        ("WHERRY_TRANSPORT__HTTP__COUNT", "7", lambda c: c.instances["transport", "http"].options.count == 7),
        ("WHERRY_SERVE__LISTEN", "http://a:1, http://b:2", lambda c: c.serve.listen == ("http://a:1", "http://b:2")),
        ("WHERRY_SERVE__LISTEN", '["http://a:1"]', lambda c: c.serve.listen == ("http://a:1",)),
        ("WHERRY_TRANSPORT__USE", "file", lambda c: c.use["transport"] == ("file",)),
        ("WHERRY_CACHE__USE", "memory", lambda c: c.use["cache"] == ("memory",)),
        ("WHERRY_PEERS__LAB", "http://lab:1", lambda c: c.peers == {"lab": "http://lab:1"}),
        ("WHERRY_TRANSPORT__HTTP__TIMEOUT", "9s", lambda c: c.instances["transport", "http"].options.timeout == 9.0),
        ("WHERRY_TRANSPORT__HTTP__CERT", "x/y", lambda c: c.instances["transport", "http"].options.cert == Path("x/y")),
        ("WHERRY_TRANSPORT__FAR__PLUGIN", "wire", lambda c: c.instances["transport", "far"].plugin == "wire"),
        ("WHERRY_HOME", "/x", lambda c: True),
        ("WHERRY_DISABLE_PLUGINS", "x", lambda c: True),
        ("WHERRY_UNHEARD_OF", "x", lambda c: True),
    ],
)
def test_variables(tmp_path, manager, variable, value, read):
    assert read(load(None, tmp_path, {variable: value}, manager))


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("WHERRY_GET__", "1", "is no setting"),
        ("WHERRY_GET__A__B", "1", "WHERRY_GET__KEY"),
        ("WHERRY_TRANSPORT__A__B__C", "1", "WHERRY_TRANSPORT__NAME__KEY"),
        ("WHERRY_GET__WIAT", "1", "wait"),
        ("WHERRY_TRANSPORT__HTTP__COUNT", "many", "whole number"),
        ("WHERRY_SERVE__LISTEN", "[", "TOML list"),
        ("WHERRY_GET__WAIT", "", "unit"),
    ],
)
def test_wrong_variables(tmp_path, manager, variable, value, told):
    (problem,) = check(None, tmp_path, {variable: value}, manager)
    assert (problem.source, problem.key) == ("environment", variable)
    assert told in str(problem)


def test_variables_reach_tables_whose_names_have_other_signs(tmp_path, write, manager):
    write('[transport]\nuse = ["my-mirror"]\n[transport.my-mirror]\nplugin = "wire"\ntimeout = "1s"')
    config = load(None, tmp_path, {"WHERRY_TRANSPORT__MY_MIRROR__TIMEOUT": "2s"}, manager)
    (mirror,) = config.selected("transport")
    assert (mirror.name, mirror.plugin, mirror.options.timeout) == ("my-mirror", "wire", 2.0)
    assert config.origin("transport.my-mirror.timeout") == "environment WHERRY_TRANSPORT__MY_MIRROR__TIMEOUT"


def test_one_line_changes_the_transport(tmp_path, write, manager):
    write('transport.use = ["file"]')
    assert [one.plugin for one in load(None, tmp_path, {}, manager).selected("transport")] == ["file"]


def test_tables_that_are_not_in_use_are_checked_too(tmp_path, write, manager):
    write('[transport.later]\nplugin = "wire"\nmode = "slow"')
    assert keys(check(None, tmp_path, {}, manager)) == ["transport.later.mode"]


def test_without_a_manager_no_plugin_is_loaded_and_options_are_resolved_later(tmp_path, write):
    write('[transport.http]\ntimeout = "9s"')
    installed = Fake()
    config = load(None, tmp_path, {})
    assert config.selected("transport")[0].options is None
    manager = Manager(installed)
    assert installed.loaded == 0
    assert resolve(config, "transport", "http", manager, {})[1].timeout == 9.0
    assert resolve(config, "cache", "disk", manager, {})[1].max_bytes == 10 << 30
    write('[transport.http]\ntimeot = "9s"\n[transport.none]\n')
    config = load(None, tmp_path, {})
    with pytest.raises(ConfigProblems, match=r'transport\.http\.timeot: unknown option \(did you mean "timeout"\?\)'):
        resolve(config, "transport", "http", manager, {})
    with pytest.raises(PluginNotFound):
        resolve(config, "transport", "none", manager, {})


def test_checks_across_fields_are_told_with_their_table(tmp_path, write, manager):
    write('[transport.wire]\nmode = "safe"')
    (problem,) = check(None, tmp_path, {}, manager)
    assert (problem.key, problem.problem) == ("transport.wire", "mode safe needs cert")


def test_paths_begin_at_the_file(tmp_path, write, manager, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for text, path in [("a/b", tmp_path / "a/b"), ("/x", Path("/x")), ("~/x", Path("/home/me/x"))]:
        write(f'transport.http.cert = "{text}"')
        assert load(None, tmp_path, {}, manager).instances["transport", "http"].options.cert == path


def test_at_most_so_many_peers(tmp_path, write):
    write("[peers]\n" + "".join(f'p{n} = "http://h:{n}"\n' for n in range(20)))
    assert len(load(None, tmp_path, {}).peers) == 20
    write("[peers]\n" + "".join(f'p{n} = "http://h:{n}"\n' for n in range(21)))
    assert "more than 20" in str(check(None, tmp_path, {})[0])


@given(st.text())
def test_any_text_is_a_config_or_a_typed_error(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("config") / "x.toml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    check(path, path.parent, {"WHERRY_GET__WAIT": text})


def test_a_kind_of_plugin_under_another_section_is_said_where_to_choose(tmp_path):
    (tmp_path / "wherry.toml").write_text('[add]\nchunker = "fixed:2MiB"\n')
    with pytest.raises(ConfigProblems, match=r"it is chosen by `use` in \[chunker\], and set in \[chunker\.NAME\]"):
        load(None, tmp_path, {})


def test_of_the_limits_all_that_is_wrong_is_told_at_once(tmp_path):
    (tmp_path / "wherry.toml").write_text('[limits]\ntimetable = ["sometimes up 1"]\npeers = ["a b c"]\n')
    with pytest.raises(ConfigProblems, match=r"timetable: .*; peers: "):
        load(None, tmp_path, {})
