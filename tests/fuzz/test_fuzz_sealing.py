"""Any bytes, into every decoder of encryption: only typed errors leave, in bounded time and memory (specs/0016).

Sealed nodes and leaves are given in two ways: bytes that do not open, and bytes that somebody sealed with the right key who
means harm. ``corpus/sealing`` keeps blocks, one a file, named by what they try; what is ever found goes there.
"""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mutation import mutated

from wherry import dagcbor, manifest
from wherry.block import named
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.errors import DataError, DecodeError, IntegrityError, WherryError
from wherry.limits import FANOUT, LEAF_BYTES_MAX, NODE_BYTES_MAX
from wherry.sealing import blocks, header
from wherry.sealing.identity import Identity
from wherry.sealing.seal import Scheme
from wherry.wiring import Wiring

pytestmark = pytest.mark.uncounted  # coverage would double its time, and adds few lines

CORPUS = sorted(path for path in Path(__file__).with_name("corpus").glob("sealing/*") if path.is_file())
KEY = bytes(range(32))
IDENTITY = Identity(bytes(range(64)))
MEMORY_MAX = 24 * NODE_BYTES_MAX
SECONDS_MAX = 10.0  # for what takes milliseconds: it is there to notice what grows with its own size squared
SCHEMES = [
    Scheme("xchacha20poly1305"),
    Scheme("chacha20poly1305", "random", "padme"),
    Scheme("xchacha20poly1305", coding="zstd"),
]
ITEMS = st.integers(-1, (1 << 64) - 1) | st.text(max_size=8) | st.binary(max_size=70) | st.none() | st.booleans()
LINKS = st.sampled_from([CID.of(RAW, b"x"), CID.of(DAG_CBOR, b"x"), CID.of(DAG_CBOR, b"y")]) | ITEMS


@pytest.fixture(scope="module")
def sealings(tmp_path_factory):
    wiring = Wiring(tmp_path_factory.mktemp("home"), None, {})
    return [wiring.sealings.of(scheme) for scheme in SCHEMES]


def feed(data):
    """Gives one block to every decoder of what is not sealed, and walks what is a list of blocks."""
    block = named(DAG_CBOR, data)
    with suppress(DataError):
        header.is_header(block)
    with suppress(DataError):
        read = header.decode(block)
        assert read.block() == block
        with suppress(DataError, WherryError):
            read.open([KEY], [IDENTITY])
    with suppress(DataError):
        manifest.decode(block, sealed=True)
    with suppress(DataError):
        _, items = blocks.decode(block)
        assert len(items) <= FANOUT
    with suppress(DataError):
        walk = blocks.walk(block.cid)
        step = next(walk)
        for _ in range(100):
            step = walk.send(block) if isinstance(step, CID) else next(walk)


def test_the_corpus_is_there():
    assert len(CORPUS) >= 12


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_the_corpus(path, sealings):
    data = path.read_bytes()
    with suppress(StopIteration):
        feed(data)
    open_all(sealings, data, 100)


@given(st.binary(max_size=300))
@example(b"\xa0")
def test_any_bytes(data):
    with suppress(StopIteration):
        feed(data)


@given(st.sampled_from(CORPUS), st.data())
@settings(deadline=None)
def test_the_corpus_with_bytes_changed(path, data):
    with suppress(StopIteration):
        feed(mutated(path.read_bytes(), data))


@given(
    st.fixed_dictionaries(
        {
            "wherry": st.just("sealed/1"), "cipher": st.text(max_size=70) | ITEMS,
            "mode": st.sampled_from(["domain", "random", ""]) | ITEMS, "pad": st.sampled_from(["none", "padme"]) | ITEMS,
            "coding": st.text(max_size=70) | ITEMS, "root": LINKS, "blocks": LINKS,
            "commit": st.binary(min_size=32, max_size=32) | ITEMS,
            "wraps": st.lists(st.tuples(st.sampled_from(["key", "to", "x"]), st.binary(max_size=600)).map(list), max_size=70)
            | ITEMS,
        }
    )
)  # fmt: skip
@settings(deadline=None)
def test_headers_that_are_nearly_right(value):
    with suppress(DataError):
        feed(dagcbor.encode(value))


@given(
    st.fixed_dictionaries(
        {
            "wherry": st.just("blocks/1"), "level": st.integers(-1, 12) | ITEMS,
            "links": st.lists(LINKS, max_size=5) | ITEMS, "sizes": st.lists(ITEMS, max_size=5) | ITEMS,
        }
    )
)  # fmt: skip
@settings(deadline=None)
def test_lists_of_blocks_that_are_nearly_right(value):
    with suppress(DataError, StopIteration):
        feed(dagcbor.encode(value))


@st.composite
def hostile_lists(draw):
    """A few nodes of lists with links to one another, right in shape, with sums that are mostly right."""
    found = [(CID.of(RAW, b"leaf"), 4)]
    made = {}
    for _ in range(draw(st.integers(1, 6))):
        level = draw(st.integers(0, 3))
        links = draw(st.lists(st.sampled_from(found), max_size=4))
        sizes = [size if draw(st.integers(0, 5)) else draw(st.integers(1, 1 << 61)) for _, size in links]
        value = {"wherry": "blocks/1", "level": level, "links": [cid for cid, _ in links], "sizes": sizes}
        block = named(DAG_CBOR, dagcbor.encode(value))
        made[block.cid] = block
        found.append((block.cid, min(sum(sizes), (1 << 63) - 1)))
    return block.cid, made


@given(hostile_lists())
@settings(deadline=None, max_examples=200)
def test_walks_of_lists_end(drawn):
    root, made = drawn
    walk = blocks.walk(root)
    with suppress(DataError, StopIteration, KeyError):
        step = next(walk)
        for number in range(5000):
            assert number < 4999, "it does not end"
            step = walk.send(made[step]) if isinstance(step, CID) else next(walk)


@given(
    st.text(max_size=200) | st.lists(st.sampled_from(["domain", "random", "none", "padme", "", "x"]), max_size=6).map("/".join)
)
def test_schemes(text):
    with suppress(DecodeError):
        assert Scheme.parse(text).name == text


# What is sealed


def open_all(sealings, data, size):
    """Opens bytes as a node and as a leaf, by each scheme."""
    for sealing in sealings:
        with suppress(DataError):
            sealing.open_node(named(DAG_CBOR, data), KEY)
        with suppress(DataError):
            assert len(sealing.open_leaf(data, KEY, 0, size, final=True)) == size


@given(st.binary(max_size=400), st.integers(0, 500))
@settings(deadline=None)
def test_what_nobody_sealed(sealings, data, size):
    open_all(sealings, data, size)
    with suppress(DataError):
        open_all(sealings, dagcbor.encode(data), size)


@given(
    st.sampled_from(range(len(SCHEMES))),
    st.builds(bytes.__add__, st.sampled_from([b"", b"\0", b"\1", b"\0\0\0\5", b"\1\x28\xb5\x2f\xfd"]), st.binary(max_size=400)),
    st.integers(0, 1 << 20) | st.just(LEAF_BYTES_MAX),
)
@settings(deadline=None)
def test_what_somebody_sealed_who_means_harm(sealings, which, plain, size):
    """The tag is right and what it guards is not: lengths, padding and coded bytes are still a stranger's."""
    sealing = sealings[which]
    cipher = sealing._cipher
    for aad, keys in ((b"wherry sealed/1 leaf", sealing._leaf_key(KEY, 0, final=True)), (b"wherry sealed/1 node", None)):
        key, nonce = keys if keys is not None else sealing._node_key(KEY)
        sealed = bytearray(len(plain) + cipher.tag_bytes)
        cipher.seal_into(plain, memoryview(sealed), key=key, nonce=nonce, aad=aad)
        with suppress(DataError):
            assert len(sealing.open_leaf(bytes(sealed), KEY, 0, size, final=True)) == size
        with suppress(DataError):
            opened = sealing.open_node(named(DAG_CBOR, dagcbor.encode(bytes(sealed))), KEY)
            manifest.decode(opened, sealed=True)


def test_a_coded_leaf_that_swells_is_refused_within_its_size(sealings):
    sealing = sealings[2]
    coded = sealing._codings.encode(bytes(LEAF_BYTES_MAX), name="zstd")[1]
    key, nonce = sealing._leaf_key(KEY, 0, final=True)
    sealed = bytearray(1 + len(coded) + sealing._cipher.tag_bytes)
    sealing._cipher.seal_into(b"\1" + coded, memoryview(sealed), key=key, nonce=nonce, aad=b"wherry sealed/1 leaf")
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError):
            sealing.open_leaf(bytes(sealed), KEY, 0, 100, final=True)
        assert tracemalloc.get_traced_memory()[1] < NODE_BYTES_MAX
    finally:
        tracemalloc.stop()


# Bounds


def largest():
    """Blocks of the largest size that cost most: many wraps, many children, nesting, and what looks like a node."""
    cid = CID.of(DAG_CBOR, b"x")
    base = {
        "wherry": "sealed/1", "cipher": "xchacha20poly1305", "mode": "domain", "pad": "none", "coding": "", "root": cid,
        "blocks": cid, "commit": bytes(32),
    }  # fmt: skip
    yield "64 wraps", dagcbor.encode({**base, "wraps": [["key", bytes(512)]] * 32 + [["to", bytes(512)]] * 32})
    yield "10,000 wraps", dagcbor.encode({**base, "wraps": [["key", b""]] * 10_000})
    yield "a long name", dagcbor.encode({**base, "cipher": "a" * 900_000, "wraps": []})
    many = {"wherry": "blocks/1", "level": 0}
    yield "1,024 blocks", dagcbor.encode({**many, "links": [cid] * FANOUT, "sizes": [1] * FANOUT})
    yield "20,000 blocks", dagcbor.encode({**many, "links": [cid] * 20_000, "sizes": [1] * 20_000})
    yield "a long number", b"\xa1\x67sealed/1" + b"\x9a\x00\x0f\xff\x00" + b"\x80" * 1_000_000
    yield "a byte string", dagcbor.encode(bytes(NODE_BYTES_MAX - 10))


@pytest.mark.slow
@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in largest()])
def test_time_and_memory_are_bounded_by_the_size_of_a_block(sealings, data):
    began = time.process_time()
    tracemalloc.start()
    try:
        with suppress(StopIteration):
            feed(data)
        open_all(sealings, data, LEAF_BYTES_MAX)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
    finally:
        tracemalloc.stop()
    assert time.process_time() - began < SECONDS_MAX


@pytest.mark.slow
def test_a_list_of_itself_many_times_is_walked_in_bounded_memory():
    """1,024 children that are one node, eight levels deep: 10^24 blocks, listed in eight nodes."""
    cid, size, made = CID.of(RAW, b"leaf"), 1, {}
    for level in range(9):
        value = {"wherry": "blocks/1", "level": level, "links": [cid] * FANOUT, "sizes": [size] * FANOUT}
        block = named(DAG_CBOR, dagcbor.encode(value))
        made[block.cid] = block
        if size * FANOUT > 1 << 60:
            break
        cid, size = block.cid, size * FANOUT
    tracemalloc.start()
    try:
        walk = blocks.walk(cid)
        step = next(walk)
        for _ in range(300):
            step = walk.send(made[step]) if isinstance(step, CID) else next(walk)
        assert tracemalloc.get_traced_memory()[1] < MEMORY_MAX
    finally:
        tracemalloc.stop()
