"""`wherry dag` and `wherry export --from`: values, paths through every codec, blocks that come from a source (specs/0038)."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from getting import MIB, A, Slow, write
from unixfs_dags import Dag, offered

from wherry import dagcbor, dagjson, ipld
from wherry.block import Block
from wherry.car import CarReader, verified
from wherry.cid import DAG_CBOR, DAG_PB, RAW
from wherry.dag_results import DagLink, DagNode, DagPut, DagStat
from wherry.errors import (
    BlockNotFound,
    DataError,
    DecodeError,
    IntegrityError,
    LimitExceeded,
    NoSource,
    NotFound,
    TargetExists,
    UsageError,
    WherryError,
)
from wherry.ipld import DAG_JSON
from wherry.publiccid import PublicCID
from wherry_cli.app import run
from wherry_cli.invocation import Invocation

FOLDER = os.environ.get("WHERRY_FIXTURES", "")
WITH_CBOR = "bafybeia264q44a3kmfc2otctzu4egp2k235o3t7mslz2yjraymp4nv6asi"


def put(dag, codec, value):
    """Keeps a block; gives its public CID."""
    data = ipld.write(codec, value)
    cid = PublicCID.of(codec, data)
    dag.blocks[cid.block()] = data
    return cid


@pytest.fixture
def dag():
    """root (dag-cbor) -> middle (dag-json) -> directory (dag-pb) -> file (raw) and last (dag-cbor)."""
    made = Dag()
    last = put(made, DAG_CBOR, {"end": [1, 2.5, b"bytes"]})
    file = made.raw(b"plain")
    directory = made.directory([("Links", file), ("file", file), ("last", (last, 0, None))])
    middle = put(
        made, DAG_JSON, {"list": [0, directory[0]], "inline": PublicCID.inlined(DAG_CBOR, dagcbor.encode({"in": "it"}))}
    )
    root = put(made, DAG_CBOR, {"a": {"b": middle}, "twice": [middle, middle], "n": None})
    made.root_cid, made.middle, made.directory_cid, made.last = root, middle, directory[0], last
    return made


@asynccontextmanager
async def far(world, dag):
    """A home that has nothing, and one that has the blocks of ``dag``."""
    async with offered(world, dag), world.node() as session:
        yield session


async def value(session, what, **options):
    return dagjson.decode((await session.dag_get(what, sources=[A], **options)).data, canonical=True)


async def test_a_path_goes_through_every_codec(world, dag):
    async with far(world, dag) as session:
        root = str(dag.root_cid)
        assert await value(session, root) == dagcbor.decode_public(dag.blocks[dag.root_cid.block()])
        assert await value(session, f"{root}/n") is None
        assert await value(session, f"{root}/a/b/list/0") == 0
        assert await value(session, f"{root}/a/b/list/1/file") == b"plain"
        assert await value(session, f"{root}/a/b/list/1/last/end") == [1, 2.5, b"bytes"]
        assert await value(session, f"{root}/a/b/inline/in") == "it"
        assert await value(session, f"/ipfs/{root}/twice/1/list/1/last/end/1/") == 2.5
        found = await session.dag_get(f"{root}/a/b/list/1/last/end/2", codec="raw", sources=[A])
        assert found == DagNode(cid=str(dag.last), codec="dag-cbor", rest="end/2", data=b"bytes")


async def test_a_name_in_a_directory_goes_before_the_logical_form(world, dag):
    async with far(world, dag) as session:
        assert await value(session, f"{dag.directory_cid}/Links") == b"plain"
        assert await value(session, f"{dag.directory_cid}/Data") == b"\x08\x01"
        form = await value(session, str(dag.directory_cid))
        assert [link["Name"] for link in form["Links"]] == ["Links", "file", "last"]
        plain = dag.directory([("only", dag.raw(b"x"))])[0]
        session._store.nodes.put_many([Block(cid, dag.blocks[cid]) for cid in (plain.block(), PublicCID.of(RAW, b"x").block())])
        assert await value(session, f"{plain}/Links/0/Name") == "only"
        assert await value(session, f"{plain}/Links/0/Hash") == b"x"


async def test_what_is_read_is_the_block_or_the_value_by_a_codec(world, dag):
    async with far(world, dag) as session:
        for cid in (dag.root_cid, dag.middle, dag.directory_cid, PublicCID.of(RAW, b"plain")):
            block = await session.dag_get(str(cid), codec="raw", sources=[A])
            assert (block.data, block.codec, block.rest) == (dag.blocks[cid.block()], cid.codec_name, "")
        cbor = await session.dag_get(f"{dag.root_cid}/a/b", codec="dag-cbor", sources=[A])
        assert dagcbor.decode_public(cbor.data) == dagjson.decode(dag.blocks[dag.middle.block()])
        with pytest.raises(DataError, match="only bytes"):
            await session.dag_get(f"{dag.last}/end", codec="raw", sources=[A])
        with pytest.raises(UsageError, match="no output codec"):
            await session.dag_get(str(dag.last), codec="dag-pb", sources=[A])


@pytest.mark.parametrize(
    ("path", "problem"),
    [("x", NotFound), ("a/b/list/2", NotFound), ("a/b/list/1/absent", NotFound), ("n/x", NotFound),
     ("a/b/list/1/file/x", NotFound), ("/".join("x" * 129), LimitExceeded)],
)  # fmt: skip
async def test_a_path_that_leads_nowhere_is_said(world, dag, path, problem):
    async with far(world, dag) as session:
        with pytest.raises(problem):
            await session.dag_get(f"{dag.root_cid}/{path}", sources=[A])


async def test_what_nobody_has_and_what_is_malformed_is_said(world, dag):
    absent, broken, other = PublicCID.of(DAG_CBOR, b"\x80"), b"{not json", PublicCID.of(0x78, b"git")
    cid = PublicCID.of(DAG_JSON, broken)
    dag.blocks |= {cid.block(): broken, other.block(): b"git"}
    async with far(world, dag) as session:
        with pytest.raises(WherryError) as caught:
            await session.dag_get(str(absent), sources=[A])
        assert isinstance(caught.value, BlockNotFound | NoSource)
        with pytest.raises(DecodeError, match="DAG-JSON"):
            await session.dag_get(str(cid), sources=[A])
        with pytest.raises(DecodeError, match="git-raw"):
            await session.dag_get(str(other), sources=[A])
        assert (await session.dag_get(str(other), codec="raw", sources=[A])).data == b"git"
        with pytest.raises(NoSource):
            await session.dag_get(str(dag.root_cid))


async def test_a_lie_of_a_source_is_noticed(world, dag):
    dag.blocks[dag.last.block()] = b"\x81\x00"
    async with offered(world, dag), world.node() as session:
        with pytest.raises((IntegrityError, NoSource, BlockNotFound)):
            await session.dag_get(str(dag.last), sources=[A])


async def test_links_are_listed(world, dag):
    async with far(world, dag) as session:
        found = await session.dag_ls(str(dag.root_cid), sources=[A])
        middle = str(dag.middle)
        assert [(link.path, link.cid) for link in found] == [("a/b", middle), ("twice/0", middle), ("twice/1", middle)]
        assert [link.path for link in await session.dag_ls(f"{dag.root_cid}/twice", sources=[A])] == [middle and "0", "1"]
        assert [(link.name, link.size) for link in await session.dag_ls(str(dag.directory_cid), sources=[A])] == [
            ("Links", 5), ("file", 5), ("last", None),
        ]  # fmt: skip
        assert await session.dag_ls(f"{dag.directory_cid}/file", sources=[A]) == []


async def test_a_dag_is_counted(world, dag):
    async with far(world, dag) as session:
        found = await session.dag_stat(str(dag.root_cid), sources=[A])
        assert (found.blocks, found.total_bytes, found.links) == (5, sum(map(len, dag.blocks.values())), 3)
        assert found.bytes == len(dag.blocks[dag.root_cid.block()])
        leaf = await session.dag_stat(f"{dag.directory_cid}/file", sources=[A])
        assert (leaf.codec, leaf.bytes, leaf.links, leaf.blocks, leaf.total_bytes) == ("raw", 5, 0, 1, 5)
        inside = await session.dag_stat(f"{dag.last}/end", sources=[A])
        assert (inside.rest, inside.blocks) == ("end", 1)


async def test_what_is_put_is_kept_in_the_canonical_form_and_served(world, dag):
    text = b'{ "b": {"/": {"bytes": "AAE"}}, "a": [1, 1.0, {"/": "%s"}] }' % str(dag.last).encode()
    async with world.node() as session:
        cbor = await session.dag_put(text)
        again = await session.dag_put(text, store="dag-json")
        assert (cbor.codec, cbor.new, again.codec, again.new) == ("dag-cbor", True, "dag-json", True)
        assert not (await session.dag_put(text)).new
        one = await session.dag_get(cbor.cid)
        two = await session.dag_get(again.cid)
        assert one.data == two.data == b'{"a":[1,1.0,{"/":"%s"}],"b":{"/":{"bytes":"AAE"}}}' % str(dag.last).encode()
        raw = await session.dag_put(b"\x00\xff", codec="raw", store="raw")
        assert (await session.dag_get(raw.cid, codec="raw")).data == b"\x00\xff"
        node = dag.blocks[dag.directory_cid.block()]
        assert (await session.dag_put(node, codec="dag-pb", store="dag-pb")).cid == str(dag.directory_cid)
    async with world.node() as session:  # it is on disk
        assert (await session.dag_get(cbor.cid)).data == one.data


@pytest.mark.parametrize(
    ("data", "options", "problem"),
    [(b"{", {}, DecodeError), (b'{"a":1}', {"store": "dag-pb"}, DataError), (b"1", {"store": "raw"}, DataError),
     (b"1", {"store": "cbor"}, UsageError), (b"1", {"codec": "json"}, UsageError),
     (b"\xff", {"codec": "dag-cbor"}, DecodeError),
     (b'"' + b"a" * (2 << 20) + b'"', {}, LimitExceeded), (b"x" * (2 << 20), {"codec": "raw"}, DataError)],
)  # fmt: skip
async def test_what_cannot_be_put_is_said(world, data, options, problem):
    async with world.node() as session:
        with pytest.raises(problem):
            await session.dag_put(data, **options)


# The command line


@pytest.fixture
def line(home, capfdbinary, monkeypatch):
    """Runs a line; gives its exit code, standard output and standard error."""

    def go(*words, data=b""):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = run(["--home", str(home), *map(str, words)], Invocation(environ={}))
        return code, *capfdbinary.readouterr()

    return go


def test_the_command_line(line, tmp_path):
    (tmp_path / "value.json").write_bytes(b'{"x": {"/": "bafkqabiaaebagba"}, "y": [1, "\xc3\xa9"]}')
    code, out, _ = line("dag", "put", tmp_path / "value.json")
    cid = out.decode().strip()
    assert (code, cid[:7]) == (0, "bafyrei")
    canonical = b'{"x":{"/":"bafkqabiaaebagba"},"y":[1,"\xc3\xa9"]}'
    assert line("dag", "get", cid) == (0, canonical, b"")
    assert line("dag", "put", "-", data=canonical)[1].decode().strip() == cid
    found = json.loads(line("dag", "get", f"{cid}/y", "--json")[1])
    assert found == {"schema": "wherry/dag-get/1", "cid": cid, "codec": "dag-cbor", "rest": "y", "value": [1, "é"]}
    assert json.loads(line("dag", "ls", cid, "--json")[1])["links"][0]["path"] == "x"
    code, _, err = line("dag", "get", f"{cid}/z")
    assert (code, b"has no 'z' in it" in err) == (6, True)
    assert line("dag", "get", cid, "--json", "--output-codec", "raw")[0] == 2
    assert line("dag", "put", tmp_path / "absent")[0] == 6


def test_lines_of_what_is_printed(fake_session, go, capsys):
    links = [DagLink(path="Links/0/Hash", cid="bafy", name="a\x1bb", size=1234), DagLink(path="x", cid="bafk")]
    session = fake_session(dag_ls=links, dag_stat=DagStat(
        cid="c", codec="dag-cbor", rest="a", bytes=1, links=2, blocks=3, total_bytes=4000
    ), dag_put=DagPut(cid="c", codec="raw", bytes=1, new=True))  # fmt: skip
    assert go(session, "dag", "ls", "bafy") == 0
    assert capsys.readouterr().out == "bafy            1,234  a\\x1bb\nbafk  x\n"
    assert go(session, "dag", "ls", "-q", "bafy", "--from", "x") == 0
    assert capsys.readouterr().out == "bafy\nbafk\n"
    assert session.calls[-1] == ("dag_ls", ("bafy",), {"sources": ("x",)})
    assert go(session, "dag", "stat", "-q", "bafy") == 0
    assert capsys.readouterr().out == "4000\n"
    assert go(session, "dag", "stat", "bafy") == 0
    assert "inside  a\n" in capsys.readouterr().out


# What others wrote


@pytest.mark.skipif(not FOLDER, reason="WHERRY_FIXTURES does not say where the public fixtures are")
async def test_a_dag_that_another_implementation_wrote(world):
    async with world.node() as session:
        took = await session.import_car(str(Path(FOLDER) / "dir-with-dag-cbor-with-links.car"))
        assert [root.complete for root in took.roots] == [True]
        listed = {link.name: link.cid for link in await session.dag_ls(WITH_CBOR)}
        cid = listed["document"]
        assert PublicCID.parse(cid).codec == DAG_CBOR
        found = json.loads((await session.dag_get(f"{WITH_CBOR}/document")).data)
        links = await session.dag_ls(cid)
        assert links
        for link in links:
            at = found
            for part in link.path.split("/"):
                at = at[int(part)] if isinstance(at, list) else at[part]
            assert at == {"/": link.cid}
            assert (await session.dag_get(f"{WITH_CBOR}/document/{link.path}")).cid == link.cid
        whole = await session.dag_stat(WITH_CBOR)
        assert whole.blocks == took.blocks
        raw = await session.dag_get(cid, codec="raw")
        assert (await session.dag_put(raw.data, codec="dag-cbor")).cid == cid
        assert (await session.dag_put(json.dumps(found).encode())).cid == cid
        node = await session.dag_get(WITH_CBOR, codec="raw")
        assert (await session.dag_put((await session.dag_get(WITH_CBOR)).data, store="dag-pb")).cid == WITH_CBOR
        assert PublicCID.of(DAG_PB, node.data) == PublicCID.parse(WITH_CBOR)


# A CAR of what is elsewhere


def blocks_of(path):
    with path.open("rb") as file:
        reader = CarReader(file.read)
        found = list(reader)
    for cid, data in found:
        verified(cid, data, origin="it")
    return reader.roots, found


@pytest.mark.parametrize("key", ["cid", "unixfs_cid"])
async def test_a_car_of_what_is_elsewhere_is_that_of_what_is_here(world, tmp_path, key):
    tree = write(
        tmp_path / "tree", {"large": os.urandom(9 * MIB + 7), **{f"d/{n}": b"%d" % n for n in range(40)}, "empty": b""}
    )
    async with world.node("a") as there:
        added = await there.add(str(tree))
        cid = getattr(added, key)
        here = await there.export_car(cid, str(tmp_path / "here.car"))
        async with world.transport(A).listen(A, there._store), world.node() as session:
            with pytest.raises(NotFound):
                await session.export_car(cid, str(tmp_path / "not.car"))
            seen = []
            said = await session.export_car(cid, str(tmp_path / "far.car"), sources=[A], observe=seen.append)
            assert (said.blocks, said.bytes) == (here.blocks, here.bytes)
            assert seen[-1].phase == "fetch"
            assert (tmp_path / "far.car").read_bytes() == (tmp_path / "here.car").read_bytes()
            part = await session.export_car(cid, str(tmp_path / "part.car"), sources=[A], scope="block")
            assert part.blocks == 1
            with pytest.raises(TargetExists):
                await session.export_car(cid, str(tmp_path / "far.car"), sources=[A])
    assert sorted(os.listdir(tmp_path)) == ["far.car", "here.car", "home-a", "home-b", "part.car", "tree"]


async def test_a_dag_of_every_codec_is_exported_and_imported(world, dag, tmp_path):
    async with far(world, dag) as session:
        await session.export_car(str(dag.root_cid), str(tmp_path / "x.car"), sources=[A])
        roots, found = blocks_of(tmp_path / "x.car")
        assert (roots, len(found)) == ([dag.root_cid], 5)
        assert [cid for cid, _ in found][:3] == [dag.root_cid, dag.middle, dag.directory_cid]
    async with world.node("c") as other:
        took = await other.import_car(str(tmp_path / "x.car"))
        assert [root.complete for root in took.roots] == [True]
        assert (await other.dag_stat(str(dag.root_cid))).blocks == 5


async def test_a_block_that_is_missing_below_dag_json_is_missed(world, dag, tmp_path):
    del dag.blocks[dag.last.block()]
    async with far(world, dag) as session:
        with pytest.raises(WherryError):
            await session.export_car(str(dag.root_cid), str(tmp_path / "x.car"), sources=[A])
    assert not (tmp_path / "x.car").exists()
    assert [name for name in os.listdir(tmp_path) if "part" in name] == []


async def test_an_export_from_elsewhere_can_be_left_at_any_time(world, tmp_path):
    (tmp_path / "large").write_bytes(os.urandom(40 * MIB))
    async with world.shared(tmp_path / "large") as cid, world.node() as session:
        world.ways[A] = Slow(world.network)
        running = None

        def observe(event):
            if event.bytes_done > 3 * MIB:
                running.cancel()

        running = asyncio.create_task(session.export_car(cid, str(tmp_path / "x.car"), sources=[A], observe=observe))
        with pytest.raises(asyncio.CancelledError):
            await running
        assert sorted(os.listdir(tmp_path)) == ["home-a", "home-b", "large"]


NAME = "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w"


@pytest.mark.parametrize("verb", ["dag put", "import -", f"name import {NAME} -"])
def test_a_standard_input_that_is_closed_is_said(verb, home, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", None)
    assert run(["--home", str(home), *verb.split()], Invocation(environ={})) == 2
    assert "error: standard input is closed" in capsys.readouterr().err
