"""A served file that changed, went, or cannot be read: nobody gets a wrong byte, and who serves it is told."""

from __future__ import annotations

import errno
import logging
import os
import random
import sys

import pytest

from wherry.cid import CID, DAG_PB
from wherry.errors import BlockNotFound, SourceChanged
from wherry.session import Session
from wherry.store import lostfiles
from wherry.store.held import HeldWrapped
from wherry.store.index import Place, SealedPlace, Signature
from wherry.store.lostfiles import LostFiles
from wherry.unixfs.wrap import wrap, wrapping


def warned(caplog):
    return [record.getMessage() for record in caplog.records if record.name == "wherry.store.lostfiles"]


@pytest.mark.parametrize("listen", ["http://127.0.0.1:0", "tcp://127.0.0.1:0"])
@pytest.mark.parametrize("case", [("readme.txt", "rewritten"), ("data/large.bin", "gone")])
async def test_who_serves_is_told_once_whoever_asks(tree, tmp_path, caplog, listen, case):
    home, (name, change) = tmp_path / "home", case
    async with Session.open(home=home) as session, Session.open(home=tmp_path / "other") as other:
        cid = (await session.add(str(tree))).cid
        async with session.serve(listen=[listen]) as serving:
            await other.stat(cid, sources=serving.listen)
            assert warned(caplog) == []
            path = tree / name
            if change == "gone":
                path.unlink()
            else:
                path.write_bytes(b"another\n")
            for number in range(2):
                with pytest.raises(BlockNotFound, match=f" of '{name}'"):
                    await other.get(cid, sources=serving.listen, output=str(tmp_path / f"copy{number}"))
    (said,) = warned(caplog)
    assert repr(str(path)) in said
    assert ("has changed since it was added" if change == "rewritten" else "No such file") in said
    assert "`wherry add` it again" in said


@pytest.mark.parametrize("listen", ["http://127.0.0.1:0", "tcp://127.0.0.1:0"])
async def test_a_bad_place_of_a_disk_is_told_and_costs_its_leaf_alone(tmp_path, monkeypatch, caplog, listen):
    path, leaf = tmp_path / "large", 1 << 20
    path.write_bytes(random.Random(5).randbytes(6 * leaf))
    sendfile, preadv = os.sendfile, os.preadv

    def bad(fd, offset, count):
        if os.readlink(f"/proc/self/fd/{fd}") == str(path) and offset < 3 * leaf + 9000 and offset + count > 3 * leaf + 5000:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def badly_sent(out, fd, offset, count):
        count = min(count, 3 * leaf + 5000 - offset) if offset < 3 * leaf + 5000 else count
        bad(fd, offset, count)
        return sendfile(out, fd, offset, count)

    def badly_read(fd, buffers, offset):
        bad(fd, offset, sum(map(len, buffers)))
        return preadv(fd, buffers, offset)

    async with Session.open(home=tmp_path / "home") as session, Session.open(home=tmp_path / "other") as other:
        cid = (await session.add(str(path))).cid
        async with session.serve(listen=[listen]) as serving:
            monkeypatch.setattr(os, "sendfile", badly_sent)
            monkeypatch.setattr(os, "preadv", badly_read)
            with pytest.raises(BlockNotFound, match="no source has block"):
                await other.get(cid, sources=serving.listen, output=str(tmp_path / "copy"))
            monkeypatch.undo()
            got = await other.get(cid, sources=serving.listen, output=str(tmp_path / "copy"))
    assert got.fetched_bytes < 2 * leaf  # the others came before
    (said,) = warned(caplog)
    assert repr(str(path)) in said
    assert "Input/output error" in said


async def test_who_reads_for_himself_is_told_by_the_error_alone(home, tree, caplog):
    async with Session.open(home=home) as session:
        cid = (await session.add(str(tree))).cid
        (tree / "readme.txt").write_bytes(b"another\n")
        assert not (await session.verify(cid, str(tree))).ok
    assert warned(caplog) == []


def test_few_files_an_hour_are_named(caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(lostfiles.time, "monotonic", lambda: now[0])
    lost = LostFiles()
    for number in (*range(200), *range(200)):
        lost(f"/{number}", SourceChanged(f"'/{number}' has changed"))
    said = warned(caplog)
    assert len(said) == 51
    assert "doctor" in said[-1]
    assert sys.getsizeof(lost._told) < 10_000
    now[0] = 3601.0
    lost("/1", SourceChanged("'/1' has changed"))
    assert len(warned(caplog)) == 52
    assert caplog.records[0].levelno == logging.WARNING


@pytest.mark.parametrize("size", [5, 1 << 20])
def test_a_leaf_that_is_wrapped_again_is_hashed_before_it_leaves(tmp_path, size):
    """Its file may hold other bytes under the same signature: a disk that rots."""
    path, plain = tmp_path / "file", bytes(size)
    path.write_bytes(plain)
    form = wrapping(size, 2)
    block = wrap(plain, form)

    def held():
        place = Place(str(path), Signature.of(path.stat()), 0, size)
        return HeldWrapped(CID.of(DAG_PB, block), SealedPlace(place, "1MiB unixfs", form), lambda _cid: None)

    view = bytearray(held().size)
    held().read_into(memoryview(view))
    assert view == block
    path.write_bytes(plain[:-1] + b"x")
    with pytest.raises(SourceChanged, match="no longer holds the block"):
        held().read_into(memoryview(view))
