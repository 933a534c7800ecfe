"""`wherry import` and `wherry export`: real processes, and CARs that others wrote (specs/0032)."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from wherry import dagcbor
from wherry.car import CarReader, header, section_head
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.publiccid import PublicCID
from wherry_cli.demo import compare

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.fixture
def wherry(tmp_path):
    """Runs a verb; gives the process."""

    def run(*words, home="home", data=None):
        line = [sys.executable, "-m", "wherry_cli", "--home", str(tmp_path / home), *map(str, words)]
        return subprocess.run(line, input=data, capture_output=True, check=False, timeout=100)

    return run


@pytest.fixture
def added(tmp_path, wherry):
    """A tree, and what `add` said of it."""
    tree = tmp_path / "tree"
    (tree / "sub").mkdir(parents=True)
    (tree / "large").write_bytes(os.urandom(3 << 20))
    (tree / "sub" / "small").write_bytes(b"small")
    (tree / "empty").touch()
    return tree, json.loads(wherry("add", tree, "--json").stdout)


@pytest.mark.parametrize("key", ["cid", "unixfs_cid"])
def test_what_is_exported_is_imported_elsewhere_and_got_there(tmp_path, wherry, added, key):
    tree, said = added
    wrote = wherry("export", said[key], "--car", tmp_path / "x.car", "--json")
    assert wrote.returncode == 0, wrote.stderr
    assert json.loads(wrote.stdout)["bytes"] == (tmp_path / "x.car").stat().st_size
    took = wherry("import", tmp_path / "x.car", "--json", home="other")
    found = json.loads(took.stdout)
    assert found["roots"] == [{"cid": said[key], "complete": True, "missing": None, "malformed": False, "unsupported": False}]
    assert found["blocks"] == json.loads(wrote.stdout)["blocks"]
    assert found["new_blocks"] == found["blocks"] - 1  # everybody has the empty leaf
    got = wherry("get", said[key], "-o", tmp_path / "copy", home="other")
    assert got.returncode == 0, got.stderr
    assert list(compare(tree, tmp_path / "copy")) == []
    again = json.loads(wherry("import", tmp_path / "x.car", "--json", home="other").stdout)
    assert (again["new_blocks"], again["stored_bytes"]) == (0, 0)
    assert wherry("doctor", home="other").returncode == 0


@pytest.mark.parametrize("key", ["cid", "unixfs_cid"])
def test_a_car_restores_what_was_lost(tmp_path, wherry, added, key):
    tree, said = added
    wherry("export", said[key], "--car", tmp_path / "x.car")
    tree.rename(tmp_path / "moved")  # the home still knows where its leaves were
    lost = json.loads(wherry("import", "-", "--json", data=_root_alone(tmp_path / "x.car")).stdout)
    assert not lost["roots"][0]["complete"]
    assert "not here any more" in lost["roots"][0]["missing"]
    took = wherry("import", tmp_path / "x.car", "--json")
    assert took.returncode == 0, took.stderr
    found = json.loads(took.stdout)
    assert found["roots"][0]["complete"]
    assert found["stored_bytes"] >= 3 << 20
    got = wherry("get", said[key], "-o", tmp_path / "copy")
    assert got.returncode == 0, got.stderr
    assert list(compare(tmp_path / "moved", tmp_path / "copy")) == []
    assert wherry("doctor").returncode == 0
    again = json.loads(wherry("import", tmp_path / "x.car", "--json").stdout)
    assert again["new_blocks"] == 0


def _root_alone(path):
    """A CAR of which only the header and the first block are left."""
    with path.open("rb") as file:
        reader = CarReader(file.read)
        cid, data = next(iter(reader))
    return header(reader.roots) + section_head(cid, len(data)) + data


def test_streams_and_a_path_of_which_the_proof_is_there(wherry, added):
    _, said = added
    out = wherry("export", f"{said['unixfs_cid']}/sub/small", "--car", "-", "--scope", "entity")
    assert out.returncode == 0, out.stderr
    blocks = list(CarReader(io.BytesIO(out.stdout).read))
    assert str(blocks[0][0]) == said["unixfs_cid"]
    assert blocks[-1][1] == b"small"
    took = wherry("import", "-", "--json", data=out.stdout, home="other")
    assert took.returncode == 6  # the rest of the tree is missing
    assert json.loads(took.stdout)["roots"][0]["complete"] is False


def test_several_files_give_one_object(tmp_path, wherry, added):
    _, said = added
    one, two, bad = (tmp_path / name for name in ("one.car", "two.car", "bad.car"))
    wherry("export", said["cid"], "--car", one)
    wherry("export", said["unixfs_cid"], "--car", two)
    bad.write_bytes(b"not a car at all")
    took = wherry("import", one, two, "--json", home="other")
    assert took.returncode == 0, took.stderr
    found = json.loads(took.stdout)
    assert found["schema"] == "wherry/imports/1"
    assert [each["path"] for each in found["imports"]] == [str(one), str(two)]
    assert [each["roots"][0]["cid"] for each in found["imports"]] == [said["cid"], said["unixfs_cid"]]
    assert not any("schema" in each for each in found["imports"])
    stopped = wherry("import", one, bad, two, "--json", home="third")
    assert stopped.returncode == 5
    assert [each["path"] for each in json.loads(stopped.stdout)["imports"]] == [str(one)]  # what is kept is said
    assert json.loads(stopped.stderr)["exit_code"] == 5
    nothing = wherry("import", bad, one, "--json", home="fourth")
    assert (nothing.returncode, nothing.stdout) == (5, b"")


def test_a_file_that_is_there_is_not_replaced_unasked(tmp_path, wherry, added):
    _, said = added
    (tmp_path / "x.car").write_bytes(b"mine")
    assert wherry("export", said["cid"], "--car", tmp_path / "x.car").returncode == 9
    assert (tmp_path / "x.car").read_bytes() == b"mine"
    assert wherry("export", said["cid"], "--car", tmp_path / "x.car", "--force").returncode == 0
    assert [path.name for path in tmp_path.glob("*.car*")] == ["x.car"]


def test_what_is_not_here_cannot_be_exported(tmp_path, wherry):
    done = wherry("export", PublicCID.of(0x70, b"nobody has it"), "--car", tmp_path / "x.car")
    assert done.returncode == 6
    assert not list(tmp_path.glob("*.car*"))
    assert wherry("export", "nonsense", "--car", tmp_path / "x.car").returncode == 5
    assert wherry("import", tmp_path / "none.car").returncode == 6


@pytest.mark.parametrize("bad", [b"", b"not a car at all", header([]) + b"\x80"])
def test_what_is_no_car_is_an_error_of_data(wherry, bad):
    done = wherry("import", "-", data=bad)
    assert done.returncode == 5
    assert b"standard input" in done.stderr
    assert b"Traceback" not in done.stderr


def test_a_wrong_block_is_not_kept(wherry):
    good, wrong = PublicCID.of(RAW, b"good"), PublicCID.of(RAW, b"right")
    data = header([wrong]) + section_head(good, 4) + b"good" + section_head(wrong, 5) + b"wrong"
    done = wherry("import", "-", data=data)
    assert done.returncode == 5
    assert wherry("cat", wrong).returncode != 0


def test_the_rest_can_come_later(wherry, added):
    _, said = added
    whole = wherry("export", said["unixfs_cid"], "--car", "-").stdout
    blocks = list(CarReader(io.BytesIO(whole).read))
    half = len(blocks) // 2
    root = [PublicCID.parse(said["unixfs_cid"])]
    first, second = (
        header(root) + b"".join(section_head(cid, len(data)) + data for cid, data in part)
        for part in (blocks[:half], blocks[half:])
    )
    assert wherry("import", "-", data=first, home="other").returncode == 6
    assert wherry("import", "-", data=second, home="other").returncode == 0


def test_a_run_that_is_killed_has_acknowledged_nothing(tmp_path, wherry, added):
    _, said = added
    whole = wherry("export", said["cid"], "--car", "-").stdout
    line = [sys.executable, "-m", "wherry_cli", "--home", str(tmp_path / "other"), "import", "-"]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process.stdin.write(whole[:-1000])
    process.stdin.flush()
    process.kill()
    process.wait()
    process.stdin.close()
    assert wherry("stat", said["cid"], home="other").returncode != 0
    assert wherry("import", "-", data=whole, home="other").returncode == 0


def test_a_stream_that_stands_still_can_be_left(tmp_path, wherry, added):
    """Whoever writes into the pipe may never write again; what came is kept."""
    _, said = added
    whole = wherry("export", said["cid"], "--car", "-").stdout
    line = [sys.executable, "-m", "wherry_cli", "--progress", "json", "--home", str(tmp_path / "other"), "import", "-"]
    process = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    process.stdin.write(whole[:-1000])
    process.stdin.flush()
    process.stderr.readline()  # it reads
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 130
    process.stdin.close()
    process.stderr.close()
    assert wherry("import", "-", data=whole, home="other").returncode == 0


def test_a_root_that_is_malformed_is_said_to_be(wherry, tmp_path):
    data = b"\x0a\x03\x08\x01"  # dag-pb that ends within its data
    root = PublicCID(CID.of(DAG_PB, data))
    car = tmp_path / "malformed.car"
    car.write_bytes(header([root]) + section_head(root, len(data)) + data)
    done = wherry("import", car)
    assert done.returncode == 5
    assert f"{root}  malformed: " in done.stdout.decode()
    assert "a block below is malformed" in done.stderr.decode()
    found = json.loads(wherry("import", car, "--json").stdout)
    assert [(one["complete"], one["malformed"]) for one in found["roots"]] == [(False, True)]


def test_a_root_of_a_hash_that_is_not_kept_is_said_to_be(wherry, tmp_path):
    data = b"leaf"
    leaf = PublicCID.make(1, RAW, 0x13, hashlib.sha512(data).digest())
    above = dagcbor.encode([leaf])
    root = PublicCID.of(DAG_CBOR, above)
    car = tmp_path / "sha512.car"
    blocks = [(root, above), (leaf, data)]
    car.write_bytes(header([root, leaf]) + b"".join(section_head(cid, len(block)) + block for cid, block in blocks))
    done = wherry("import", car)
    assert done.returncode == 5
    said, wrong = done.stdout.decode(), done.stderr.decode()
    assert [f"{one}  unsupported: " in said for one in (root, leaf)] == [True, True]
    assert "2 roots cannot be used" in wrong
    assert "hint: add the data again with sha2-256" in wrong
    assert wrong.count(str(leaf)) == 1  # what was left out
    found = json.loads(wherry("import", car, "--json").stdout)
    assert [(one["complete"], one["malformed"], one["unsupported"]) for one in found["roots"]] == [(False, False, True)] * 2
    assert [one.count(str(leaf)) for one in found["skipped"]] == [1]
    out = wherry("export", leaf, "--car", "-")  # as with `get`, no source is asked for: none could help
    assert (out.returncode, out.stdout) == (5, b"")
    for what in (root, f"{root}/0"):  # nor of one that lies deeper
        out = wherry("export", what, "--car", tmp_path / "out.car")
        said = out.stderr.decode()
        assert (out.returncode, said.count(str(leaf))) == (5, 1)
        assert "its hash is sha2-512" in said
        assert "hint: add the data again with sha2-256" in said
        assert not (tmp_path / "out.car").exists()


def test_what_is_not_here_is_said_before_a_byte_is_written(wherry):
    absent = PublicCID.of(RAW, b"nobody has it")
    value = json.dumps({"to": {"/": str(absent)}}).encode()
    above = wherry("dag", "put", "-", data=value).stdout.decode().strip()
    for what, code in ((str(absent), 6), (f"{above}/to", 6), (f"{above}/from", 6)):
        out = wherry("export", what, "--car", "-")
        assert (out.returncode, out.stdout) == (code, b"")


def test_what_a_source_lacks_is_said_before_a_byte_is_written(wherry, tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        absent = PublicCID.of(RAW, b"nobody has it")
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "wherry.toml").write_text('[get]\nwait = "1s"\n')
        out = wherry("export", absent, "--car", "-", "--from", f"http://127.0.0.1:{nobody.getsockname()[1]}")
    assert out.returncode == 7
    assert out.stdout == b""


def test_a_root_that_its_name_holds_gives_a_car_without_blocks(wherry):
    root = PublicCID.inlined(RAW, b"held")
    out = wherry("export", root, "--car", "-")
    assert out.returncode == 0, out.stderr
    reader = CarReader(io.BytesIO(out.stdout).read)
    assert (reader.roots, list(reader)) == ([root], [])


def test_cars_that_others_wrote(wherry):
    folder = os.environ.get("WHERRY_FIXTURES")
    if not folder:
        pytest.skip("WHERRY_FIXTURES does not say where the public fixtures are")
    for path in sorted(Path(folder).glob("*.car")):
        done = wherry("import", path, "--json")
        found = json.loads(done.stdout)
        assert all(root["complete"] for root in found["roots"]) is ("missing-block" not in path.name)
        for root in found["roots"]:
            if root["complete"]:
                out = wherry("export", root["cid"], "--car", "-")
                with path.open("rb") as file:
                    theirs = {cid.multihash for cid, _ in CarReader(file.read)}
                ours = {cid.multihash for cid, _ in CarReader(io.BytesIO(out.stdout).read)}
                assert ours <= theirs
                assert ours
