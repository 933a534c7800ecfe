"""What README and specifications show is run: blocks of Python and shell marked ``<!-- run -->``, and README's own lines."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "specs").glob("*.md"))]
MARKED = re.compile(r"<!-- run -->\n```(python|sh)\n(.*?)```", re.DOTALL)
BLOCKS = [
    pytest.param(language, block, id=f"{path.name}-{number}")
    for path in DOCUMENTS
    for number, (language, block) in enumerate(MARKED.findall(path.read_text()))
]


@pytest.fixture
def place(home, tmp_path):
    """A folder as the documents assume it, with a ``dataset`` in it."""
    (tmp_path / "dataset/sub").mkdir(parents=True)
    (tmp_path / "dataset/readme.txt").write_bytes(b"hello\n")
    (tmp_path / "dataset/sub/data.bin").write_bytes(bytes(100_000))
    return tmp_path


def run(language, code, place):
    environ = {**os.environ, "PYTHONPATH": ":".join(path for path in sys.path if path)}
    line = [sys.executable, "-W", "error", "-c", code]
    if language == "sh":
        line = ["sh", "-euc", f'wherry() {{ "{sys.executable}" -W error -m wherry_cli "$@"; }}\n{code}']
    return subprocess.run(line, cwd=place, env=environ, capture_output=True, text=True, check=False, timeout=50)


def test_marked_blocks_are_seen():
    assert {"README.md", "0011-python-api.md"} <= {param.id.rpartition("-")[0] for param in BLOCKS}
    assert sum(path.read_text().count("<!-- run -->") for path in DOCUMENTS) == len(BLOCKS)


@pytest.mark.parametrize(("language", "block"), BLOCKS)
def test_a_block_runs_as_it_stands(language, block, place):
    done = run(language, block, place)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_what_the_readme_shows_in_python_makes_the_copy(place):
    blocks = [block for language, block in MARKED.findall((ROOT / "README.md").read_text()) if language == "python"]
    assert run("python", blocks[0], place).returncode == 0
    assert (place / "copy/readme.txt").read_bytes() == b"hello\n"


def test_the_configuration_of_the_readme_is_right(place):
    """Each block of TOML in README and 0007 that stands for a file is taken by ``config check``."""
    for path in (ROOT / "README.md", ROOT / "specs/0007-configuration.md"):
        for number, block in enumerate(re.findall(r"^```toml\n(.*?)```", path.read_text(), re.DOTALL | re.MULTILINE)):
            file = place / f"{path.stem}-{number}.toml"
            file.write_text(block)
            line = [sys.executable, "-m", "wherry_cli", "config", "check", "--config", str(file)]
            environ = {**os.environ, "PYTHONPATH": ":".join(each for each in sys.path if each)}
            done = subprocess.run(line, env=environ, capture_output=True, text=True, check=False, timeout=30)
            assert done.returncode == 0, done.stderr


GROUPS = {
    "cache",
    "cid",
    "config",
    "dag",
    "keys",
    "limit",
    "peers",
    "plugins",
    "sim",
    "store",
    "tracker",
    "transfers",
}  # with verbs below


def test_every_line_of_the_readme_parses(place):
    """Every ``wherry`` line in a block of shell is one that the command line takes, options and all."""
    from wherry_cli.table import VERBS

    text = (ROOT / "README.md").read_text()
    lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    seen = 0
    for line in lines:
        if not line.startswith("wherry "):
            continue
        verb, *rest = line.split()[1:]
        assert verb in VERBS
        below = (
            rest[:1] if rest and rest[0].isalpha() and verb in GROUPS else []
        )  # "transfers add": the options are those of "add"
        environ = {**os.environ, "PYTHONPATH": ":".join(each for each in sys.path if each), "COLUMNS": "200"}
        help_line = [sys.executable, "-m", "wherry_cli", verb, *below, "--help"]
        shown = subprocess.run(help_line, env=environ, capture_output=True, text=True, check=True, timeout=30).stdout
        for option in re.findall(r" (--?[a-z][a-z-]*)", line):
            assert option in shown, f"{line}: {option}"
        seen += 1
    assert seen >= 4
