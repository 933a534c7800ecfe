"""Bencoding, Merkle roots and what a torrent has (specs/0036; BEP 3, 47, 52)."""

from __future__ import annotations

import hashlib

import pytest

from wherry.errors import LimitExceeded, UsageError
from wherry.torrent import metainfo
from wherry.torrent.bencode import encode
from wherry.torrent.metainfo import LEAF_BYTES, PIECE_BYTES_MAX, Metainfo, root_of
from wherry.torrent.read import read_torrent
from wherry.transfer.torrent_out import odd_names, seed_of


def sha(data):
    return hashlib.sha256(data).digest()


def made(files, **options):
    """Gives the info dictionary's bytes of a torrent of these files."""
    run = Metainfo("name", **options)
    for parts, data in files:
        run.begin(parts)
        for start in range(0, len(data), 10_000):
            run.update(data[start : start + 10_000])
        run.end()
    return run.finish()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, b"i0e"), (-3, b"i-3e"), (b"", b"0:"), ("\u00e4", b"2:\xc3\xa4"), ([1, [b"a"]], b"li1el1:aee"),
        ({"b": 1, b"a": 2}, b"d1:ai2e1:bi1ee"), ({b"\xff": 1, b"a": {}}, b"d1:ade1:\xffi1ee"),
    ],
)  # fmt: skip
def test_values_are_written_as_bep_3_says(value, said):
    assert encode(value) == said


@pytest.mark.parametrize("value", [True, None, 1.5, {1: 2}, [object()]])
def test_what_has_no_form_is_refused(value):
    with pytest.raises((TypeError, AttributeError)):
        encode(value)


def test_roots_are_filled_up_with_zeros():
    a, b, c = (sha(text) for text in (b"a", b"b", b"c"))
    zero = bytes(32)
    assert root_of([a]) == a
    assert root_of([a, b]) == sha(a + b)
    assert root_of([a, b, c]) == sha(sha(a + b) + sha(c + zero))
    five = root_of([a, b, c, a, b])
    assert five == sha(sha(sha(a + b) + sha(c + a)) + sha(sha(b + zero) + sha(zero + zero)))


def test_a_file_of_one_leaf_has_its_hash_as_root_and_no_layer():
    torrent = made([((), b"x" * 100)], hybrid=False)
    assert b"11:pieces root32:" + sha(b"x" * 100) in torrent
    assert b"12:piece layersde" in torrent
    assert b"6:pieces" not in torrent


def test_a_file_of_two_pieces_has_a_layer():
    data = bytes(range(256)) * (LEAF_BYTES // 256) + b"y"
    torrent = made([((), data)], piece_bytes=LEAF_BYTES, hybrid=True)
    one, two = sha(data[:LEAF_BYTES]), sha(b"y")
    assert b"12:piece layersd32:" + sha(one + two) + b"64:" + one + two in torrent
    sha1 = [hashlib.sha1(part).digest() for part in (data[:LEAF_BYTES], b"y")]
    assert b"6:pieces40:" + b"".join(sha1) in torrent


def test_files_of_version_1_begin_with_a_piece():
    torrent = made([(("a",), b"1"), (("b", "c"), b"22"), (("empty",), b"")], piece_bytes=LEAF_BYTES)
    pad = LEAF_BYTES - 1
    assert b"d4:attr1:p6:lengthi%de4:pathl4:.pad5:%dee" % (pad, pad) in torrent
    first = hashlib.sha1(b"1" + bytes(pad)).digest()
    assert first in torrent
    assert b"5:emptyd0:d6:lengthi0eee" in torrent


def test_version_1_alone_has_no_padding():
    torrent = made([(("a",), b"1" * LEAF_BYTES), (("b",), b"2"), (("c",), b"3")], piece_bytes=LEAF_BYTES, v1_only=True)
    assert b".pad" not in torrent
    assert b"meta version" not in torrent
    assert b"piece layers" not in torrent
    pieces = hashlib.sha1(b"1" * LEAF_BYTES).digest() + hashlib.sha1(b"23").digest()
    assert b"6:pieces40:" + pieces in torrent
    assert read_torrent(torrent).v2 is None


def test_trackers_and_seeds_are_no_part_of_what_is_hashed():
    plain = Metainfo("n")
    plain.begin(())
    plain.update(b"x")
    plain.end()
    bare, full = plain.finish(), plain.finish(trackers=["http://t/a", "http://t/b"], webseeds=["http://w/ipfs/"])
    info = bare[bare.index(b"4:info") : bare.index(b"12:piece layers")]
    assert info in full
    assert b"8:announce10:http://t/a" in full
    assert b"8:url-listl14:http://w/ipfs/e" in full


@pytest.mark.parametrize("piece", [0, 1000, LEAF_BYTES // 2, 3 * LEAF_BYTES, 2 * PIECE_BYTES_MAX, 1 << 60])
def test_lengths_that_no_piece_has(piece):
    with pytest.raises(UsageError):
        Metainfo("n", piece_bytes=piece)


def test_nothing_has_no_torrent():
    with pytest.raises(UsageError):
        Metainfo("n").finish()


def test_padding_may_be_longer_than_what_is_hashed_at_once():
    long = 4 * metainfo.PIECE_BYTES
    torrent = made([(("a",), b"1"), (("b",), b"2")], piece_bytes=long)
    pieces = [hashlib.sha1(data + bytes(long - 1)).digest() for data in (b"1", b"2")]
    assert b"6:pieces40:" + b"".join(pieces) in torrent


@pytest.mark.parametrize("name", ["", ".", "..", "bafy/sub", "/"])
def test_names_that_clients_would_change(name):
    with pytest.raises(UsageError):
        Metainfo(name)


def test_pieces_of_all_files_together_are_bound(monkeypatch):
    monkeypatch.setattr(metainfo, "PIECES_MAX", 3)
    run = Metainfo("n", piece_bytes=LEAF_BYTES)
    for name in ("a", "b"):
        run.begin((name,))
        run.update(bytes(LEAF_BYTES + 1))
        run.end()
    run.begin(("c",))
    with pytest.raises(LimitExceeded):
        run.update(bytes(LEAF_BYTES))
    old = Metainfo("n", piece_bytes=LEAF_BYTES, v1_only=True)
    old.begin(())
    with pytest.raises(LimitExceeded):
        old.update(bytes(4 * LEAF_BYTES))


@pytest.mark.parametrize(
    ("address", "path", "said"),
    [
        ("http://h:1", "", "http://h:1/ipfs/"), ("http://h:1/", "", "http://h:1/ipfs/"),
        ("https://[::1]:1/ipfs/", "", "https://[::1]:1/ipfs/"), ("http://h/wherry", "", "http://h/wherry/ipfs/"),
        ("http://h:1", "a", "http://h:1/ipfs/bafy/"), ("http://h:1", "a b/\u00e4/c", "http://h:1/ipfs/bafy/a%20b/%C3%A4/"),
    ],
)  # fmt: skip
def test_web_seeds_are_folders_of_the_gateway(address, path, said):
    assert seed_of(address, "bafy", path) == said


@pytest.mark.parametrize(
    "address", ["", "h:1", "ftp://h", "http://", "http://h:x", "http://h:99999", "http://h:0", "http://[h", "http://h/?a", "http://h#a",
                "http://h /", "http://\u00e4", "http://h\n"],
)  # fmt: skip
def test_addresses_that_no_web_seed_has(address):
    with pytest.raises(UsageError):
        seed_of(address, "bafy", "")


def test_a_torrent_that_no_client_would_read_is_refused_before_it_is_made():
    tib = 1 << 40
    Metainfo("name").expect(300 << 30)
    for options, fits in (({}, 4), ({"hybrid": False}, 2), ({"v1_only": True}, 2), ({"piece_bytes": 16 << 10}, 4)):
        with pytest.raises(LimitExceeded, match="clients do not read") as caught:
            Metainfo("name", **options).expect(tib)
        assert caught.value.hint == f"take longer pieces: --piece {fits}MiB"
        Metainfo("name", **{**options, "piece_bytes": fits << 20}).expect(tib)
    with pytest.raises(LimitExceeded) as caught:
        Metainfo("name").expect(1000 * tib)
    assert "each part" in caught.value.hint


def test_names_that_clients_may_change_are_said_with_how_many():
    assert odd_names([("n", "a"), ("n", "b", "c"), ("n",)]) is None
    one = odd_names([("n", "a\\b", "c"), ("n", "a\\b", "d")])  # the folder is said once
    assert one.startswith(r"'n/a\\b': the name has '\\' in it, which Windows cannot write. Ordinary clients")
    assert "--names posix" in one
    more = odd_names([("n", "a?"), ("n", "b", "nul"), ("n", "b", "x"), ("n", "b", "X")])
    assert more.startswith("'n/a?': the name has '?' in it, which Windows cannot write; so it is with 2 more names. ")
    assert odd_names([("n?",)]).startswith("'n?': ")
    assert "'n/X': the name differs from 'x' only by case" in odd_names([("n", "x"), ("n", "X")])
