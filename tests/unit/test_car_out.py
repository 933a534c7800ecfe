"""`export --car` of a path, with its proof or, of wherry's own, without; `import` of many roots (specs/0032 §3, §4)."""

from __future__ import annotations

import asyncio
import os
import shutil

import pytest
from getting import A

from wherry import dagcbor
from wherry.car import CarReader, header, section_head
from wherry.cid import DAG_CBOR
from wherry.errors import NotFound, WherryError
from wherry.publiccid import PublicCID
from wherry.session import Session
from wherry_cli.demo import compare


def roots_and_cids(path):
    with open(path, "rb") as file:
        reader = CarReader(file.read)
        return [str(root) for root in reader.roots], [str(cid) for cid, _ in reader]


def run(work, home):
    async def opened():
        async with Session.open(home=home, environ={}) as session:
            return await work(session)

    return asyncio.run(opened())


def test_a_path_in_a_dataset_gives_what_lies_there(tmp_path):
    data = tmp_path / "data"
    (data / "sub dir" / "ünï").mkdir(parents=True)
    (data / "sub dir" / "ünï" / "f").write_bytes(os.urandom(2_500_000))
    (data / "none").write_bytes(b"")
    (data / "empty").mkdir()
    os.symlink("none", data / "link")

    async def export(session):
        added = await session.add(str(data))
        found = {}
        for path in ("sub dir/ünï/f", "sub dir", "none", "empty"):
            car = str(tmp_path / f"{len(found)}.car")
            found[path] = (await session.export_car(f"{added.cid}/{path}", car)).cid
            roots, cids = roots_and_cids(car)
            assert roots == [found[path]] == cids[:1]
        for path in ("link", "nope", "none/x", "sub dir/f"):
            with pytest.raises(NotFound):
                await session.export_car(f"{added.cid}/{path}", str(tmp_path / "x.car"))
        assert not (tmp_path / "x.car").exists()
        with pytest.raises(NotFound) as caught:
            await session.dag_get(f"{added.cid}/none")
        assert "`wherry ls`" in caught.value.hint
        value = f'{{"to":{{"/":"{added.cid}"}}}}'.encode()  # a way of other tools' leads to the dataset
        above = (await session.dag_put(value)).cid
        await session.export_car(f"{above}/to", str(tmp_path / "proof.car"))
        roots, cids = roots_and_cids(tmp_path / "proof.car")
        assert (roots, cids[:2]) == ([above], [above, added.cid])
        return found

    async def read(session):
        for number in range(4):
            assert all(root.complete for root in (await session.import_car(str(tmp_path / f"{number}.car"))).roots)
        await session.get(found["sub dir"], output=str(tmp_path / "got"))
        assert [entry async for entry in session.ls(found["empty"])] == []
        assert b"".join([piece async for piece in session.cat(found["none"])]) == b""
        return b"".join([piece async for piece in session.cat(found["sub dir/ünï/f"])])

    found = run(export, tmp_path / "home")
    content = (data / "sub dir" / "ünï" / "f").read_bytes()
    assert run(read, tmp_path / "other") == content == (tmp_path / "got" / "ünï" / "f").read_bytes()
    assert PublicCID.parse(found["none"]).block()


async def test_what_was_lost_here_comes_from_a_source(world, tree, tmp_path):
    async with world.shared(tree) as cid, world.node() as session:
        await session.get(cid, sources=[A], output=str(tmp_path / "copy"))
        shutil.rmtree(tmp_path / "copy")
        with pytest.raises(WherryError):
            await session.export_car(cid, str(tmp_path / "x.car"))
        await session.export_car(cid, str(tmp_path / "x.car"), sources=[A])
    async with world.node("other") as other:
        assert (await other.import_car(str(tmp_path / "x.car"))).roots[0].complete
        await other.get(cid, output=str(tmp_path / "again"))
    assert list(compare(tree, tmp_path / "again")) == []


def test_roots_below_each_other_are_told_apart(tmp_path):
    def node(*links):
        data = dagcbor.encode(list(links))
        return PublicCID.of(DAG_CBOR, data), data

    absent = PublicCID.of(DAG_CBOR, b"\x80 not there")
    a = node(absent)
    b = node(a[0])
    c = node()
    d = node(c[0], c[0])
    e = node(d[0], b[0])
    nodes = [a, b, c, d, e]
    roots = [c, a, b, d, a, c, e]
    with open(tmp_path / "x.car", "wb") as file:
        file.write(header([cid for cid, _ in roots]))
        file.writelines(section_head(cid, len(data)) + data for cid, data in nodes)

    async def imported(session):
        result = await session.import_car(str(tmp_path / "x.car"))
        return {root.cid: root.complete for root in result.roots}

    found = run(imported, tmp_path / "home")
    assert found == {str(one[0]): whole for one, whole in ((a, False), (b, False), (c, True), (d, True), (e, False))}
