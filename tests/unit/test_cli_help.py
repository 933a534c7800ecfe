"""The table of verbs, the help of each, the options that each takes, and what starting costs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from wherry import errors
from wherry_cli import app, verbs
from wherry_cli.invocation import Invocation
from wherry_cli.table import VERBS

GLOBALS = (
    "--home",
    "--config",
    "--profile",
    "--json",
    "-q, --quiet",
    "-v, --verbose",
    "--color",
    "--progress",
    "WHERRY_HOME",
    "WHERRY_CONFIG",
    "WHERRY_PROFILE",
)
HEAVY = {"asyncio", "sqlite3", "aiohttp", "rich", "pydantic", "cbor2", "multiformats", "wherry.session"}
VERBS_DIR = Path(verbs.__file__).parent


def paths_of(command, path=()):
    yield path
    for name, child in getattr(command, "commands", {}).items():
        yield from paths_of(child, (*path, name))


ALL = [path for verb in VERBS for path in paths_of(app.load_verb(verb), (verb,))]


def help_of(capsys, path):
    assert app.run([*path, "--help"], Invocation()) == 0
    return capsys.readouterr().out


def test_the_table_holds_every_verb_and_no_other():
    assert {path.stem.rstrip("_") for path in VERBS_DIR.glob("*.py")} - {"__init"} == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_the_summary_in_the_table_is_the_first_line_of_the_help(verb):
    assert app.load_verb(verb).help.splitlines()[0] == VERBS[verb]


@pytest.mark.parametrize("path", [(), *ALL], ids=" ".join)
def test_every_help_has_an_example_and_the_global_options(path, capsys):
    text = help_of(capsys, path)
    examples = text.partition("Example")[2]
    assert f"wherry {' '.join(path)}".strip() in examples
    for option in GLOBALS:
        assert option in text


def test_examples_are_lines_of_their_own(capsys):
    assert "\n    wherry add ./dataset\n" in help_of(capsys, ["add"])


def test_the_first_help_lists_every_verb_with_its_whole_summary(capsys):
    text = help_of(capsys, [])
    wide = max(map(len, VERBS))
    for verb, summary in VERBS.items():
        assert f"  {verb:<{wide}}  {summary}\n" in text


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_example_of_a_verb_parses(path):
    """An example with an option that does not exist would be worse than none."""
    command = app.load_verb(path[0])
    for name in path[1:]:
        command = command.commands[name]
    meant = command
    for line in command.epilog.split("\n")[2:]:
        words = [word.strip("'\"$()") for word in line.split("|")[0].replace("$(", " ").split()]
        words = words[words.index("wherry") + 1 + len(path) :]
        command = getattr(meant, "commands", {}).get(words[0] if words else "", meant)
        options = {option for param in command.params for option in param.opts} | {"--help"}
        assert {word for word in words if word.startswith("-")} <= options, line


def test_the_exit_codes_in_the_help_are_those_of_the_errors():
    codes = {
        getattr(errors, name).exit_code
        for name in dir(errors)
        if name[0].isupper() and hasattr(getattr(errors, name), "exit_code")
    }
    listed = {int(part.split()[0]) for part in app.EXIT_CODES.split(";")}
    assert listed == codes | {0, 130, 143}


def modules_after(*argv):
    code = f"import sys; from wherry_cli.app import run; run({list(argv)!r}); print(' '.join(sys.modules), file=sys.stderr)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split())


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("argv", [["version"], ["--help"], ["--version"], ["get", "--help"]], ids=" ".join)
def test_a_light_run_imports_nothing_heavy(argv):
    loaded = modules_after(*argv)
    assert not loaded & HEAVY
    ran = {argv[0].lstrip("-")} & set(VERBS)
    assert {name for name in loaded if name.startswith("wherry_cli.verbs.")} - {
        f"wherry_cli.verbs.{verb}" for verb in (*ran, "serve", "add", "version")
    } == set()


def test_the_first_help_imports_no_verb():
    assert not [name for name in modules_after("--help") if name.startswith("wherry_cli.verbs")]


def test_a_verb_without_a_verb_below_shows_its_help_and_is_a_usage_error(capsys):
    for path in ([], ["plugins"], ["config"]):
        assert app.run(path, Invocation()) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert "Usage: wherry" in captured.err


def test_completion_offers_verbs_and_options():
    def complete(words, position):
        found = subprocess.run(
            [sys.executable, "-m", "wherry_cli"],
            env={
                "_WHERRY_COMPLETE": "complete_bash",
                "COMP_WORDS": words,
                "COMP_CWORD": str(position),
                "PYTHONPATH": ":".join(sys.path),
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return found.stdout.split()

    assert complete("wherry ver", 1) == ["verify", "version"]
    assert "--include" in complete("wherry get --inc", 2)
    assert "list" in complete("wherry plugins li", 2)


def test_the_version_in_every_form(capsys):
    assert app.run(["version"], Invocation()) == 0
    assert capsys.readouterr().out.startswith("wherry ")
    assert app.run(["--version"], Invocation()) == 0
    text = capsys.readouterr().out
    assert app.run(["version", "--json"], Invocation()) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema"] == "wherry/version/1"
    assert text == f"wherry {found['version']}\n"


def test_no_private_part_of_typer_is_imported():
    root = Path(typer.__file__).parent
    private = [f"typer.{path.stem}" for path in root.iterdir() if path.name.startswith("_") and not path.name.startswith("__")]
    for path in VERBS_DIR.parent.rglob("*.py"):
        text = path.read_text()
        assert not [name for name in private if name in text], path


def test_the_target_that_is_none_is_written_with_its_colon(capsys):
    assert "`-o null:` drops the data" in " ".join(help_of(capsys, ["get"]).split())


def test_the_readme_says_which_verbs_end_well_when_they_are_stopped():
    text = (Path(__file__).parents[2] / "README.md").read_text()
    said = text.partition("A run that SIGTERM ends gives 143.")[2].partition("Each error")[0]
    for verb in ("serve", "share", "get --seed", "tracker serve", "up"):
        assert f"`{verb}`" in said
    assert "ends with 0" in said
