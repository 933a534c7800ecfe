"""What a user is told who made a slip: what failed, on what, and what to do next."""

from __future__ import annotations

import pytest
from torrents import CONTENTS

from wherry.car import header, section_head
from wherry.cid import DAG_PB, RAW
from wherry.publiccid import PublicCID
from wherry.torrent.bencode import encode
from wherry_cli.app import run

NAME = "k51qzi5uqu5dlvj2baxnqndepeb86cbk3ng7n3i46uzyxzyqj2xjonzllnv0v8"
HELLO = "bafkqabtimvwgy3yk"
NOBODYS = str(PublicCID.of(RAW, b"nobody has it"))
GOOD = PublicCID.of(RAW, b"good")


@pytest.fixture
def told(tmp_path, capsys, monkeypatch):
    """Runs a line in a folder of its own; gives the exit code, the message and the hint."""
    monkeypatch.chdir(tmp_path)

    def line(*argv):
        code = run(["--home", str(tmp_path / "home"), "--progress", "none", *argv])
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 2, said
        return code, said[0].removeprefix("error: "), said[1].removeprefix("  hint: ")

    return line


def test_a_torrent_that_is_not_taken_is_named(told, tmp_path):
    (tmp_path / "cut.torrent").write_bytes(CONTENTS["hybrid"][0][:200])
    code, said, hint = told("get", "cut.torrent")
    assert code == 5
    assert said.startswith("'cut.torrent': bencoding: ")
    assert ", at byte " in said
    assert "Get that file again" in hint
    files = [{b"length": 1, b"path": [b"..", b"x"]}]
    info = {b"files": files, b"name": b"tree", b"piece length": 1 << 16, b"pieces": b"p" * 20}
    (tmp_path / "hostile.torrent").write_bytes(encode({b"info": info}))
    code, said, hint = told("get", "hostile.torrent")
    assert (code, said) == (5, "'hostile.torrent': name '..' is not a file name")
    assert "get the data from somebody else" in hint
    info[b"files"] = [{b"length": 1, b"path": [b"\xff"]}]
    (tmp_path / "odd.torrent").write_bytes(encode({b"info": info}))
    code, said, hint = told("get", "odd.torrent")
    assert said.startswith("'odd.torrent': ")
    assert "get the data from somebody else" in hint


def test_an_import_says_where_else_to_look(told, tmp_path):
    (tmp_path / "flip.car").write_bytes(header([GOOD]) + section_head(GOOD, 4) + b"evil")
    code, said, hint = told("import", "flip.car")
    assert code == 5
    assert "'flip.car'" in said
    assert "get it again" in hint
    (tmp_path / "tree").mkdir()
    assert told("import", "tree") == (
        8, "'tree' is a directory, and no CAR", "name a file; `wherry add` takes directories"
    )  # fmt: skip
    assert told("dag", "put", "tree")[::2] == (8, "that is a directory: name a file")


def test_a_value_that_is_none_is_looked_for_in_its_file(told, tmp_path):
    (tmp_path / "bad.json").write_bytes(b'{"a":')
    code, said, hint = told("dag", "put", "bad.json")
    assert (code, said) == (5, "'bad.json': DAG-JSON: a missing value at character 5")
    assert hint == "dag-json is read there, unless --input-codec says otherwise"


def test_what_is_not_here_is_exported_from_where_it_is(told, tmp_path, capsys):
    code, said, hint = told("export", NOBODYS, "--car", "f")
    assert (code, said) == (6, f"block {NOBODYS} is not here")
    assert "--from ADDRESS" in hint
    code, _, hint = told("export", NOBODYS, "--torrent", "f")  # which takes no --from
    assert code == 7
    assert hint.startswith(f"`wherry get {NOBODYS}` first")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "a").write_bytes(b"a")
    assert run(["--home", str(tmp_path / "home"), "add", "-q", "tree"]) == 0
    roots = [line for line in capsys.readouterr().out.split() if PublicCID.parse(line).codec == DAG_PB]
    for root in roots:
        code, said, hint = told("export", f"{root}/nope", "--car", "f")
        assert (code, said) == (6, f"no 'nope' in the directory {root}")
        assert hint == "`wherry ls` shows what there is"


def test_what_a_file_or_an_open_dataset_has_not_is_said_with_what_to_do(told, tmp_path, capsys):
    (tmp_path / "f").write_bytes(b"abc")
    assert run(["--home", str(tmp_path / "home"), "add", "-q", "f"]) == 0
    for cid in capsys.readouterr().out.split():
        code, said, hint = told("cat", cid, "--offset", "4")
        assert (code, said, hint) == (6, "the file has 3 bytes, none at 4", "give an --offset of at most 3")
        code, said, hint = told("ls", f"{cid}/x")
        assert (code, hint) == (6, "`wherry stat` tells what it is")
        assert "is no directory, so it has no 'x' in it" in said
    assert run(["--home", str(tmp_path / "home"), "keys", "new", "me"]) == 0
    capsys.readouterr()
    code, said, hint = told("grant", cid, "--to", "me")
    assert (code, hint) == (2, "`wherry add --encrypt KEY` makes a dataset that is")


@pytest.mark.parametrize(
    ("argv", "option"),
    [
        (["name", "follow", NAME, "--every", "0s"], "--every"),
        (["name", "publish", HELLO, "--lifetime", "0s"], "--lifetime"),
        (["name", "publish", HELLO, "--lifetime", "1h", "--ttl", "2h"], "--ttl"),
    ],
)
def test_an_option_that_is_wrong_is_named(told, argv, option):
    code, said, hint = told(*argv)
    assert code == 2
    assert said.startswith(option)
    assert "--" in hint


def test_a_value_that_is_too_long_is_not_measured_by_what_was_read_of_it(told, tmp_path):
    (tmp_path / "f").write_bytes(b'"' + b"x" * (3 << 20) + b'"')
    code, said, hint = told("dag", "put", "f")
    assert (code, said) == (5, "'f': more than 2.0 MiB, which is the most that a block has")
    assert "several blocks" in hint


def test_a_chunker_that_was_said_is_no_fault_of_the_configuration(told, tmp_path):
    (tmp_path / "f").write_bytes(b"f")
    code, said, hint = told("add", "f", "--chunker", "fixed:8MiB")
    assert (code, said) == (2, "chunker 'fixed:8MiB': fixed.size is '8MiB'")
    assert hint == "expected one of 1MiB, 2MiB, 4MiB"  # as one writes them there
    (tmp_path / "home" / "wherry.toml").write_text('[chunker.fixed]\nsize = "8MiB"\n')
    assert run(["--home", str(tmp_path / "home"), "add", "f"]) == 3


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        (f"http://127.0.0.1:4301/ipfs/{HELLO}", f"`wherry get {HELLO} --from http://127.0.0.1:4301`"),
        (f"HTTP://127.0.0.1:4301/ipfs/{HELLO}/?format=car", f"`wherry get {HELLO} --from http://127.0.0.1:4301`"),
        (f"https://gw.example/ipfs/{HELLO}/a%20b", f"`wherry get '{HELLO}/a b' --from https://gw.example:443`"),
        (f"http://[::1]:80/ipns/{NAME}", f"`wherry get {NAME} --from http://[::1]:80`"),
        ("http://h:1/ipfs/", "a CID looks like"),
        ("http://h:1", "a CID looks like"),
        ("http://[h/ipfs/x", "a CID looks like"),
        ("https://h:99999/ipfs/x", "a CID looks like"),
    ],
)
@pytest.mark.parametrize("verb", ["get", "cat"])
def test_the_url_of_a_gateway_is_taken_apart(told, verb, url, hint):
    code, said, told_hint = told(verb, url)
    assert code == 5
    assert said.startswith(f"'{url[:50]}")
    assert said.endswith(" is a URL, and no CID")
    assert hint in told_hint
