"""`wherry store`: sums and duplicates, for people, programs and scripts."""

from __future__ import annotations

import json
import random
import shutil
import time

import pytest

from wherry.transfer.reader import RACY_NS
from wherry_cli.app import run
from wherry_cli.invocation import Invocation


@pytest.fixture
def store(tmp_path, capsys):
    """Runs `wherry store` on a home of the test's own; gives what it prints."""

    def line(*words, add=None):
        if add is not None:
            assert run(["add", "-q", str(add), "--home", str(tmp_path / "home")], Invocation(environ={})) == 0
        capsys.readouterr()
        assert run(["store", *words, "--home", str(tmp_path / "home")], Invocation(environ={})) == 0
        return capsys.readouterr().out

    return line


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    chance = random.Random(1)
    same, front = chance.randbytes(3000), chance.randbytes(1 << 20)
    (folder / "a\x1b[31m").write_bytes(same)
    (folder / "b").write_bytes(same)
    (folder / "c").write_bytes(same)
    (folder / "long").write_bytes(front + b"1")
    (folder / "longer").write_bytes(front + b"22")
    young = max(path.stat().st_ctime_ns for path in folder.iterdir()) + RACY_NS
    while time.time_ns() <= young:  # before that a file is read, and not believed to stay as it is
        time.sleep(0.001)
    return folder


def test_an_empty_home(store):
    assert json.loads(store("dups", "--json")) == {"schema": "wherry/store-dups/1", "equal": [], "shared": []}
    assert store("dups") == ""
    assert "saved 0.0%" in store("stat")
    assert store("stat", "-q") == "0\n"


def test_people_see_groups_and_pairs_with_names_made_harmless(store, data):
    text = store("dups", add=data)
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].startswith("3 x 2.9 KiB  bafk")
    assert [line.rsplit("/", 1)[1] for line in lines[1:4]] == ["a\\x1b[31m", "b", "c"]
    assert lines[4] == "1.0 MiB in 1 leaf of both"
    assert [line.rsplit("/", 1)[1] for line in lines[5:]] == ["long", "longer"]
    assert "1.0 MiB in 1" in store("dups", "--min-bytes", "1MiB")
    assert "3 x" not in store("dups", "--min-bytes", "1MiB")
    assert [line.rsplit("/", 1)[1] for line in store("dups", "-q").splitlines()] == ["b", "c"]


def test_programs_get_one_object(store, data):
    found = json.loads(store("dups", "--json", add=data))
    [equal], [shared] = found["equal"], found["shared"]
    assert (equal["copies"], equal["bytes"], len(equal["paths"])) == (3, 3000, 3)
    assert (shared["bytes"], shared["leaves"]) == (1 << 20, 1)
    found = json.loads(store("dups", "--json", "--min-bytes", "4KiB"))
    assert (found["equal"], len(found["shared"])) == ([], 1)


def test_the_sums(store, data):
    found = json.loads(store("stat", "--json", add=data))
    assert (found["schema"], found["files"]) == ("wherry/store-stat/1", 5)
    assert found["bytes"] == 9000 + 2 * (1 << 20) + 3
    assert found["unique_bytes"] == 3000 + (1 << 20) + 3
    assert [cut["cut"] for cut in found["cuts"]] == ["fixed:1MiB"]
    assert store("stat", "-q") == f"{found['unique_bytes']}\n"
    assert "fixed:1MiB: 2.0 MiB in 5 files, 1.0 MiB unique" in store("stat")


def test_a_cache_that_cannot_be_opened_is_said_beside_the_rest(store, data, tmp_path):
    store("stat", add=data)
    shutil.rmtree(tmp_path / "home" / "cache")
    (tmp_path / "home" / "cache").write_bytes(b"in its place")  # as on a full disk, it cannot be made
    found = json.loads(store("stat", "--json"))
    assert (found["files"], found["cache_blocks"], found["cache_bytes"]) == (5, 0, 0)
    assert str(tmp_path / "home" / "cache") in found["cache_problem"]
    said = store("stat")
    assert "in 5 files" in said
    assert f"cache    cannot be opened: {found['cache_problem']}\n" in said
