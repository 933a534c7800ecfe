"""Encrypted datasets through a session: sealed once, read by who may, closed to all others (specs/0016)."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest

from wherry.cid import CID, RAW
from wherry.errors import BlockNotFound, IntegrityError, NoKey, NotFound, SourceChanged, UsageError, WherryError
from wherry.sealing.header import decode
from wherry.session import Encryption, Session
from wherry.units import MiB

SECRET = b"a line that nobody else may read; "
WORDS = SECRET * 200


@pytest.fixture
def tree(tmp_path):
    """A few shapes of files: empty, small, several leaves, one larger than a buffer, equal ones, a link, an executable."""
    root = tmp_path / "private-tree"
    (root / "secret-folder").mkdir(parents=True)
    chance = random.Random(7)
    (root / "empty").touch()
    (root / "secret-name.txt").write_bytes(WORDS)
    (root / "secret-folder" / "twin").write_bytes(WORDS)
    (root / "secret-folder" / "run.sh").write_bytes(b"#!/bin/sh\n")
    (root / "secret-folder" / "run.sh").chmod(0o755)
    (root / "leaves").write_bytes(chance.randbytes(2 * MiB + 77))
    (root / "long").write_bytes(chance.randbytes(9 * MiB + 1))
    (root / "link").symlink_to("secret-name.txt")
    return root


@asynccontextmanager
async def opened(path, *keys):
    async with Session.open(home=path, environ={}) as session:
        for name in keys:
            await session.new_key(name)
        yield session


async def sealed(session, tree, **options):
    return (await session.add(str(tree), encryption=Encryption(**({"key": "team"} | options)))).cid


async def collect(items):
    async with aclosing(items) as each:
        return [item async for item in each]


def same(one, other):
    names = sorted(str(path.relative_to(one)) for path in one.rglob("*"))
    assert names == sorted(str(path.relative_to(other)) for path in other.rglob("*"))
    for name in names:
        first, second = one / name, other / name
        assert first.is_symlink() == second.is_symlink()
        if first.is_symlink():
            assert first.readlink() == second.readlink()
        elif first.is_file():
            assert first.read_bytes() == second.read_bytes()
            assert os.access(first, os.X_OK) == os.access(second, os.X_OK)
    return True


def share_key(one, other, name="team"):
    (other / "keys").mkdir(parents=True, mode=0o700)
    shutil.copy2(one / "keys" / f"{name}.key", other / "keys" / f"{name}.key")


MODES = [
    {},
    {"random_keys": True},
    {"pad": True},
    {"random_keys": True, "pad": True},
    {"compress": True},
]


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_who_has_the_key_gets_the_same_tree_and_serves_it_on(tmp_path, tree, mode):
    async with opened(tmp_path / "one", "team") as publisher:
        cid = await sealed(publisher, tree, **mode)
        share_key(tmp_path / "one", tmp_path / "two")
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving, opened(tmp_path / "two") as reader:
            got = await reader.get(cid, sources=serving.listen, output=str(tmp_path / "copy"))
            assert same(tree, tmp_path / "copy")
            assert got.bytes == sum(path.stat().st_size for path in tree.rglob("*") if path.is_file() and not path.is_symlink())
            assert not (await reader.verify(cid, str(tmp_path / "copy"))).differences
        if mode.get("compress"):
            return  # sealed blocks that were coded are kept by the publisher alone
        share_key(tmp_path / "one", tmp_path / "three")
        async with (
            opened(tmp_path / "two") as reader,
            reader.serve(listen=["http://127.0.0.1:0"]) as serving,
            opened(tmp_path / "three") as third,
        ):
            await third.get(cid, sources=serving.listen, output=str(tmp_path / "copy of the copy"))
        assert same(tree, tmp_path / "copy of the copy")


@pytest.mark.parametrize("mode", MODES, ids=str)
async def test_reading_verbs_take_an_encrypted_dataset(tmp_path, tree, mode):
    async with opened(tmp_path / "one", "team") as publisher:
        cid = await sealed(publisher, tree, **mode)
        share_key(tmp_path / "one", tmp_path / "two")
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving, opened(tmp_path / "two") as reader:
            sources = serving.listen
            listed = await collect(reader.ls(cid, sources=sources))
            assert [entry.name for entry in listed] == sorted(path.name for path in tree.iterdir())
            stat = await reader.stat(cid, sources=sources)
            assert (stat.kind, stat.encrypted.split("/")[0], stat.granted_by) == ("dir", "xchacha20poly1305", None)
            assert b"".join(await collect(reader.cat(f"{cid}/secret-folder/twin", sources=sources))) == WORDS
            long = (tree / "long").read_bytes()
            for offset, length in ((0, 1), (MiB - 1, 2), (5 * MiB + 3, 2 * MiB), (9 * MiB, None), (len(long), None)):
                found = b"".join(await collect(reader.cat(f"{cid}/long", sources=sources, offset=offset, length=length)))
                assert found == long[offset : None if length is None else offset + length]
            with pytest.raises(NotFound):
                await collect(reader.cat(f"{cid}/none", sources=sources))


async def test_without_a_key_nothing_of_it_is_told(tmp_path, tree):
    async with opened(tmp_path / "one", "team") as publisher:
        cid = await sealed(publisher, tree)
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving, opened(tmp_path / "two", "team") as stranger:
            for verb in (
                lambda: stranger.get(cid, sources=serving.listen, output=str(tmp_path / "copy")),
                lambda: collect(stranger.ls(cid, sources=serving.listen)),
                lambda: stranger.stat(cid, sources=serving.listen),
                lambda: collect(stranger.cat(f"{cid}/long", sources=serving.listen)),
                lambda: stranger.grant(cid, ["team"], sources=serving.listen),
            ):
                with pytest.raises(NoKey, match="no key of this home"):
                    await verb()
    assert not (tmp_path / "copy").exists()


async def test_the_home_holds_no_plain_byte_and_no_name(tmp_path, tree):
    async with opened(tmp_path / "one", "team") as publisher:
        await sealed(publisher, tree)
        await sealed(publisher, tree, compress=True)
    for path in (tmp_path / "one").rglob("*"):
        if path.is_file() and path.name != "index.db":  # the index of this node names its own user's files
            data = path.read_bytes()
            assert SECRET[:16] not in data
            assert b"secret-name" not in data


async def test_plain_leaves_of_an_encrypted_dataset_are_given_to_nobody(tmp_path, tree):
    plain = CID.of(RAW, WORDS)
    async with opened(tmp_path / "one", "team") as publisher:
        await sealed(publisher, tree)
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving, opened(tmp_path / "two") as stranger:
            with pytest.raises(BlockNotFound):
                await stranger.get(str(plain), sources=serving.listen, output=str(tmp_path / "copy"))
            await publisher.add(str(tree))  # until its owner adds them in the open as well
            await stranger.get(str(plain), sources=serving.listen, output=str(tmp_path / "copy"))


async def test_the_same_data_have_the_same_cid_in_one_domain_and_another_in_any_other(tmp_path, tree):
    async with opened(tmp_path / "one", "team", "others") as publisher:
        one = await sealed(publisher, tree)
        assert await sealed(publisher, tree) == one  # from the index this time
        (await publisher.add(str(tree))).cid  # noqa: B018 - beside it, in the open
        assert await sealed(publisher, tree) == one
        assert await sealed(publisher, tree, key="others") != one
        assert await sealed(publisher, tree, pad=True) != one
        first, second = await sealed(publisher, tree, random_keys=True), await sealed(publisher, tree, random_keys=True)
        assert first != second
    share_key(tmp_path / "one", tmp_path / "two")
    async with opened(tmp_path / "two") as again:
        assert await sealed(again, tree) == one


async def test_what_did_not_change_is_not_read_again(tmp_path, tree):
    async with opened(tmp_path / "one", "team") as publisher:
        await sealed(publisher, tree)
        before = await publisher.add(str(tree), encryption=Encryption("team"))
        assert (before.new_blocks, before.unique_bytes) == (0, 0)
        with (tree / "long").open("ab") as file:
            file.write(b"more")
        after = await publisher.add(str(tree), encryption=Encryption("team"))
        assert after.cid != before.cid
        assert 0 < after.unique_bytes <= MiB + 5


async def test_a_bit_flipped_in_a_key_of_the_index_makes_no_dataset_that_nobody_can_open(tmp_path, tree):
    async with opened(tmp_path / "one", "team") as publisher:
        one = await sealed(publisher, tree)
        with publisher._store.index._db.writing() as run:
            query = "SELECT key FROM files JOIN sealed USING (key) WHERE files.size > 0"
            for (key,) in run.execute(query).fetchall():  # of files of one leaf, whose key is the leaf's
                run.execute("UPDATE files SET key=? WHERE key=?", (bytes([key[0] ^ 1, *key[1:]]), key))
        assert await sealed(publisher, tree) == one


async def test_a_file_that_changed_is_not_served_as_what_it_was(tmp_path, tree):
    share_key_later = tmp_path / "two"
    async with opened(tmp_path / "one", "team") as publisher:
        cid = await sealed(publisher, tree)
        share_key(tmp_path / "one", share_key_later)
        found = os.stat(tree / "leaves")
        with (tree / "leaves").open("r+b") as file:
            file.write(b"changed")
        os.utime(tree / "leaves", ns=(found.st_atime_ns, found.st_mtime_ns))
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving, opened(share_key_later) as reader:
            with pytest.raises((BlockNotFound, SourceChanged, IntegrityError)):
                await reader.get(cid, sources=serving.listen, output=str(tmp_path / "copy"), wait_s=1)


async def test_coded_blocks_are_kept_before_anything_refers_to_them(tmp_path, tree, monkeypatch):
    """A run that dies at any write leaves no record of a block that is not here, so the next one goes on."""
    (tree / "text").write_bytes(b"words that shrink " * 300_000)
    async with opened(tmp_path / "one", "team") as publisher:
        index = publisher._store.index
        missing = []

        def looked_at(rows):
            cids = [CID.from_digest(RAW, leaf.digest) for leaf in rows]
            missing.extend(set(cids) - publisher._store.nodes.sizes(cids).keys())

        record, add_leaves = index.record, index.add_leaves
        monkeypatch.setattr(
            index, "record", lambda files: (looked_at([leaf for file in files for leaf in file.leaves]), record(files))[1]
        )
        monkeypatch.setattr(
            index, "add_leaves", lambda file, leaves, **more: (looked_at(leaves), add_leaves(file, leaves, **more))[1]
        )
        cid = await sealed(publisher, tree, compress=True)
        assert missing == []
        assert await sealed(publisher, tree, compress=True) == cid


# Grants


async def test_a_grant_opens_one_dataset_and_nothing_else_of_the_domain(tmp_path, tree):
    other = tmp_path / "other"
    other.mkdir()
    (other / "x").write_bytes(b"not for you" * 1000)
    async with opened(tmp_path / "two") as reader:
        me = await reader.new_key("me", kind="identity")
    async with opened(tmp_path / "one", "team") as publisher:
        closed = await sealed(publisher, other)
        cid = await sealed(publisher, tree)
        granted = (await publisher.grant(cid, [me.recipient])).cid
        assert granted != cid
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving, opened(tmp_path / "two") as reader:
            await reader.get(granted, sources=serving.listen, output=str(tmp_path / "copy"))
            assert same(tree, tmp_path / "copy")
            sender = (await publisher.key("me")).recipient
            assert (await reader.stat(granted)).granted_by == sender
            for shut in (closed, cid):
                with pytest.raises(NoKey):
                    await reader.stat(shut, sources=serving.listen)


async def test_a_dataset_for_recipients_opens_for_each_and_for_its_publisher(tmp_path, tree):
    texts = []
    for name in ("two", "three"):
        async with opened(tmp_path / name) as reader:
            texts.append((await reader.new_key("me", kind="identity")).recipient)
    async with opened(tmp_path / "one") as publisher:
        cid = (await publisher.add(str(tree), encryption=Encryption(None, texts))).cid
        assert (await publisher.stat(cid)).kind == "dir"
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving:
            for name in ("two", "three"):
                async with opened(tmp_path / name) as reader:
                    await reader.get(cid, sources=serving.listen, output=str(tmp_path / name / "copy"))
                    assert same(tree, tmp_path / name / "copy")
        block = publisher._store.nodes.get_many([CID.parse(cid)])[CID.parse(cid)]
        assert [wrap.kind for wrap in decode(block).wraps] == ["key", "to", "to"]


async def test_what_is_open_cannot_be_granted_and_nobody_is_no_recipient(tmp_path, tree):
    async with opened(tmp_path / "one", "team") as publisher:
        open_cid = (await publisher.add(str(tree))).cid
        with pytest.raises(UsageError, match="not encrypted"):
            await publisher.grant(open_cid, [(await publisher.new_key("me", kind="identity")).recipient])
        with pytest.raises(UsageError, match="somebody"):
            await publisher.grant(open_cid, [])
        cid = await sealed(publisher, tree)
        for nobody in ("who", "wherry-to1zzzz", "team"):
            with pytest.raises(WherryError):
                await publisher.grant(cid, [nobody])


async def test_rotation_rewraps_and_seals_nothing_again(tmp_path, tree):
    async with opened(tmp_path / "one", "team") as publisher:
        cid = await sealed(publisher, tree)
        before = publisher._store.index.usage(), publisher._store.nodes.usage()[0]
        await publisher.rotate_key("team")
        [(old, new)] = (await publisher.rewrap("team")).datasets
        assert old == cid
        assert (publisher._store.index.usage(), publisher._store.nodes.usage()[0] - 1) == before
        assert (await publisher.rewrap("team")).datasets == []  # nothing is left to do
        assert await sealed(publisher, tree) == new  # new datasets are wrapped under the new key
        for one in (old, new):
            assert (await publisher.stat(one)).kind == "dir"
        async with opened(tmp_path / "two") as reader:
            await reader.new_key("team")
            with pytest.raises(NoKey):
                async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving:
                    await reader.stat(new, sources=serving.listen)


# Options that make no sense


@pytest.mark.parametrize(
    ("options", "chunker", "word"),
    [
        ({"pad": True, "compress": True}, None, "--pad"),
        ({}, "fixed:4MiB", "2 MiB"),
        ({"key": "unknown"}, None, "unknown"),
        ({"recipients": ["unknown"]}, None, "unknown"),
    ],
)
async def test_what_cannot_be_is_said_before_anything_is_read(tmp_path, options, chunker, word):
    async with opened(tmp_path / "one", "team") as publisher:
        with pytest.raises(WherryError, match=word):
            await publisher.add(
                str(tmp_path / "nothing"), chunker=chunker, encryption=Encryption(**({"key": "team"} | options))
            )


async def test_content_defined_cuts_follow_the_key(tmp_path, tree):
    async with opened(tmp_path / "one", "team", "others") as publisher:
        for key in ("team", "others"):
            cid = (await publisher.add(str(tree), chunker="fastcdc:64KiB", encryption=Encryption(key))).cid
            assert not (await publisher.verify(cid, str(tree))).differences
        cuts = {
            key: [
                place.place.size
                for place in publisher._store.index.locate_sealed(
                    [row[0] for row in publisher._store.index._db._connection.execute("SELECT digest FROM sealed")]
                ).values()
                if place.cut.endswith(key_id(tmp_path / "one", key)) and Path(place.place.path).name == "long"
            ]
            for key in ("team", "others")
        }
        assert sorted(cuts["team"]) != sorted(cuts["others"])
        assert sum(cuts["team"]) == sum(cuts["others"]) == 9 * MiB + 1


def key_id(home, name):
    from wherry.sealing.ring import KeyRing

    return KeyRing(home).domain(name).wraps[-1].id.hex()


# Interruptions


async def test_a_get_goes_on_where_it_was_and_takes_what_is_right_already(tmp_path, tree):
    async with opened(tmp_path / "one", "team") as publisher:
        cid = await sealed(publisher, tree)
        share_key(tmp_path / "one", tmp_path / "two")
        async with publisher.serve(listen=["http://127.0.0.1:0"]) as serving:
            async with opened(tmp_path / "two") as reader:
                await reader.get(cid, sources=serving.listen, output=str(tmp_path / "copy"))
                shutil.rmtree(tmp_path / "copy" / "secret-folder")
                with (tmp_path / "copy" / "long").open("r+b") as file:
                    file.seek(5 * MiB)
                    file.write(b"damaged")
                again = await reader.get(cid, sources=serving.listen, output=str(tmp_path / "copy"), force=True)
                assert same(tree, tmp_path / "copy")
                assert again.fetched_bytes < 3 * MiB  # plain bytes of the old target were sealed and compared, not fetched
                assert (await reader.get(cid, sources=serving.listen, output=str(tmp_path / "copy"))).fetched_bytes == 0


async def test_the_index_is_made_again_by_who_has_the_key(tmp_path, tree):
    async with opened(tmp_path / "one", "team") as publisher:
        cid = await sealed(publisher, tree)
        await sealed(publisher, tree, random_keys=True)
    (tmp_path / "one" / "index.db").unlink()
    async with Session.open(home=tmp_path / "one", environ={}, verb="repair") as session:
        result = await session.repair()
        assert (result.kept, result.dropped) == (2, [])
    share_key(tmp_path / "one", tmp_path / "two")
    async with (
        opened(tmp_path / "one") as publisher,
        publisher.serve(listen=["http://127.0.0.1:0"]) as serving,
        opened(tmp_path / "two") as reader,
    ):
        await reader.get(cid, sources=serving.listen, output=str(tmp_path / "copy"))
    assert same(tree, tmp_path / "copy")
    os.rename(tmp_path / "one" / "keys", tmp_path / "keys")
    async with Session.open(home=tmp_path / "one", environ={}, verb="repair") as session:
        assert (await session.repair()).dropped == []  # unread, for its key is away; not thrown away
