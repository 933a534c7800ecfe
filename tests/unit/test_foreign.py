"""Commands of other people's packages: found, run, explained and fenced."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass

import pytest

from wherry.abc.command import Command
from wherry.errors import NoSpace
from wherry.plugin import hookimpl, option, provider
from wherry.plugin.installed import Found, Installed
from wherry_cli import foreign
from wherry_cli.app import run
from wherry_cli.invocation import Invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    rows: int = option(5, help="how many")


class Doing(Command):
    """Does what its first argument says."""

    def __init__(self, options, env):
        self.options, self.env = options, env

    def run(self, arguments, invocation):
        what, *rest = arguments
        if what == "show":
            print(json.dumps({
                "rows": self.options.rows, "rest": rest, "home": str(invocation.home), "profile": invocation.profile,
                "json": invocation.json, "quiet": invocation.quiet, "verbose": invocation.verbose,
                "config": str(invocation.config), "env": str(self.env.home), "peers": dict(self.env.peers),
            }))  # fmt: skip
            return 0
        if what == "parse":
            argparse.ArgumentParser("wherry acme.do").parse_args(rest)
        if what == "raise":
            raise RuntimeError("no \x1b[31mluck\nat all")
        if what == "disk":
            raise NoSpace("the disk is full")
        if what == "exit":
            raise SystemExit(rest[0] if rest else None)
        if what == "interrupt":
            raise KeyboardInterrupt
        if what == "pipe":
            raise BrokenPipeError
        return {"none": None, "true": True, "large": 256, "text": "0"}.get(what, 0) if not what.isdigit() else int(what)


class Plugin:
    @staticmethod
    @hookimpl
    def wherry_register_commands():
        return [
            provider("acme.do", options=Options, build=Doing, summary="Do what is said \x1b."),
            provider("acme.unready", options=Options, build=lambda options, env: 1 / 0, summary="Is not ready."),
        ]


class Fake(Installed):
    """wherry's own packages, and one of somebody else."""

    asked_others = 0

    def others(self):
        Fake.asked_others += 1

        def broken():
            raise ImportError("no module named toaster")

        return [
            Found("acme", "acme.plugin", "acme-do", "1", lambda: Plugin),
            Found("broken", "broken.plugin", "broken-do", "1", broken),
        ]


@pytest.fixture
def go(tmp_path, monkeypatch):
    """Runs a line with those installed; gives its exit code."""
    monkeypatch.setattr("wherry.plugin.manager.Installed", Fake)
    monkeypatch.setattr(Fake, "asked_others", 0)
    monkeypatch.setattr(Invocation, "start_log", lambda self: None)  # which is the process's

    def go(*line, **environ):
        return run(["--home", str(tmp_path), *line], Invocation(environ=environ))

    return go


def test_what_stands_before_and_behind_the_name(go, tmp_path, capsys):
    config = tmp_path / "other.toml"
    config.write_text(
        '[command."acme.do"]\nrows = 7\n[peers]\nlab = "http://lab:1"\n[profile.ci.command."acme.do"]\nrows = 9\n'
    )
    line = ["--json", "-q", "-v", "--config", str(config), "--profile", "ci", "acme.do", "show", "--json", "-h", "--", "-x"]
    assert go(*line) == 0
    assert json.loads(capsys.readouterr().out) == {
        "rows": 9, "rest": ["--json", "-h", "--", "-x"], "home": str(tmp_path), "profile": "ci", "json": True, "quiet": True,
        "verbose": True, "config": str(config), "env": str(tmp_path), "peers": {"lab": "http://lab:1"},
    }  # fmt: skip


def test_options_come_from_the_environment_too(go, capsys):
    assert go("acme.do", "show", WHERRY_COMMAND__ACME_DO__ROWS="8") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 8
    assert go("acme.do", "show", WHERRY_COMMAND__ACME_DO__ROWS="many") == 3
    assert "WHERRY_COMMAND__ACME_DO__ROWS: is not a whole number" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["0"], 0), (["11"], 11), (["255"], 255), (["disk"], 8), (["exit"], 0), (["exit", "gone"], 1), (["pipe"], 141),
        (["parse", "--help"], 0), (["parse", "--nonsense"], 2), (["interrupt"], 130), (["none"], 4), (["true"], 4),
        (["large"], 4), (["text"], 4), (["raise"], 4),
    ],
)  # fmt: skip
def test_how_a_command_ends(go, words, code, monkeypatch):
    monkeypatch.setattr("wherry_cli.ending.silence_stdout", lambda: None)
    assert go("acme.do", *words) == code


def test_what_it_raises_is_its_own_fault(go, capsys):
    assert go("acme.do", "raise") == 4
    said = capsys.readouterr().err
    assert said.splitlines()[0] == "error: the command acme.do of acme-do failed: RuntimeError: no \\x1b[31mluck"
    assert "Traceback" not in said
    assert "run with -v" in said
    for verbose in (["-v"], ["-v", "-v"]):
        assert go(*verbose, "acme.do", "raise") == 4
        said = capsys.readouterr().err
        assert said.count("RuntimeError: no \\x1b[31mluck\nat all") == 1
        assert "in run\n" in said


def test_an_error_of_wherrys_is_shown_as_from_any_verb(go, capsys):
    assert go("--json", "acme.do", "disk") == 8
    assert json.loads(capsys.readouterr().err)["error"] == "NoSpace"


def test_no_exit_code(go, capsys):
    assert go("acme.do", "none") == 4
    assert "the command acme.do of acme-do gave None, which is no exit code from 0 to 255" in capsys.readouterr().err


def test_one_that_cannot_be_built(go, capsys):
    assert go("acme.unready") == 4
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_one_whose_package_does_not_load(go, capsys):
    assert go("broken.do") == 4
    said = capsys.readouterr().err
    assert "broken" in said
    assert "no module named toaster" in said


@pytest.mark.parametrize(
    ("word", "hint"),
    [("acme.dp", "'acme.do'"), ("gte", "did you mean 'get'?"), ("zzzzzz", "`wherry --help` lists the verbs")],
)
def test_near_misses(go, capsys, word, hint):
    assert go(word) == 2
    said = capsys.readouterr().err
    assert f"there is no verb {word!r}" in said
    assert hint in said


def test_the_help_lists_them_apart(go, capsys):
    assert go("--help") == 0
    text = capsys.readouterr().out
    part = text.partition("Commands of plugins:\n")[2]
    assert part.splitlines()[:2] == ["  acme.do       Do what is said \\x1b.", "  acme.unready  Is not ready."]
    assert "acme" not in text.partition("Commands of plugins:\n")[0]


def test_no_panel_where_there_are_none(capsys):
    assert run(["--help"], Invocation(environ={})) == 0
    if foreign.summaries({}):
        pytest.skip("somebody's commands are installed here")
    assert "Commands of plugins" not in capsys.readouterr().out


def test_a_verb_of_wherrys_looks_at_nobody_elses_package(go):
    assert go("version") == 0
    assert Fake.asked_others == 0


def test_disabled_plugins_have_no_commands(go, capsys):
    assert go("acme.do", "0", WHERRY_DISABLE_PLUGINS="acme") == 2
    assert "there is no verb 'acme.do'" in capsys.readouterr().err


def test_the_profile_of_the_command_line_goes_before_the_variable(go, tmp_path, capsys):
    (tmp_path / "wherry.toml").write_text('[profile.a.command."acme.do"]\nrows = 1\n[profile.b.command."acme.do"]\nrows = 2\n')
    assert go("--profile", "b", "acme.do", "show", WHERRY_PROFILE="a") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 2
    assert go("acme.do", "show", WHERRY_PROFILE="a") == 0
    assert json.loads(capsys.readouterr().out)["rows"] == 1


def test_the_module_of_commands_is_not_loaded_for_others():
    import subprocess

    code = "import sys; from wherry_cli.app import run; run(['version']); print('wherry_cli.foreign' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.endswith("False\n")
