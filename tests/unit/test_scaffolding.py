"""`wherry plugins new` writes a package that works as it is, for every kind, and destroys nothing."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from wherry.errors import UsageError
from wherry.plugin.hookspecs import KINDS
from wherry_cli import scaffold
from wherry_cli.app import run
from wherry_cli.scaffolding import NewPlugin, write

MARKS = re.compile(r"vendor[._-]name|wherry_cli|\$\w|scaffold")


def made(kind, folder, name="acme.my-own"):
    new = NewPlugin.parse(kind, name)
    write(new, str(folder))
    return new, folder / new.dist


def python(folder, *words):
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))}
    environ["PYTHONPATH"] = os.pathsep.join([str(folder), *(path for path in sys.path if path)])
    return subprocess.run([sys.executable, *words], cwd=folder, env=environ, capture_output=True, text=True, check=False)


@pytest.mark.timeout(180)
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=pytest.mark.slow) if kind == "transport" else kind for kind in KINDS]
)
def test_what_is_written_passes_its_own_tests(kind, tmp_path):
    _, folder = made(kind, tmp_path)
    done = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) > 5


@pytest.mark.parametrize("kind", KINDS)
def test_the_package_holds_what_a_package_needs(kind, tmp_path):
    new, folder = made(kind, tmp_path)
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"LICENSE", "README.md", ".gitignore", ".github/workflows/tests.yml", "tests/test_contract.py"} <= files
    assert {f"acme_my_own/{name}" for name in ("__init__.py", "py.typed", "plugin.py", "options.py")} <= files
    own = [name for name in files if re.fullmatch(r"tests/test_\w+\.py", name) and name != "tests/test_contract.py"]
    assert own, "it has no test of its own"
    for name in files:
        assert not MARKS.search((folder / name).read_text().replace("${{ matrix.python }}", "")), f"{name} is not renamed"
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "acme-my-own"
    assert project["project"]["entry-points"]["wherry"] == {new.name: "acme_my_own.plugin"}
    assert "test" in project["project"]["optional-dependencies"]
    assert new.name in tomllib.loads(re.findall(r"```toml\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)[0])[
        kind
    ].get("use", new.name)


@pytest.mark.parametrize("kind", KINDS)
def test_the_provider_is_right_and_light(kind, tmp_path):
    new, folder = made(kind, tmp_path)
    code = (
        "import json, sys; import acme_my_own.plugin as plugin\n"
        "heavy = [name for name in ('asyncio', 'sqlite3', 'nacl', 'ssl', 'zlib') if name in sys.modules]\n"
        "from wherry.plugin.check import offers; from wherry.plugin.installed import Found\n"
        "offered = offers(Found('x', 'x', 'x', '0', lambda: plugin), builtin=False)\n"
        "print(json.dumps([heavy, [[kind, one.name, one.api] for kind, one in offered]]))"
    )
    done = python(folder, "-c", code)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[], [[kind, new.name, 1]]]


def test_the_modules_are_those_of_the_kinds():
    folders = {path.name for path in Path(scaffold.__file__).parent.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert folders == {*KINDS, "common"}


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("transprot", "acme.fast", 'did you mean "transport"?'),
        ("nonsense", "acme.fast", "kinds: transport"),
        ("cache", "fast", "VENDOR.NAME"),
        ("cache", "Acme.fast", "VENDOR.NAME"),
        ("cache", "acme.fast.er", "VENDOR.NAME"),
        ("cache", "acme./etc", "VENDOR.NAME"),
        ("cache", "acme.fast-", "VENDOR.NAME"),
        ("cache", "acme-.fast", "VENDOR.NAME"),
        ("cache", "acme.fast\n", "VENDOR.NAME"),
        ("cache", "", "VENDOR.NAME"),
        ("cache", "wherry.http", "your own name"),
    ],
)
def test_names_are_checked(kind, name, hint):
    with pytest.raises(UsageError) as caught:
        NewPlugin.parse(kind, name)
    assert hint in caught.value.hint


def test_what_is_there_is_left_alone(tmp_path):
    (tmp_path / "acme-fast").mkdir()
    (tmp_path / "acme-fast" / "mine").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write(NewPlugin.parse("cache", "acme.fast"), str(tmp_path))
    assert [path.name for path in (tmp_path / "acme-fast").iterdir()] == ["mine"]


def test_the_verb_says_what_it_wrote(tmp_path, capsys):
    assert run(["plugins", "new", "cache", "acme.fast", "--dir", str(tmp_path), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == "wherry/plugin-new/1"
    assert said["path"] == str(tmp_path / "acme-fast")
    assert said["files"] == sorted(
        str(path.relative_to(said["path"])) for path in Path(said["path"]).rglob("*") if path.is_file()
    )
    assert run(["plugins", "new", "cache", "acme.fast", "--dir", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err


def test_the_verb_says_what_to_do_next(tmp_path, capsys):
    assert run(["plugins", "new", "policy", "acme.fast", "--dir", str(tmp_path)]) == 0
    out, err = capsys.readouterr()
    assert str(tmp_path / "acme-fast" / "acme_fast" / "policy.py") in out.splitlines()
    assert "pip install -e '.[test]' && pytest" in err
