"""UnixFS over real sockets, by the command line in processes of its own: got, read, compared, and given on."""

from __future__ import annotations

import json
import random
import signal
from contextlib import contextmanager

import pytest
from unixfs_dags import Dag

from wherry.block import Block
from wherry.store.store import Store

pytestmark = pytest.mark.integration

BIG = random.Random(1).randbytes(9 << 20)
FILES = {"big": BIG, "inner/small": b"small", "inner/old": BIG[:700_000]}


def tree(dag):
    pieces = [BIG[at : at + (1 << 20)] for at in range(0, len(BIG), 1 << 20)]
    old = Dag(0)
    leaves = [old.leaf(BIG[at : min(at + (256 << 10), 700_000)]) for at in range(0, 700_000, 256 << 10)]
    inner = [("old", old.file(leaves)), ("small", dag.raw(b"small"))]
    link = dag.directory([("big", dag.file([dag.raw(piece) for piece in pieces])), ("inner", dag.directory(inner))])
    dag.blocks |= old.blocks
    return link


@pytest.fixture
def serving(start):
    @contextmanager
    def served(home, *words):
        process = start("serve", "--home", home, "--listen", f"{words[0]}://127.0.0.1:0", "--json")
        yield process.said()["listen"][0]
        process.stop(signal.SIGTERM)

    return served


def test_a_tree_is_got_read_compared_and_given_on(wherry, serving, tmp_path):
    dag = Dag()
    what = str(tree(dag)[0].to_base("base36"))
    home, mine, third = (tmp_path / name for name in ("home", "mine", "third"))
    home.mkdir()
    store = Store(home, None)
    store.nodes.put_many([Block(cid, data) for cid, data in dag.blocks.items()])
    store.close()
    copy = tmp_path / "copy"
    with serving(home, "http") as address:
        wherry("get", what, "-o", copy, "--from", address, "--home", mine)
        assert {str(file.relative_to(copy)): file.read_bytes() for file in copy.rglob("*") if file.is_file()} == FILES
        some = wherry("cat", f"/ipfs/{what}/big", "--offset", "3MiB", "--length", "70", "--from", address, "--home", third)
        assert some.stdout == BIG[3 << 20 : (3 << 20) + 70]
        listed = json.loads(wherry("ls", f"{what}/inner", "--json", "--from", address, "--home", third).stdout)
        assert [(entry["name"], entry["size"]) for entry in listed["entries"]] == [("old", 700_000), ("small", 5)]
    assert json.loads(wherry("verify", what, copy, "--json", "--home", mine).stdout)["ok"]
    with serving(mine, "tcp") as address:
        wherry("get", f"{what}/inner", "-o", tmp_path / "inner", "--from", address, "--home", third)
    assert (tmp_path / "inner" / "old").read_bytes() == FILES["inner/old"]
    (copy / "big").write_bytes(BIG[:-1] + b"?")
    said = json.loads(wherry("verify", what, copy, "--json", "--home", mine, code=11).stdout)
    assert [difference["path"] for difference in said["differences"]] == ["big"]
