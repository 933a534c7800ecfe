"""UnixFS trees: the published vectors of the profiles, shapes at every edge, huge directories, and what cannot be built."""

from __future__ import annotations

import hashlib
import itertools
import json
import tracemalloc
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry.block import EMPTY_LEAF
from wherry.cid import CID, RAW
from wherry.dagpb import decode
from wherry.errors import LimitExceeded, NoSpace
from wherry.limits import PB_BYTES_MAX
from wherry.publiccid import PublicCID
from wherry.unixfs import build_dir
from wherry.unixfs.build import PROFILES, V0_2015, V1_2025, Attributes, Child, FileBuilder, leaf_of, link
from wherry.unixfs.build_dir import DirBuilder
from wherry.unixfs.data import FILE, HAMT_SHARD, SYMLINK, TYPES, UnixTime
from wherry.unixfs.data import decode as message_of

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/unixfs-profiles.json").read_text())


class Blocks(dict):
    """Keeps what was emitted, by CID; nothing may be linked to before it is there."""

    def emit(self, block):
        self[block.cid] = block.data
        assert len(block.data) <= 1 << 20 or block.cid.codec == RAW


def stream(seed):
    key = hashlib.sha256(seed.encode()).digest()
    return Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()


def chunks(vector, size):
    if "text" in vector:
        return [vector["text"].encode()]
    cipher, zeros = stream(vector["seed"]), bytes(size)
    lengths = [size] * (vector["bytes"] // size) + [vector["bytes"] % size or None]
    return (cipher.update(zeros[:length]) for length in lengths if length)


def names(vector):
    if not vector["entries"]:
        return []
    letters = "".join([VECTORS["alphabet"][byte % 39] for byte in stream(vector["seed"]).update(bytes(1 << 20))])
    found = []
    at = 0
    for number in range(vector["entries"]):
        length = vector["last_name_chars" if number == vector["entries"] - 1 else "name_chars"]
        found.append(letters[at : at + length].encode())
        at += length
    return found


def slow(vectors):
    for vector in vectors:
        name = f"{vector['profile']}-{vector.get('text', vector.get('bytes'))}"
        yield pytest.param(vector, id=name, marks=[pytest.mark.slow, pytest.mark.timeout(300)] if vector.get("slow") else [])


@pytest.mark.parametrize("vector", list(slow(VECTORS["files"])))
def test_files_of_the_profiles(vector):
    profile = PROFILES[vector["profile"]]
    emitted = []
    builder = FileBuilder(emitted.append, profile)
    held = b""
    for number, chunk in enumerate(chunks(vector, profile.chunk)):
        if number:
            builder.chunk(held)
        held = chunk
        emitted.clear()
    assert str(PublicCID(builder.finish(last=held).cid)) == vector["cid"]


@pytest.mark.parametrize("vector", VECTORS["directories"], ids=lambda vector: f"{vector['profile']}-{vector['entries']}")
def test_directories_of_the_profiles(vector):
    profile = PROFILES[vector["profile"]]
    blocks = Blocks()
    x = FileBuilder(blocks.emit, profile).finish(last=b"x")
    builder = DirBuilder(blocks.emit, profile)
    for name in names(vector):
        builder.add(name, x)
    found = PublicCID(builder.finish().cid)
    assert str(found) == vector["cid"]
    assert TYPES[message_of(decode(blocks[found.block()]).data).type] == vector["type"]


def totals(blocks, cid):
    """Bytes of a block and of all below, and bytes of the file, counted from the blocks themselves."""
    data = blocks[PublicCID(cid).block()]
    if PublicCID(cid).codec == RAW:
        return len(data), len(data)
    node = decode(data)
    message = message_of(node.data)
    below = [totals(blocks, item.cid) for item in node.links]
    assert [item.tsize for item in node.links] == [total for total, _ in below]
    if message.type == FILE:
        assert list(message.blocksizes) == [size for _, size in below]
        assert message.filesize == message.size
    return len(data) + sum(total for total, _ in below), message.size


def depths(blocks, cid):
    if PublicCID(cid).codec == RAW:
        return {0}
    return {depth + 1 for item in decode(blocks[PublicCID(cid).block()]).links for depth in depths(blocks, item.cid)}


@pytest.mark.parametrize("count", [2, 3, 4, 5, 9, 10, 27, 28, 81, 82, 100])
@pytest.mark.parametrize("profile", [V1_2025, V0_2015])
def test_all_leaves_of_a_file_are_equally_deep(count, profile):
    blocks = Blocks()
    builder = FileBuilder(blocks.emit, profile._replace(width=3))
    parts = [bytes([number]) * (1 + number % 3) for number in range(count)]
    for part in parts:
        builder.chunk(part)
    root = builder.finish()
    assert totals(blocks, root.cid) == (root.tsize, root.size) == (root.tsize, sum(map(len, parts)))
    if profile is V1_2025:
        assert len(depths(blocks, root.cid)) == 1


@pytest.mark.parametrize("attributes", [Attributes(mode=0o640), Attributes(mtime=UnixTime(-1, 5))])
@pytest.mark.parametrize("profile", [V1_2025, V0_2015])
@pytest.mark.parametrize("parts", [[], [b"a"], [b"a", b"b"]])
def test_attributes_are_in_the_root_alone(attributes, profile, parts):
    blocks = Blocks()
    builder = FileBuilder(blocks.emit, profile, attributes)
    for part in parts[:-1]:
        builder.chunk(part)
    root = builder.finish(last=parts[-1]) if parts else builder.finish()
    carrying = []
    for cid, data in blocks.items():
        if cid.codec != RAW:
            message = message_of(decode(data).data)
            carrying += [cid] if (message.mode, message.mtime) == attributes else []
    assert carrying == [PublicCID(root.cid).block()]
    folder = DirBuilder(blocks.emit, profile, attributes).finish()
    assert message_of(decode(blocks[PublicCID(folder.cid).block()]).data)[-2:] == attributes


# As ipfs-unixfs-importer 17.1.1 gives them.
@pytest.mark.parametrize(
    ("profile", "size", "attributes", "cid"),
    [
        (V1_2025, 1048577, Attributes(0o640), "bafybeif7nadtqakzmdc562tjzb6bl26ndnnses5m7pp5dcs65vpndbdmre"),
        (V1_2025, 1048577, Attributes(None, UnixTime(-5, 7)), "bafybeigfghb4x7xeisfx6bbs6u6rsrrbiv32knxi46gposz46cviduesn4"),
        (V0_2015, 262145, Attributes(0o640), "QmR1u1eqTj5eMiFPfociUBYge6az4qqE64jUcfETZpPgbg"),
        (V1_2025, None, Attributes(0o700, UnixTime(5)), "bafybeieujperholyzxeatyzdxwfuopjspeo74fltatepqp5en2ocnlylhu"),
    ],
)
def test_other_implementations_write_attributes_the_same_way(profile, size, attributes, cid):
    if size is None:
        root = DirBuilder(Blocks().emit, profile, attributes).finish()
    else:
        builder = FileBuilder(Blocks().emit, profile, attributes)
        builder.chunk(b"A" * (size - 1))
        root = builder.finish(last=b"A")
    assert str(PublicCID(root.cid)) == cid


def test_the_empty_file_and_a_file_of_one_chunk_are_their_leaf():
    blocks = Blocks()
    assert FileBuilder(blocks.emit).finish().cid == EMPTY_LEAF
    leaf = CID.of(RAW, b"one")
    builder = FileBuilder(blocks.emit)
    builder.add(leaf_of(leaf, 3))
    assert builder.finish() == Child(leaf, 3, 3)


def test_a_link_is_its_target_and_nothing_else():
    blocks = Blocks()
    made = link(b"../a", blocks.emit)
    node = decode(blocks[PublicCID(made.cid).block()])
    assert node.links == ()
    assert node.data == b"\x08\x04\x12\x04../a"
    assert message_of(node.data).type == SYMLINK
    assert made.tsize == len(blocks[PublicCID(made.cid).block()])


def test_links_and_the_tree_around_them_are_as_kubo_writes_them():
    """The tree of its test t0044-add-symlink, in the profile that was its default."""
    emit = Blocks().emit
    good, bad = link(b"files/foo/baz", emit, V0_2015), link(b"files/does/not/exist", emit, V0_2015)
    foo, bar, files = (DirBuilder(emit, V0_2015) for _ in range(3))
    foo.add(b"baz", FileBuilder(emit, V0_2015).finish(last=b"some text\n"))
    bar.add(b"baz", good)
    for name, child in ((b"foo", foo.finish()), (b"bar", bar.finish()), (b"bad", bad)):
        files.add(name, child)
    assert [str(PublicCID(child.cid)) for child in (good, bad, files.finish())] == [
        "QmdocmZeF7qwPT9Z8SiVhMSyKA2KKoA2J7jToW6z6WBmxR",
        "QmWYN8SEXCgNT2PSjB6BnxAx6NJQtazWoBkTRH9GRfPFFQ",
        "QmWdiHKoeSW8G1u7ATCgpx4yMoUhYaJBQGkyPLkS9goYZ8",
    ]


def test_a_chunk_of_more_than_two_mebibytes_is_refused():
    leaf_of(EMPTY_LEAF, PB_BYTES_MAX)
    with pytest.raises(LimitExceeded, match="at most"):
        leaf_of(EMPTY_LEAF, PB_BYTES_MAX + 1)
    with pytest.raises(LimitExceeded, match="at most"):
        FileBuilder(Blocks().emit).chunk(bytes(PB_BYTES_MAX + 1))


def entries_of(blocks, cid, above=b""):
    """All names in a directory, found by walking it; each where its hash says."""
    node = decode(blocks[PublicCID(cid).block()])
    message = message_of(node.data)
    assert [item.name for item in node.links] == sorted(item.name for item in node.links)
    if message.type != HAMT_SHARD:
        yield from (item.name for item in node.links)
        return
    assert (message.hash_type, message.fanout, message.filesize) == (0x22, 256, None)
    buckets = [int(item.name[:2], 16) for item in node.links]
    assert int.from_bytes(message.data, "big") == sum(1 << bucket for bucket in buckets)
    assert message.data[:1] != b"\0"
    for bucket, item in zip(buckets, node.links, strict=True):
        path = above + bytes([bucket])
        if len(item.name) == 2:
            below = list(entries_of(blocks, item.cid, path))
            assert len(below) > 1
            yield from below
        else:
            assert build_dir._hasher()(item.name[2:]).startswith(path)
            yield item.name[2:]


@settings(max_examples=30, deadline=None)
@given(st.sets(st.binary(min_size=1, max_size=200), max_size=60), st.sampled_from([0, 1, 300, 4000]), st.booleans())
def test_a_directory_holds_its_entries_and_their_order_does_not_matter(names, split, backwards):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_dir, "SPLIT_BYTES", split)
        blocks = Blocks()
        builders = [DirBuilder(blocks.emit), DirBuilder(blocks.emit)]
        patch.setattr(build_dir, "_FLAT_MAX", 7)
        patch.setattr(build_dir, "_LOOSE_MAX", 9 if backwards else 1000)
        patch.setattr(build_dir, "_MEMORY_MAX", 100 if backwards else 1 << 20)
        for name in sorted(names):
            builders[0].put(name, EMPTY_LEAF, len(name))
        for name in sorted(names, reverse=backwards):
            builders[1].put(name, EMPTY_LEAF, len(name))
        root = builders[0].finish()
        assert root == builders[1].finish()
    assert sorted(entries_of(blocks, root.cid)) == sorted(names)


def test_shards_nest_where_hashes_agree():
    """Two names whose hashes have the first two bytes in common, found by trying."""
    hashed, seen = build_dir._hasher(), {}
    for number in itertools.count():
        name = b"%d" % number
        other = seen.setdefault(hashed(name)[:2], name)
        if other != name:
            break
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_dir, "SPLIT_BYTES", 0)
        blocks = Blocks()
        builder = DirBuilder(blocks.emit)
        for each in (name, other):
            builder.put(each, EMPTY_LEAF, 0)
        root = builder.finish()
    assert len(blocks) == 3
    assert set(entries_of(blocks, root.cid)) == {name, other}


def test_names_of_one_hash_cannot_lie_side_by_side(monkeypatch):
    monkeypatch.setattr(build_dir, "SPLIT_BYTES", 0)
    monkeypatch.setattr(build_dir, "_hasher", lambda: lambda name: b"equal to")
    builder = DirBuilder(Blocks().emit)
    builder.put(b"a", EMPTY_LEAF, 0)
    builder.put(b"b", EMPTY_LEAF, 0)
    with pytest.raises(LimitExceeded, match="side by side"):
        builder.finish()


def test_a_name_that_is_far_too_long_is_refused(monkeypatch):
    monkeypatch.setattr(build_dir, "SPLIT_BYTES", 0)
    monkeypatch.setattr(build_dir, "_LOOSE_MAX", 0)
    builder = DirBuilder(Blocks().emit)
    builder.put(b"a" * 70_000, EMPTY_LEAF, 0)
    with pytest.raises(LimitExceeded, match="70000 bytes"):
        builder.finish()


def test_a_full_disk_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(build_dir.tempfile, "tempdir", str(tmp_path / "absent"))
    monkeypatch.setattr(build_dir, "_LOOSE_MAX", 0)
    monkeypatch.setattr(build_dir, "_MEMORY_MAX", 0)
    monkeypatch.setattr(build_dir, "SPLIT_BYTES", 0)
    builder = DirBuilder(Blocks().emit)
    builder.put(b"a", EMPTY_LEAF, 0)
    with pytest.raises(NoSpace, match="absent"):
        builder.finish()


def test_a_huge_directory_takes_little_memory(monkeypatch):
    monkeypatch.setattr(build_dir, "_LOOSE_MAX", 100)
    monkeypatch.setattr(build_dir, "_MEMORY_MAX", 256 << 10)
    count = []
    tracemalloc.start()
    builder = DirBuilder(lambda block: count.append(len(block.data)))
    for number in range(20_000):  # some 5 MB as objects
        builder.put(b"file-%08d" % number, EMPTY_LEAF, number)
    builder.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(count) > 256
    assert peak < 3 << 20
