"""Walking and searching UnixFS: files of every legal shape, directories small and large, and everything that lies."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unixfs_dags import Dag, bucket_of

from wherry import dagpb
from wherry.block import Block
from wherry.cid import CID, DAG_CBOR, DAG_PB, RAW
from wherry.dag.walk import EnterDir, EnterFile, Leaf, LeaveDir, LinkStep, Need
from wherry.dagpb import PBLink
from wherry.errors import DataError, DecodeError, IntegrityError, LimitExceeded, NotFound, UnsafeName
from wherry.publiccid import PublicCID
from wherry.unixfs import walk as walk_module
from wherry.unixfs.data import DIRECTORY, FILE, HAMT_SHARD, METADATA, RAW_LEAF, SYMLINK, Data, UnixTime, encode
from wherry.unixfs.node import decode, hash_of
from wherry.unixfs.walk import UnixWalk
from wherry.unixfs.wrap import is_wrapped, split, unwrap, wrap, wrapping, wrapping_of

DATA = random.Random(5).randbytes(700)


def pieces(size=100):
    return [DATA[at : at + size] for at in range(0, len(DATA), size)]


def shapes(dag):
    """Files whose bytes are DATA, in every shape that a reader must take."""
    leaf, raw = dag.leaf, dag.raw
    flat_raw = [raw(piece) for piece in pieces()]
    flat_pb = [leaf(piece) for piece in pieces()]
    old = [leaf(piece, RAW_LEAF) for piece in pieces()]
    yield "one dag-pb block", leaf(DATA)
    yield "raw leaves", dag.file(flat_raw)
    yield "dag-pb leaves", dag.file(flat_pb)
    yield "leaves of the old type", dag.file(old)
    yield "two levels", dag.file([dag.file(flat_pb[:3]), dag.file(flat_pb[3:6]), dag.file(flat_pb[6:])])
    yield "mixed", dag.file([flat_raw[0], dag.file(flat_pb[1:3]), flat_pb[3], dag.file([dag.file(flat_raw[4:])])])
    yield "bytes in a root with links", dag.file(flat_raw[1:], inline=DATA[:100])
    yield "an empty child", dag.file([*flat_pb[:2], leaf(b""), *flat_pb[2:]])
    yield "inlined leaves", dag.file([(PublicCID.inlined(RAW, piece), len(piece), 0) for piece in pieces()])
    inner = dagpb.encode(dagpb.PBNode((), encode(Data(FILE, DATA[:50], 50))))
    yield "an inlined dag-pb leaf", dag.file([(PublicCID.inlined(DAG_PB, inner), 50, 0), dag.raw(DATA[50:])])
    yield "no filesize", dag.file(flat_raw, filesize=None)
    yield "no names", dag.file(flat_raw, name=None)


NAMES = [name for name, _ in shapes(Dag())]


@pytest.mark.parametrize("predict", [None, 0])
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("shape", NAMES)
def test_a_file_of_any_shape(shape, version, predict):
    dag = Dag(version)
    link = dict(shapes(dag))[shape]
    assert dag.root(link).entry.size == len(DATA)
    assert dag.read(link, predict=predict) == DATA
    leaves = [step for step in dag.steps(link, predict=predict) if isinstance(step, Leaf)]
    assert [leaf.offset for leaf in leaves] == [sum(leaf.size for leaf in leaves[:at]) for at in range(len(leaves))]
    assert [leaf.final for leaf in leaves] == [False] * (len(leaves) - 1) + [True]


@given(st.sampled_from(NAMES), st.integers(0, 720), st.integers(0, 720))
def test_a_range_gives_the_leaves_that_touch_it(shape, start, stop):
    dag = Dag()
    link = dict(shapes(dag))[shape]
    leaves = [step for step in dag.steps(link, start=start, stop=stop) if isinstance(step, Leaf)]
    everything = [step for step in dag.steps(link) if isinstance(step, Leaf)]
    wanted = [leaf for leaf in everything if start < leaf.offset + leaf.size and leaf.offset < stop]
    assert [leaf[:3] for leaf in leaves] == [leaf[:3] for leaf in wanted]


def test_a_range_reads_only_the_nodes_on_its_way():
    dag = Dag()
    parts = [dag.leaf(piece) for piece in pieces()]
    link = dag.file([dag.file(parts[:3]), dag.file(parts[3:6]), dag.file(parts[6:])])
    dag.asked.clear()
    dag.steps(link, start=350, stop=360)
    assert len(dag.asked) == 3  # the root, one node, one leaf


def test_leaves_are_predicted_from_those_before_them():
    dag = Dag(0)
    link = dag.file([dag.leaf(piece) for piece in pieces()])
    dag.asked.clear()
    leaves = [step for step in dag.steps(link, predict=0) if isinstance(step, Leaf)]
    assert len(dag.asked) == 2
    assert [leaf.guessed for leaf in leaves] == [False] + [True] * 6
    assert leaves[0].block is not None


@given(st.binary(max_size=300), st.sampled_from([FILE, RAW_LEAF]))
def test_a_leaf_is_made_again_from_its_bytes(data, kind):
    dag = Dag()
    cid = dag.leaf(data, kind)[0].block()
    block = dag.blocks[cid]
    form = wrapping_of(block, data)
    assert form == wrapping(len(data), kind)
    assert wrap(data, form) == block
    assert is_wrapped(data, form, cid)
    assert bytes(unwrap(memoryview(block), form, len(data))) == data
    assert not is_wrapped(data + b"x", form, cid)
    with pytest.raises(IntegrityError):
        unwrap(memoryview(block + b"x"), form, len(data))


@pytest.mark.parametrize("form", [b"", b"\x05abc", b"\xff\xff\xff\xff\xff"])
def test_a_damaged_wrapping_is_refused(form):
    with pytest.raises(DecodeError):
        split(form)


def tree(dag):
    return dag.directory(
        [
            ("a", dag.raw(b"first")),
            ("b", dag.file([dag.leaf(piece) for piece in pieces()], mode=0o755, mtime=UnixTime(-5, 7))),
            ("c", dag.directory([("d", dag.symlink("../a")), ("e", (PublicCID.inlined(RAW, b"inline"), 6, 6))])),
            ("f", dag.raw(b"")),
        ]
    )


@pytest.mark.parametrize("version", [0, 1])
def test_a_tree_is_walked_in_order(version):
    dag = Dag(version)
    steps = dag.steps(tree(dag))
    entered = [(type(step).__name__, step.path) for step in steps if isinstance(step, EnterDir | EnterFile | LinkStep)]
    assert entered == [
        ("EnterDir", ""), ("EnterFile", "a"), ("EnterFile", "b"), ("EnterDir", "c"), ("LinkStep", "c/d"),
        ("EnterFile", "c/e"), ("EnterFile", "f"),
    ]  # fmt: skip
    by_path = {step.path: step.entry for step in steps if isinstance(step, EnterDir | EnterFile | LinkStep)}
    assert by_path["b"].attrs == (True, (-5, 7))
    assert by_path["c/d"].target == "../a"
    assert [by_path[path].size for path in ("a", "b", "c/e", "f")] == [5, len(DATA), 6, 0]
    assert sum(isinstance(step, LeaveDir) for step in steps) == 2


def test_parts_of_a_tree_are_left_out():
    dag = Dag()
    walk = UnixWalk(dag.root(tree(dag)).entry)
    seen = []
    for step in dag.drive(walk):
        if isinstance(step, EnterDir | EnterFile) and step.path:
            seen.append(step.path)
            walk.skip()
        else:
            assert not isinstance(step, Leaf)
    assert seen == ["a", "b", "c", "f"]


def test_hints_are_marked_and_can_be_done_without():
    dag = Dag()
    link = tree(dag)
    guessed = [step.path for step in dag.steps(link) if isinstance(step, EnterFile) and step.guessed]
    assert guessed == ["a"]
    steps = dag.steps(link, hints=False)
    assert not any(step.guessed for step in steps if isinstance(step, EnterFile | Leaf))
    lying = dag.directory([("a", (*dag.raw(b"12345")[:2], 3)), ("b", (*dag.raw(b"678")[:2], None))])
    assert [step.entry.size for step in dag.steps(lying) if isinstance(step, EnterFile)] == [3, 3]
    assert [step.entry.size for step in dag.steps(lying, hints=False) if isinstance(step, EnterFile)] == [5, 3]


@pytest.mark.parametrize(
    ("path", "kind", "size"), [("a", "f", 5), ("b", "f", len(DATA)), ("c", "d", None), ("c/d", "l", 0), ("/c//e/", "f", 6)]
)
def test_paths_are_found(path, kind, size):
    dag = Dag()
    entry = dag.find(tree(dag), path)
    assert entry.kind == kind
    assert size is None or entry.size == size


@pytest.mark.parametrize("path", ["x", "a/b", "b/c", "c/d/e", "..", "c/../a", ".", "A"])
def test_what_is_not_there_is_not_found(path):
    dag = Dag()
    with pytest.raises(NotFound):
        dag.find(tree(dag), path)


def large(dag, count=3000):
    return dag.shard([(f"name {number}", dag.raw(b"%d" % number)) for number in range(count)])


def test_a_large_directory_is_walked_whole_and_a_name_found_by_few_shards():
    dag = Dag()
    link = large(dag)
    names = {step.entry.name for step in dag.steps(link) if isinstance(step, EnterFile)}
    assert names == {f"name {number}" for number in range(3000)}
    shards = len(dag.asked)
    assert shards > 200
    for number in (0, 7, 2999):
        dag.asked.clear()
        assert dag.find(link, f"name {number}").size == len(str(number))
        assert len(dag.asked) <= 4
    with pytest.raises(NotFound):
        dag.find(link, "name 3000")
    assert hash_of("name 7") >> 56 == bucket_of("name 7")


def test_nodes_that_are_needed_soon_are_named():
    dag = Dag()
    link = large(dag, 1000)
    walk = UnixWalk(dag.root(link).entry)
    first = walk.step()
    assert isinstance(first, Need)
    walk.supply(Block(first.cid, dag.blocks[first.cid]))
    while not isinstance(step := walk.step(), Need):
        pass
    assert 100 < len(step.ahead) <= 256
    assert all(cid in dag.blocks for cid in step.ahead)
    with pytest.raises(IntegrityError, match="not the one"):
        walk.supply(Block(first.cid, b""))


# What lies, and what is wrong


def wrong_files(dag):
    raw, leaf = dag.raw, dag.leaf
    three = [raw(b"abc"), raw(b"de"), raw(b"f")]
    yield "filesize is too small", dag.file(three, filesize=5), IntegrityError
    yield "filesize is too large", dag.file(three, filesize=7), IntegrityError
    yield "filesize of inline bytes", dag.node(Data(FILE, b"abc", 4)), IntegrityError
    yield "a size is missing", dag.file(three, blocksizes=(3, 2), filesize=5), DecodeError
    yield "a size too many", dag.file(three, blocksizes=(3, 2, 1, 1), filesize=7), DecodeError
    yield "a dag-pb leaf of another size", dag.file([(leaf(b"abc")[0], 4, 3)]), IntegrityError
    yield "an inner node of another size", dag.file([(dag.file(three)[0], 7, 6)]), IntegrityError
    yield "an inlined leaf of another size", dag.file([(PublicCID.inlined(RAW, b"abc"), 4, 0)]), IntegrityError
    yield "names of parts", dag.file(three, name=b"x"), DecodeError
    yield "a directory in a file", dag.file([(dag.directory([])[0], 5, 0)]), DecodeError
    yield "a link in a file", dag.file([(dag.symlink("x")[0], 1, 0)]), DecodeError
    yield "structured data in a file", dag.file([(PublicCID.of(DAG_CBOR, b"\xa0"), 1, 0)]), DecodeError
    yield "a raw block beyond the limit", dag.file([(PublicCID.of(RAW, b"x"), 5 << 20, 0)]), IntegrityError
    yield "a file beyond the limit", dag.file([(PublicCID.of(RAW, b"x"), 1 << 60, 0)] * 2), LimitExceeded
    yield "no data", dag.node(None), DecodeError
    yield "data that are no UnixFS", dag.node(b"\xff\xff"), DecodeError
    yield "metadata", dag.node(Data(METADATA)), DecodeError
    yield "another hash", dag.file([(PublicCID.make(1, DAG_PB, 0x13, bytes(64)), 5, 0)]), DataError


WRONG_FILES = [name for name, _, _ in wrong_files(Dag())]


@pytest.mark.parametrize("predict", [None, 0])
@pytest.mark.parametrize("which", WRONG_FILES)
def test_a_file_that_lies_is_refused(which, predict):
    dag = Dag()
    link, error = {name: (link, error) for name, link, error in wrong_files(dag)}[which]
    with pytest.raises(error):
        dag.steps(link, predict=predict)


def wrong_directories(dag):
    one = dag.raw(b"x")
    for name in (b"", b".", b"..", b"a/b", b"a\0b", b"\xff", b"x" * 256, b"/etc/passwd"):
        yield f"the name {name[:12]!r}", dag.directory([(name, one)]), UnsafeName
    yield "a target with NUL", dag.directory([("a", dag.symlink("x\0"))]), UnsafeName
    yield "a target that is no text", dag.directory([("a", dag.symlink(b"\xff"))]), UnsafeName
    yield "an empty target", dag.directory([("a", dag.symlink(""))]), UnsafeName
    yield "a link with links", dag.directory([("a", dag.node(Data(SYMLINK, b"x"), [PBLink(one[0], b"", 1)]))]), DecodeError
    yield "structured data", dag.directory([("a", (PublicCID.of(DAG_CBOR, b"\xa0"), 1, 1))]), DecodeError
    yield "the key of a name", dag.directory([("a", (PublicCID.inlined(0x72, b"x"), 1, 1))]), DecodeError


def wrong_shards(dag):
    one, name = dag.raw(b"x"), "file"
    bucket = bucket_of(name)
    bits = (1 << bucket).to_bytes(bucket // 8 + 1, "big")
    right = PBLink(one[0], b"%02X" % bucket + name.encode(), 1)

    def shard(links, bitmap=bits, fanout=256, hash_type=0x22):
        return dag.node(Data(HAMT_SHARD, bitmap, hash_type=hash_type, fanout=fanout), links, canonical=False)

    for fanout in (0, 1, 4, 12, 255, 300, 2048, 1 << 40):
        yield f"fan-out {fanout}", shard([right], fanout=fanout), DecodeError
    yield "no fan-out", shard([right], fanout=None), DecodeError
    yield "another hash", shard([right], hash_type=0x12), DecodeError
    yield "no hash", shard([right], hash_type=None), DecodeError
    yield "a bitmap of nothing", shard([right], bitmap=b""), IntegrityError
    yield "a bitmap of another bucket", shard([right], bitmap=b"\x01" + bytes(31)), IntegrityError
    yield "a bitmap that is too long", shard([right], bitmap=bytes(33)), DecodeError
    yield "a name in another bucket", shard([PBLink(one[0], b"%02X" % (bucket ^ 1) + b"file", 1)]), IntegrityError
    wrong = bucket ^ 1
    hidden = (1 << wrong).to_bytes(wrong // 8 + 1, "big")
    yield "a name where it is not found", shard([PBLink(one[0], b"%02Xfile" % wrong, 1)], bitmap=hidden), IntegrityError
    yield "no bucket", shard([PBLink(one[0], b"zzfile", 1)]), DecodeError
    yield "a bucket as Python has it", shard([PBLink(one[0], b"0XFfile", 1)], fanout=512), DecodeError
    yield "a bucket in lower case", shard([PBLink(one[0], b"%02xfile" % 0xAB, 1)]), DecodeError
    yield "a bucket with a sign", shard([PBLink(one[0], b"+1file", 1)]), DecodeError
    yield "no name at all", shard([PBLink(one[0], b"", 1)]), DecodeError
    yield "one bucket twice", shard([right, right]), DecodeError
    yield "a raw shard", shard([PBLink(one[0], b"%02X" % bucket, 1)]), DecodeError
    yield "a file as shard", shard([PBLink(dag.leaf(b"x")[0], b"%02X" % bucket, 1)]), DecodeError
    yield "a directory as shard", shard([PBLink(dag.directory([])[0], b"%02X" % bucket, 1)]), DecodeError
    inner = dag.node(Data(HAMT_SHARD, b"\x01", hash_type=0x22, fanout=16), [PBLink(one[0], b"0x", 1)])
    yield "a shard of another fan-out", shard([PBLink(inner[0], b"%02X" % bucket, 1)]), DecodeError
    yield "an unsafe name", shard([PBLink(one[0], b"%02X../x" % bucket, 1)]), UnsafeName
    deep = shard([right])
    for _ in range(9):
        deep = shard([PBLink(deep[0], b"%02X" % bucket, 1)])
    yield "too deep", deep, LimitExceeded


@pytest.mark.parametrize("which", [name for name, _, _ in (*wrong_directories(Dag()), *wrong_shards(Dag()))])
def test_a_directory_that_lies_is_refused(which):
    dag = Dag()
    found = {name: (link, error) for name, link, error in (*wrong_directories(dag), *wrong_shards(dag))}
    link, error = found[which]
    with pytest.raises(error) as caught:
        dag.steps(link)
    assert len(str(caught.value)) < 700


def test_an_error_comes_again():
    dag = Dag()
    link = dag.directory([("a", dag.symlink("x\0"))])
    walk = UnixWalk(dag.root(link).entry)
    for _ in range(2):
        with pytest.raises(UnsafeName):
            list(dag.drive(walk))


def test_of_two_entries_with_one_name_the_first_counts():
    dag = Dag()
    link = dag.directory([("a", dag.raw(b"first")), ("a", dag.raw(b"later")), ("b", dag.raw(b"x"))])
    assert [step.entry.name for step in dag.steps(link) if isinstance(step, EnterFile)] == ["a", "b"]
    assert dag.find(link, "a").size == 5
    assert dag.find(link, "a").cid == CID.of(RAW, b"first")


def test_files_that_unfold_without_end_are_refused(monkeypatch):
    monkeypatch.setattr(walk_module, "_SMALL_LEAVES_MAX", 500)
    dag = Dag()
    link = dag.leaf(b"x")
    for _ in range(8):
        link = dag.file([link] * 10)
    with pytest.raises(LimitExceeded, match="leaves have less"):
        dag.steps(link)


def test_what_is_nested_too_deep_is_refused():
    dag = Dag()
    link = dag.directory([])
    for _ in range(129):
        link = dag.directory([("d", link)])
    with pytest.raises(LimitExceeded, match="nested"):
        dag.steps(link)
    link = dag.leaf(b"x")
    for _ in range(34):
        link = dag.file([link])
    with pytest.raises(LimitExceeded, match="nested"):
        dag.steps(link)


@pytest.mark.slow
def test_a_directory_in_a_directory_as_large_as_can_be_takes_bounded_memory():
    dag = Dag()
    link = dag.directory([])
    for _ in range(8):
        link = dag.directory([("0", link), *((f"{number:05}", dag.raw(b"x")) for number in range(25_000))])
    with pytest.raises(LimitExceeded, match="memory"):
        dag.steps(link)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_node_or_an_error(data):
    try:
        decode(Block(CID.of(DAG_PB, data), data))
    except DataError:
        return


def test_a_block_of_another_codec_is_no_node():
    with pytest.raises(DecodeError):
        decode(Block(CID.of(RAW, b""), b""))
    assert DIRECTORY == 1
