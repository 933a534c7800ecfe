"""Sealed blocks, headers and lists: the vectors of specs/0016, and what they cannot list."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wherry import dagcbor, errors, manifest
from wherry.block import Block, named
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.errors import DataError, DecodeError, IntegrityError, NoKey, UsageError
from wherry.sealing import blocks, header
from wherry.sealing.blocks import BlockList
from wherry.sealing.header import WRAPS_MAX, Header
from wherry.sealing.identity import Identity
from wherry.sealing.seal import LEAF_PLAIN_MAX, Scheme, Sealing, check_leaf_bytes, padded
from wherry.sealing.sealer import Sealer
from wherry.wiring import Wiring

SPECS = Path(__file__).parents[2] / "specs"
VECTORS = json.loads((SPECS / "vectors/encryption.json").read_text())
CONTENT = bytes.fromhex(VECTORS["content_hex"])
KEY = hashlib.sha256(b"a key").digest()


@pytest.fixture(scope="module")
def sealing_of(tmp_path_factory):
    wiring = Wiring(tmp_path_factory.mktemp("home"), None, {})
    return lambda scheme: wiring.sealings.of(Scheme.parse(scheme))


@pytest.fixture(scope="module")
def sealing(sealing_of):
    return sealing_of("xchacha20poly1305/domain/none/")


def plain_of(size):
    joined = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(size // 32 + 1))
    return joined[:size]


# Vectors


@pytest.mark.parametrize("vector", VECTORS["leaves"], ids=lambda one: f"{one['scheme']}{one['size']}")
def test_leaves_are_sealed_as_the_vectors_say(sealing_of, vector):
    sealing, plain, key = sealing_of(vector["scheme"]), plain_of(vector["size"]), bytes.fromhex(vector["key_hex"])
    place = {"offset": vector["offset"], "final": vector["final"]}
    sealed = bytes(sealing.seal_leaf(plain, key, **place))
    assert str(CID.of(RAW, sealed)) == vector["cid"]
    assert len(sealed) == vector["sealed_bytes"] == sealing.wire_size(len(plain))
    assert sealed.hex() == vector.get("sealed_hex", sealed.hex())
    assert bytes(sealing.open_leaf(sealed, key, vector["offset"], len(plain), final=vector["final"])) == plain
    if sealing.scheme.mode == "domain":
        digest, made = Sealer(sealing, CONTENT).leaf(plain, **place, file_key=b"")
        assert (made, digest) == (key, CID.parse(vector["cid"]).digest)


@pytest.mark.parametrize("vector", VECTORS["nodes"], ids=lambda one: f"{one['about']} {one['scheme']}")
def test_nodes_are_sealed_as_the_vectors_say(sealing_of, vector):
    sealing, data = sealing_of(vector["scheme"]), bytes.fromhex(vector["node_hex"])
    block, key = Sealer(sealing, CONTENT).node(named(DAG_CBOR, data))
    assert (str(block.cid), block.data.hex(), key.hex()) == (vector["cid"], vector["sealed_hex"], vector["key_hex"])
    assert isinstance(dagcbor.decode(block.data), bytes)  # true to its codec
    opened = sealing.open_node(block, key)
    assert opened == Block(block.cid, data)
    manifest.decode(opened, sealed=True)


@pytest.mark.parametrize("vector", VECTORS["headers"], ids=lambda one: one["about"])
def test_headers_open_as_the_vectors_say(vector):
    block = named(DAG_CBOR, bytes.fromhex(vector["data_hex"]))
    assert str(block.cid) == vector["cid"]
    assert header.is_header(block)
    read = header.decode(block)
    assert read.block() == block
    if vector["wrapping_hex"]:
        found = read.open([bytes(32), bytes.fromhex(vector["wrapping_hex"])], [])
        assert (found.key.hex(), found.sender) == (vector["root_key_hex"], None)
    if vector["identity_secret_hex"]:
        found = read.open([], [Identity.make(), Identity(bytes.fromhex(vector["identity_secret_hex"]))])
        assert found.key.hex() == vector["root_key_hex"]
        assert str(found.sender) == (vector["sender"] or str(found.sender))
    with pytest.raises(NoKey):
        read.open([bytes(32)], [Identity.make()])


def test_lists_are_as_the_vectors_say():
    for vector in VECTORS["lists"]:
        made = []
        whole = BlockList(made.append)
        for text, size in vector["blocks"]:
            whole.add(CID.parse(text), size)
        assert str(whole.finish()) == vector["cid"]
        assert made[-1].data.hex() == vector["data_hex"]
        assert [[str(cid), size] for cid, size in blocks.decode(made[-1])[1]] == vector["blocks"]


def test_lengths_are_padded_as_the_vectors_say():
    assert [[size, padded(size, "padme")] for size, _ in VECTORS["padded"]] == VECTORS["padded"]


@pytest.mark.parametrize("vector", VECTORS["invalid"], ids=lambda one: one["about"])
def test_what_is_malformed_is_refused(vector):
    block = named(DAG_CBOR, bytes.fromhex(vector["data_hex"]))
    read = {"header": header.decode, "list": blocks.decode, "node": lambda one: manifest.decode(one, sealed=True)}[
        vector["what"]
    ]
    with pytest.raises(DataError) as caught:
        read(block)
    assert isinstance(caught.value, getattr(errors, vector["error"]))


# Leaves

schemes = st.builds(
    Scheme,
    st.sampled_from(["xchacha20poly1305", "chacha20poly1305"]),
    st.sampled_from(["domain", "random"]),
    st.sampled_from(["none", "padme"]),
    st.just(""),
)


@given(schemes, st.binary(min_size=1, max_size=3000), st.integers(0, 1 << 50), st.booleans())
def test_what_is_sealed_opens(sealing_of, scheme, plain, offset, final):
    sealing = sealing_of(scheme.name)
    sealed = bytes(sealing.seal_leaf(plain, KEY, offset, final=final))
    assert len(sealed) == sealing.wire_size(len(plain)) <= len(plain) * 1.13 + 18
    assert bytes(sealing.open_leaf(sealed, KEY, offset, len(plain), final=final)) == plain


@given(st.integers(0, (1 << 21) + 5))
def test_padding_hides_lengths_at_an_eighth_more(size):
    long = padded(size, "padme")
    assert size <= long <= size * 1.12 + 1
    assert padded(long, "padme") == long
    assert padded(1 << 20, "padme") == 1 << 20


@pytest.mark.parametrize("mode", ["domain", "random"])
def test_every_bit_of_a_sealed_leaf_counts(sealing_of, mode):
    sealing = sealing_of(f"xchacha20poly1305/{mode}/none/")
    sealed = bytearray(sealing.seal_leaf(b"forty-two bytes", KEY, 0, final=True))
    for bit in range(len(sealed) * 8):
        sealed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(IntegrityError):
            sealing.open_leaf(sealed, KEY, 0, 15, final=True)
        sealed[bit // 8] ^= 1 << bit % 8
    assert bytes(sealing.open_leaf(sealed, KEY, 0, 15, final=True)) == b"forty-two bytes"


@pytest.mark.parametrize("change", ["longer", "shorter", "empty", "size", "key", "cipher", "pad"])
def test_a_leaf_opens_as_what_it_is_and_as_nothing_else(sealing_of, sealing, change):
    sealed, key, size = bytes(sealing.seal_leaf(bytes(100), KEY, 0, final=True)), KEY, 100
    if change == "longer":
        sealed += b"\0"
    elif change == "shorter":
        sealed = sealed[:-1]
    elif change == "empty":
        sealed = b""
    elif change == "size":
        size = 99
    elif change == "key":
        key = bytes(32)
    elif change == "cipher":
        sealing = sealing_of("chacha20poly1305/domain/none/")
    else:
        sealing = sealing_of("xchacha20poly1305/domain/padme/")
    with pytest.raises(IntegrityError):
        sealing.open_leaf(sealed, key, 0, size, final=True)


@pytest.mark.parametrize(("offset", "final"), [(1 << 20, False), (0, True), (1, False)])
def test_with_random_keys_a_leaf_is_bound_to_its_place(sealing_of, offset, final):
    sealing = sealing_of("xchacha20poly1305/random/none/")
    sealed = bytes(sealing.seal_leaf(b"one", KEY, 0, final=False))
    with pytest.raises(IntegrityError):
        sealing.open_leaf(sealed, KEY, offset, 3, final=final)


def test_a_leaf_is_no_node_and_a_node_no_leaf(sealing):
    node = named(DAG_CBOR, b"\xa0")
    sealed = dagcbor.decode(sealing.seal_node(node, KEY).data)
    with pytest.raises(IntegrityError):
        sealing.open_leaf(sealed, KEY, 0, len(sealed) - 16, final=True)
    leaf = bytes(sealing.seal_leaf(b"\0\0\0\1\xa0", KEY, 0, final=True))
    with pytest.raises(IntegrityError):
        sealing.open_node(named(DAG_CBOR, dagcbor.encode(leaf)), KEY)


@pytest.mark.parametrize("data", [b"\xa0", b"\x40", b"\x47short!!", b"\xff"])
def test_what_is_no_sealed_node_is_refused(sealing, data):
    with pytest.raises(DataError):
        sealing.open_node(named(DAG_CBOR, data), KEY)


def test_padding_that_is_not_zeros_is_refused(sealing_of):
    honest, padding = sealing_of("xchacha20poly1305/domain/none/"), sealing_of("xchacha20poly1305/domain/padme/")
    twin = Sealing(Scheme("xchacha20poly1305", "domain", "padme"), padding._cipher)
    room = padded(1000, "padme") - 1000
    assert room > 0
    twin.scheme = honest.scheme._replace(pad="padme")
    sealed = bytearray(room + 1000 + 16)
    key, nonce = twin._leaf_key(KEY, 0, final=True)
    twin._cipher.seal_into(bytes(1000) + b"x" * room, memoryview(sealed), key=key, nonce=nonce, aad=b"wherry sealed/1 leaf")
    with pytest.raises(IntegrityError, match="longer"):
        padding.open_leaf(sealed, KEY, 0, 1000, final=True)


# Equality: what the mode is about


def test_equal_bytes_of_one_domain_are_sealed_equally_and_of_no_other(sealing):
    one, other = Sealer(sealing, CONTENT), Sealer(sealing, bytes(32))
    first = one.leaf(b"data", 0, final=True, file_key=b"")
    assert one.leaf(b"data", 4096, final=False, file_key=b"") == first
    assert other.leaf(b"data", 0, final=True, file_key=b"")[0] != first[0]
    node = named(DAG_CBOR, b"\xa0")
    assert one.node(node) == one.node(node)
    assert one.node(node)[0].cid != other.node(node)[0].cid


def test_with_random_keys_nothing_is_ever_equal(sealing_of):
    sealer = Sealer(sealing_of("xchacha20poly1305/random/none/"), CONTENT)
    one, two = sealer.file_key(), sealer.file_key()
    digests = [sealer.leaf(b"data", offset, final=False, file_key=key)[0] for key in (one, two) for offset in (0, 4)]
    assert len(set(digests)) == 4
    node = named(DAG_CBOR, b"\xa0")
    assert len({sealer.node(node)[0].cid for _ in range(100)}) == 100


class Versions:
    """A compressor of which two versions give other bytes for the same data, as real ones do."""

    def __init__(self):
        self.version = b"1"

    def encode(self, data, *, name):
        return name, self.version + bytes(data)[:50]


def test_bytes_that_were_coded_otherwise_never_meet_the_same_key(sealing):
    codings = Versions()
    coding = Sealing(Scheme("xchacha20poly1305", coding="zstd"), sealing._cipher, codings)
    kept = {}
    sealer = Sealer(coding, CONTENT, kept.__setitem__)
    first, one = sealer.leaf(bytes(1000), 0, final=True, file_key=b"")
    assert sealer.leaf(bytes(1000), 0, final=True, file_key=b"") == (first, one)
    codings.version = b"2"
    second, other = sealer.leaf(bytes(1000), 0, final=True, file_key=b"")
    assert first != second
    assert one != other
    assert {hashlib.sha256(data).digest() for data in kept.values()} == {first, second} == set(kept)


def test_leaves_that_would_not_fit_a_block_are_refused():
    check_leaf_bytes(LEAF_PLAIN_MAX)
    with pytest.raises(UsageError, match="2 MiB"):
        check_leaf_bytes(LEAF_PLAIN_MAX + 1)


@given(st.text(max_size=60))
def test_any_text_is_a_scheme_or_a_data_error(text):
    try:
        assert Scheme.parse(text).name == text
    except DecodeError:
        return


# Headers


def made(key=KEY):
    root, listed = named(DAG_CBOR, b"\xa0").cid, named(DAG_CBOR, b"\xa1").cid
    return Header.make(Scheme("xchacha20poly1305"), root, key, listed)


def test_the_same_key_makes_the_same_header_and_a_recipient_never_does():
    assert made().for_key(KEY, bytes(32)).block() == made().for_key(KEY, bytes(32)).block()
    assert made().for_key(KEY, bytes(32)).for_key(KEY, bytes(32)) == made().for_key(KEY, bytes(32))
    reader, sender = Identity.make(), Identity.make()
    assert (
        made().for_recipient(KEY, reader.recipient, sender).block()
        != made().for_recipient(KEY, reader.recipient, sender).block()
    )


@pytest.mark.parametrize("field", ["commit", "root"])
def test_a_wrap_opens_in_its_own_header_only(field):
    one = made().for_key(KEY, bytes(32))
    other = {"commit": bytes(32), "root": named(DAG_CBOR, b"\xa2").cid}[field]
    moved = Header(one.scheme, **{"root": one.root, "blocks": one.blocks, "commit": one.commit, field: other}, wraps=one.wraps)
    with pytest.raises(NoKey):
        moved.open([bytes(32)], [])


def test_a_header_whose_wrap_gives_another_key_than_it_commits_to_is_refused():
    two_faced = made().for_key(bytes(32), bytes(range(32)))  # wraps another key than KEY
    with pytest.raises(IntegrityError, match="commit"):
        two_faced.open([bytes(range(32))], [])


def test_a_grant_that_its_sender_did_not_sign_is_refused():
    reader, sender, forger = Identity.make(), Identity.make(), Identity.make()
    base = made()
    bound = base._bound()
    signature = forger.sign(b"wherry sealed/1 grant" + bound + bytes(reader.recipient))
    forged = base._with(header.Wrap("to", reader.recipient.seal(KEY + bytes(sender.recipient) + signature)))
    with pytest.raises(IntegrityError, match="sign"):
        forged.open([], [reader])
    for payload in (b"", KEY, KEY + bytes(64)):
        with pytest.raises(IntegrityError, match="malformed"):
            base._with(header.Wrap("to", reader.recipient.seal(payload))).open([], [reader])


def test_a_grant_to_one_is_no_grant_to_another():
    reader, other, sender = Identity.make(), Identity.make(), Identity.make()
    granted = made().for_recipient(KEY, reader.recipient, sender)
    payload = reader.open(granted.wraps[0].box)
    passed_on = made()._with(header.Wrap("to", other.recipient.seal(payload)))
    with pytest.raises(IntegrityError, match="sign"):
        passed_on.open([], [other])


def test_there_is_room_for_so_many_and_no_more():
    full = made()
    for number in range(WRAPS_MAX):
        full = full.for_key(KEY, number.to_bytes(32, "big"))
    assert header.decode(full.block()).open([(63).to_bytes(32, "big")], []).key == KEY
    with pytest.raises(UsageError, match="64"):
        full.for_key(KEY, bytes(31) + b"\xff")


def test_a_header_for_many_recipients_is_seen_as_one():
    full, sender, readers = made(), Identity.make(), [Identity.make() for _ in range(WRAPS_MAX)]
    for reader in readers:
        full = full.for_recipient(KEY, reader.recipient, sender)
        assert header.is_header(full.block())
    assert header.decode(full.block()).open([], [readers[-1]]).key == KEY


def test_no_secret_is_shown():
    unlocked = made().for_key(KEY, bytes(32)).open([bytes(32)], [])
    assert KEY.hex() not in repr(unlocked)
    assert repr(KEY)[2:10] not in repr(unlocked)


# Lists


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2500))
def test_a_list_of_any_length_gives_its_blocks_in_order(count):
    kept = {}
    whole = BlockList(lambda block: kept.update({block.cid: block}))
    listed = [(named(RAW, b"%d" % number).cid, number + 1) for number in range(count)]
    for cid, size in listed:
        whole.add(cid, size)
    assert [(cid, size) for some in drive(whole.finish(), kept) for cid, size in some] == listed


def drive(root, kept):
    walking = blocks.walk(root)
    item = next(walking, None)
    while item is not None:
        if isinstance(item, list):
            yield item
            item = next(walking, None)
        else:
            item = walking_send(walking, kept[item])


def walking_send(walking, block):
    try:
        return walking.send(block)
    except StopIteration:
        return None


@pytest.mark.parametrize("lie", ["size", "level"])
def test_a_list_whose_nodes_differ_from_their_listing_is_refused(lie):
    kept = {}
    keep = lambda block: kept.update({block.cid: block})  # noqa: E731 - a one-line callback
    below = BlockList(keep)
    below.add(named(RAW, b"x").cid, 7)
    bottom = below.finish()
    level, size = (1, 8) if lie == "size" else (2, 7)
    data = dagcbor.encode({"wherry": "blocks/1", "level": level, "links": [bottom], "sizes": [size]})
    top = named(DAG_CBOR, data)
    keep(top)
    with pytest.raises(IntegrityError, match="parent"):
        list(drive(top.cid, kept))
