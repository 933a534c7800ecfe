"""A get where file names are not in UTF-8: what cannot be written is said, with what to do."""

from __future__ import annotations

import os
import subprocess

import pytest
from processes import WHERRY

from wherry.session import Session

POSIX = {"LC_ALL": "POSIX", "LANG": "", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
pytestmark = pytest.mark.uncounted


def got(tmp_path, what, output, **more):
    line = [*WHERRY, "--home", str(tmp_path / "home"), "get", what, "-o", str(output), "--links", "keep"]
    environ = {**os.environ, **POSIX, **more}
    return subprocess.run(line, capture_output=True, check=False, timeout=50, env=environ)


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
async def test_a_name_that_cannot_be_written_is_said(tmp_path, kind):
    data = tmp_path / "data"
    data.mkdir()
    (data / "plain").write_bytes(b"x")
    if kind == "file":
        (data / "zoë.txt").write_bytes(b"y")
    elif kind == "folder":
        (data / "zoë.txt").mkdir()
    else:
        (data / "zlink").symlink_to("zoë.txt")
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        cid = (await session.add(str(data))).cid
    done = got(tmp_path, cid, tmp_path / "out")
    said = done.stderr.decode()
    name = "zlink" if kind == "link" else r"zo\xeb.txt"
    assert f"'{name}' cannot be written: the encoding of file names is ascii here" in said
    assert "set LANG=C.UTF-8, or PYTHONUTF8=1" in said
    assert done.returncode == 9
    assert not (tmp_path / "out").exists()
    assert got(tmp_path, cid, tmp_path / "out", PYTHONUTF8="1").returncode == 0  # as it says; and it goes on
    assert len(list((tmp_path / "out").iterdir())) == 2


async def test_a_path_of_this_machine_that_cannot_be_opened_is_no_fault_of_wherrys(tmp_path):
    data = tmp_path / "zoë"
    data.mkdir()
    (data / "plain").write_bytes(b"x" * 5000)
    async with Session.open(home=tmp_path / "home", environ={}) as session:
        cid = (await session.add(str(data))).cid
    done = got(tmp_path, cid, "null:")
    said = done.stderr.decode()
    assert "is no file name here, where their encoding is ascii" in said
    assert "set LANG=C.UTF-8, or PYTHONUTF8=1" in said
    assert "fault in wherry" not in said
    assert done.returncode == 8
