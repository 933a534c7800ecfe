"""Imports: they point down, each module stands alone, and nobody pays for what is not used."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import wherry

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for top in ("core", "plugins", "cli") for path in (ROOT / top).rglob("*.py"))
# A `__main__` is a program: importing it runs it. What a new plugin is made from is imported under its own name elsewhere.
MODULES = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts[1:]).removesuffix(".__init__")
    for path in SOURCES
    if path.stem != "__main__" and "scaffold" not in path.parts
]

# Run in a process that has imported nothing: forks one child for each name, so that none sees what another imported.
IMPORT_EACH_ALONE = """
import os, sys
for name in sys.argv[1:]:
    if os.fork() == 0:
        try:
            __import__(name)
        except BaseException as problem:
            print(f"{name}: {type(problem).__name__}: {problem}", flush=True)
            os._exit(1)
        os._exit(0)
    os.wait()
"""


def plain_environment():
    """Without the variables by which coverage gets into subprocesses: it imports much itself."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


def python(code, *arguments, warnings="error"):
    command = [sys.executable, "-W", warnings, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, env=plain_environment())


def imported_by(name):
    """All modules that a fresh interpreter has after importing ``name`` and did not have before."""
    code = (
        "import json, sys; old = set(sys.modules); __import__(sys.argv[1]); print(json.dumps(sorted(set(sys.modules) - old)))"
    )
    done = python(code, name, warnings="default")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_there_are_modules_to_look_at():
    assert {"wherry", "wherry.cid", "wherry_cli.main", "wherry_http.plugin"} <= set(MODULES)


def test_imports_keep_to_the_contracts():
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=50, check=False, env=plain_environment()
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Contracts: [4-9] kept, 0 broken", done.stdout), done.stdout


@pytest.mark.parametrize("part", range(8))  # so that several workers share what takes a while
def test_every_module_imports_alone_and_without_a_warning(part):
    done = python(IMPORT_EACH_ALONE, *MODULES[part::8])
    assert done.stdout + done.stderr == ""


def test_the_check_above_can_fail():
    assert "no.such.module: ModuleNotFoundError" in python(IMPORT_EACH_ALONE, "no.such.module").stdout


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("wherry.cid", {"asyncio", "socket", "threading", "sqlite3", "multiformats"}),
        ("wherry.manifest", {"asyncio", "socket", "threading", "sqlite3", "cbor2"}),
        ("wherry.plugin", {"aiohttp", "asyncio", "sqlite3"}),
        ("wherry.config", {"aiohttp", "asyncio", "sqlite3"}),
        ("wherry.session", {"aiohttp"}),
        ("wherry.testing", {"pytest", "asyncio"}),
        ("wherry_http.plugin", {"aiohttp", "ssl"}),
        ("wherry_file.plugin", {"aiohttp"}),
        ("wherry_web.plugin", {"aiohttp", "asyncio", "http.client", "ssl"}),
        ("wherry_s3.plugin", {"aiohttp", "asyncio", "obstore"}),
        ("wherry_cache.plugin", {"aiohttp", "sqlite3"}),
        ("wherry_chunk.plugin", {"aiohttp", "asyncio", "pyfastcdc"}),
        ("wherry_cli.main", {"aiohttp", "asyncio", "sqlite3", "typer"}),
        ("wherry_cli.control.server", {"aiohttp"}),
    ],
)
def test_what_an_import_does_not_cost(module, heavy):
    assert heavy.isdisjoint(imported_by(module))


def test_the_front_door_imports_nothing_until_it_is_used():
    assert imported_by("wherry") == ["wherry"]
    code = "import sys, wherry; wherry.CID; print(*sorted(name for name in sys.modules if name.startswith('wherry')))"
    assert python(code).stdout.split() == ["wherry", "wherry.cid", "wherry.errors", "wherry.limits", "wherry.units"]


def test_the_front_door_is_exactly_what_it_says():
    assert isinstance(wherry.__all__, tuple)
    assert list(wherry.__all__) == sorted(wherry.__all__)
    homes = {"CID": "wherry.cid", "Session": "wherry.session", "WherryError": "wherry.errors", "__version__": "wherry.version"}
    assert set(wherry.__all__) == set(homes)
    for name, home in homes.items():
        assert getattr(wherry, name) is getattr(import_module(home), name)
        assert name in dir(wherry)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = wherry.nonsense
    source = Path(wherry.__file__).read_text()
    typed = re.findall(r"^    from (\S+) import (\w+)$", source, re.MULTILINE)  # what type checkers see
    assert {name: home for home, name in typed} == homes
