"""Reading torrents and magnet links, good and hostile; the vectors of specs/0036."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torrents import CONTENTS, hybrid

from wherry import errors
from wherry.errors import DataError, DecodeError, IntegrityError, LimitExceeded, UnsafeName
from wherry.torrent import read
from wherry.torrent.addresses import seeds_at
from wherry.torrent.bencode import decode, encode
from wherry.torrent.magnet import parse_magnet
from wherry.torrent.read import check_names, read_info, read_torrent
from wherry.torrent.verify import verify

VECTORS = json.loads((Path(__file__).parents[2] / "specs/vectors/torrents.json").read_text())


def named(cases):
    return [pytest.param(case, id=case["name"]) for case in cases]


@pytest.mark.parametrize("case", named(VECTORS["bencode"]["valid"]))
def test_good_bencoding_is_read_and_written_again(case):
    data = bytes.fromhex(case["hex"])
    assert encode(decode(data)) == data


@pytest.mark.parametrize("case", named(VECTORS["bencode"]["invalid"]))
def test_bad_bencoding_is_refused(case):
    with pytest.raises(getattr(errors, case["error"])):
        decode(bytes.fromhex(case["hex"]))


def test_too_many_values_are_refused():
    with pytest.raises(LimitExceeded):
        decode(b"l" + b"i0e" * 11 + b"e", items_max=10)


def test_a_huge_length_takes_no_memory():
    tracemalloc.start()
    with pytest.raises(DataError):
        decode(b"d1:a9999999999:")
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


VALUES = st.recursive(
    st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner, max_size=4),
    max_leaves=8,
)
MODEST = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])  # on a busy machine, too


@MODEST
@given(VALUES)
def test_every_value_comes_back(value):
    assert decode(encode(value)) == value


@MODEST
@given(st.binary(max_size=60) | VALUES.map(encode).flatmap(lambda data: st.integers(0, len(data)).map(lambda at: data[:at])))
def test_whatever_comes_is_refused_or_has_one_form(data):
    try:
        value = decode(data)
    except DataError:
        return
    assert encode(value) == data


@pytest.mark.parametrize("case", named(VECTORS["torrents"]["valid"]))
def test_good_torrents_are_read(case):
    found = read_torrent(bytes.fromhex(case["hex"]))
    assert (found.v1 and found.v1.hex(), found.v2 and found.v2.hex()) == (case["v1"], case["v2"])
    assert found.id == (case["v2"] or case["v1"])
    assert (found.name, found.single, found.piece_bytes) == (case["torrent_name"], case["single"], case["piece_bytes"])
    assert [["/".join(file.parts), file.size] for file in found.files] == case["files"]
    assert found.size == sum(size for _, size in case["files"])
    assert (list(found.trackers), list(found.webseeds)) == (case["trackers"], case["webseeds"])
    alone = read_info(found.info)
    assert (alone.v1, alone.v2, alone.files, alone.layers) == (found.v1, found.v2, found.files, None)
    check_names(found, portable=True)


@pytest.mark.parametrize("case", named(VECTORS["torrents"]["invalid"]))
def test_bad_torrents_are_refused(case):
    with pytest.raises(getattr(errors, case["error"])):
        check_names(read_torrent(bytes.fromhex(case["hex"])), portable=False)


def test_torrents_are_bounded(monkeypatch):
    for module_bound in ("TORRENT_FILES_MAX",):
        monkeypatch.setattr(read, module_bound, 2)
    files = [((name,), b"x") for name in ("a", "b", "c")]
    for data in (hybrid(files), hybrid(files, hybrid=False)):
        with pytest.raises(LimitExceeded):
            read_torrent(data)
    monkeypatch.setattr(read, "TORRENT_BYTES_MAX", 10)
    for reads in (read_torrent, read_info):
        with pytest.raises(LimitExceeded):
            reads(b"d" + bytes(20))


@pytest.mark.parametrize("data", [b"le", b"i1e", b"de", b"0:"])
def test_what_is_no_info_dictionary(data):
    with pytest.raises(DataError):
        read_info(data)


@pytest.mark.parametrize("names", [["a", "A"], ["\u00e4", "a\u0308"], ["con"], ["a:b"], ["x."], ["a\\b"]])
def test_names_that_do_not_mean_the_same_everywhere(names):
    found = read_torrent(hybrid([((name,), b"x") for name in sorted(names, key=str.encode)]))
    check_names(found, portable=False)
    with pytest.raises(UnsafeName):
        check_names(found, portable=True)


def test_folders_that_differ_by_case_collide_too():
    found = read_torrent(hybrid([(("A", "x"), b"x"), (("a", "y"), b"x")]))
    with pytest.raises(UnsafeName):
        check_names(found, portable=True)


@pytest.mark.parametrize("case", named(VECTORS["magnets"]["valid"]))
def test_good_magnets_are_read(case):
    found = parse_magnet(case["text"])
    assert (found.v1 and found.v1.hex(), found.v2 and found.v2.hex()) == (case["v1"], case["v2"])
    assert (found.name, found.id) == (case["dn"], case["v2"] or case["v1"])
    assert (list(found.trackers), list(found.webseeds), list(found.peers)) == (
        case["trackers"], case["webseeds"], case["peers"],
    )  # fmt: skip
    again = parse_magnet(found.text())
    assert (again.v1, again.v2, again.trackers, again.webseeds) == (found.v1, found.v2, found.trackers, found.webseeds)


@pytest.mark.parametrize("letter", ["é", "ı", "ſ", "\u0661", "ａ"])
@pytest.mark.parametrize(("kind", "count"), [("btih", 32), ("btih", 40), ("btmh", 68)])
def test_a_hash_is_written_in_ascii(kind, count, letter):
    with pytest.raises(DecodeError, match="is no infohash"):
        parse_magnet(f"magnet:?xt=urn:{kind}:{letter * count}")
    with pytest.raises(DecodeError, match="is no infohash"):
        parse_magnet(f"magnet:?xt=urn:{kind}:{'a' * (count - 1)}{letter}")


@pytest.mark.parametrize("case", named(VECTORS["magnets"]["invalid"]))
def test_bad_magnets_are_refused(case):
    with pytest.raises(getattr(errors, case["error"])):
        parse_magnet(case["text"])


def pieces_of(contents):
    return lambda index: (contents[index][at : at + 10_000] for at in range(0, len(contents[index]), 10_000))


@pytest.mark.parametrize("kind", CONTENTS)
def test_files_are_compared_with_the_torrent(kind):
    data, contents = CONTENTS[kind]
    torrent = read_torrent(data)
    verify(torrent, pieces_of(contents))
    for index, content in enumerate(contents):
        for wrong in {content[:-1], content + b"y", b"\x01" + content[1:]} - {content}:
            with pytest.raises(IntegrityError) as caught:
                verify(torrent, pieces_of([*contents[:index], wrong, *contents[index + 1 :]]))
            assert "/".join(torrent.files[index].parts) in str(caught.value)


def test_a_comparison_can_be_stopped_in_padding_too():
    files = [{"path": ["a"], "length": 1}, {"path": [".pad", "1"], "attr": "p", "length": 255 << 20}]
    info = {"name": "n", "piece length": 256 << 20, "files": files, "pieces": bytes(20)}
    heard = []

    def padded(count):
        heard.append(count)
        if len(heard) == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        verify(read_torrent(encode({"info": info})), pieces_of([b"x"]), padded)
    assert heard == [1 << 20] * 3


@pytest.mark.parametrize(
    ("named", "places"),
    [
        ("http://192.0.2.1:4290", ("http://192.0.2.1:4290/ipfs/", "http://192.0.2.1:4290/")),
        ("http://192.0.2.1:4290/", ("http://192.0.2.1:4290/ipfs/", "http://192.0.2.1:4290/")),
        ("http://192.0.2.1:4290/ipfs/", ("http://192.0.2.1:4290/ipfs/",)),
        ("https://data.example/a/", ("https://data.example/a/",)),
        ("https://data.example?key=1", ("https://data.example?key=1",)),
    ],
)
def test_a_server_of_wherry_is_a_web_seed_by_its_bare_address(named, places):
    assert seeds_at(named) == places
