"""Runs whose standard streams the shell closed: a result that nobody gets is an error, and no file takes their numbers."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

ENVIRON = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
EMPTY = "bafkqaaa"


@pytest.mark.parametrize(
    "argv", [["version", "--json"], ["version"], ["cat", EMPTY], ["export", EMPTY, "--car", "-"]], ids=" ".join
)
@pytest.mark.parametrize("closed", [">&-", "<&- >&-"])
def test_a_result_needs_a_standard_output(argv, closed, tmp_path):
    line = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-m", "wherry_cli", *argv]
    environ = {**ENVIRON, "WHERRY_HOME": str(tmp_path)}
    done = subprocess.run(line, stderr=subprocess.PIPE, env=environ, check=False, timeout=60)
    assert done.returncode == 8
    assert b"writing to standard output: Bad file descriptor" in done.stderr


def test_no_file_gets_the_number_of_a_standard_stream_that_is_closed(tmp_path):
    said = tmp_path / "said"
    work = (
        "import sys; from wherry_cli.render import prepare_streams; prepare_streams(); "
        "file = open(sys.argv[1], 'w'); file.write(str(file.fileno())); file.close(); sys.exit(0)"
    )
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        line = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", work, str(said)]
        assert subprocess.run(line, env=ENVIRON, check=False, timeout=60).returncode == 0
        assert int(said.read_text()) > 2, closed


def test_closed_standard_streams_are_no_fault_of_ours():
    for verb, code in (("version", 8), ("version --quiet --help", 0)):
        line = ["sh", "-c", f"{sys.executable} -m wherry_cli {verb} >&- 2>&-"]
        assert subprocess.run(line, env=ENVIRON, check=False).returncode == code
