"""What a gateway reads of a request, and what it says in headers: pure functions on text that anybody may send."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry import dagcbor
from wherry.errors import CIDError, UsageError, WherryError
from wherry.gateway import headers as said
from wherry.gateway.record import freshness, is_over, name_of, value_of
from wherry.gateway.request import Bytes, CarWish, NotAcceptable, target, wish
from wherry.protobuf import varint
from wherry_http.gateway.kinds import media_type
from wherry_http.gateway.page import visible

CID = "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"
CAR_TYPE = "application/vnd.ipld.car"
NAME = "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w"


@pytest.mark.parametrize(
    "path",
    [
        "/ipfs/",
        "/ipfs",
        "/ipfs//x",
        "/ipfs/x",
        f"/ipfs/{CID}/..",
        f"/ipfs/{CID}/a/../b",
        f"/ipfs/{CID}/%2e%2e/x",
        f"/ipfs/{CID}/.",
        f"/ipfs/{CID}/a%2fb",
        f"/ipfs/{CID}/%00",
        f"/ipfs/{CID}/%ff",
        f"/ipfs/{CID}/%zz",
        f"/ipfs/{CID}/%",
        f"/ipfs/{CID[:-1]}",
        f"/ipfs/{CID}x",
        f"/ipfs/{'b' * 5000}",
        f"/ipfs/{CID}/{'a/' * 200}",
        f"/ipfs/{CID}/{'a' * 9000}",
        f"/ipfs/{CID}/\u00e4",
        "/ipfs/%F0%9F%92%A9",
        "/other/x",
        f"/ipfs/{CID}%00",
        "/ipfs/z" + "1" * 4000,
    ],
)
def test_a_bad_path_is_refused(path):
    with pytest.raises((UsageError, CIDError)):
        target(path)


def test_a_path_is_unescaped_once():
    found = target(f"/ipfs/{CID}/a%20b/%252e%252e//%C4%85/")
    assert found.parts == ("a b", "%2e%2e", "ą")
    assert found.slash
    assert said.where(found) == f"/ipfs/{CID}/a%20b/%252e%252e/%C4%85"


@given(st.text(), st.text())
def test_no_text_makes_it_fail_in_another_way(path, query):
    for what in (lambda: target(path), lambda: target("/ipfs/" + path), lambda: wish(query, path), lambda: wish(path, query)):
        try:
            what()
        except WherryError:
            continue


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("", "", None),
        ("", "text/html,*/*;q=0.8", None),
        ("format=raw", CAR_TYPE, "raw"),
        ("format=car", "application/vnd.ipld.raw", "car"),
        ("", "APPLICATION/VND.IPLD.RAW", "raw"),
        ("", f"application/vnd.ipld.raw;q=0.2, {CAR_TYPE} ; q=0.9", "car"),
        ("", f"{CAR_TYPE};q=0", None),
        ("", f"{CAR_TYPE};q=x, application/vnd.ipld.raw;q=0.1", "raw"),
        ("", f"{CAR_TYPE};q=nan", None),
        ("format=ipns-record", "", "ipns-record"),
        ("", f"{CAR_TYPE};version=2, application/vnd.ipld.raw;q=0.1", "raw"),
        ("", f"application/vnd.ipld.raw;q=0.1, {CAR_TYPE};order=bfs", "raw"),
        ("", f"{CAR_TYPE};dups=2, text/html;q=0.5", None),
        ("car-version=1", f"{CAR_TYPE};version=2, application/vnd.ipld.raw;q=0.1", "car"),
    ],
)
def test_formats(query, accept, expected):
    assert wish(query, accept).format == expected


@pytest.mark.parametrize(
    ("query", "accept", "expected"),
    [
        ("format=car", "", CarWish()),
        ("format=car", f"{CAR_TYPE};dups=y", CarWish(dups=True)),
        ("format=car&car-dups=n", f"{CAR_TYPE};dups=y", CarWish()),
        ("", f'{CAR_TYPE} ; version="1" ; order=UNK ; dups = y', None),
        ("", f"{CAR_TYPE} ; version=1 ; order=unk ; dups = y", CarWish(dups=True)),
        ("", f"{CAR_TYPE};version=2, {CAR_TYPE};version=1;dups=y;q=0.1", CarWish(dups=True)),
        ("", f"{CAR_TYPE};version=2, application/vnd.ipld.raw;q=0", None),
        ("format=car&dag-scope=block&dag-scope=all", "", CarWish("block")),
        ("format=car&entity-bytes=1:-2", "", CarWish("entity", Bytes(1, -2))),
        ("format=car&entity-bytes=-9:*&dag-scope=entity", "", CarWish("entity", Bytes(-9, None))),
    ],
)
def test_how_a_car_is_wanted(query, accept, expected):
    if expected is None:
        with pytest.raises(NotAcceptable):
            wish(query, accept)
    else:
        assert wish(query, accept).car == expected


@pytest.mark.parametrize(
    "query",
    [
        "format=x",
        "format=",
        "format=car&dag-scope=x",
        "format=car&entity-bytes=",
        "format=car&entity-bytes=a:b",
        "format=car&entity-bytes=5:1",
        "format=car&entity-bytes=-1:-5",
        "format=car&entity-bytes=*:1",
        "format=car&car-dups=2",
        f"format=car&entity-bytes={'9' * 30}:*",
        "&".join(["a=1"] * 40),
        "a=" + "b" * 9000,
        "format=car&entity-bytes=1",
    ],
)
def test_a_bad_query_is_refused(query):
    with pytest.raises(UsageError):
        wish(query, "")


@pytest.mark.parametrize("query", ["format=car&car-version=2", "format=car&car-order=bfs"])
def test_what_is_not_offered_is_said_to_be_so(query):
    with pytest.raises(NotAcceptable):
        wish(query, "")


@pytest.mark.parametrize(
    ("span", "size", "expected"),
    [
        (Bytes(0, None), 10, (0, 10)),
        (Bytes(0, 0), 10, (0, 1)),
        (Bytes(-9999, None), 10, (0, 10)),
        (Bytes(-3, None), 10, (7, 10)),
        (Bytes(2, -2), 10, (2, 9)),
        (Bytes(10, None), 10, None),
        (Bytes(5, 99), 10, (5, 10)),
        (Bytes(0, None), 0, None),
        (Bytes(8, -5), 10, None),
        (Bytes(-9999, -9998), 10, None),
    ],
)
def test_ranges_of_an_entity(span, size, expected):
    assert span.within(size) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-30", (0, 10)),
        ("bytes=3-99", (3, 10)),
        ("bytes=10-", "none"),
        ("bytes=-0", "none"),
        ("bytes=5-2", None),
        ("bytes=", None),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("Bytes=1-2", (1, 3)),
        ("bytes=1-2,4-5", (1, 3)),
        ("bytes=20-30, 4-5", (4, 6)),
        ("bytes=,-0,\t7- ,", (7, 10)),
        ("bytes=20-,-0", "none"),
        ("bytes=1-2,5-2", None),
        ("bytes=1-2,x", None),
        ("bytes=1-2 3-4", None),
        ("bytes=a-b", None),
        ("bytes=0-" + "9" * 30, (0, 10)),
        ("bytes=" + "9" * 30 + "-", "none"),
        ("bytes=" + "9" * 41 + "-", None),
    ],
)
def test_ranges_of_http(text, expected):
    assert said.byte_range({"Range": text}, '"t"', 10) == expected
    assert said.byte_range({"Range": text, "If-Range": '"other"'}, '"t"', 10) is None


@given(st.text(st.characters(max_codepoint=255)), st.integers(0, 1 << 40))
def test_any_range_is_within_the_data_or_none(text, size):
    for sent in (text, "bytes=" + text):
        found = said.byte_range({"Range": sent}, '"t"', size)
        assert found is None or found == "none" or 0 <= found[0] < found[1] <= size


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], False),
        (["only-if-cached"], True),
        (["Only-If-Cached"], True),
        (["no-transform, only-if-cached"], True),
        (["max-age=0", "no-cache,only-if-cached\t, x"], True),
        (["only-if-cached-not", "no-cache"], False),
        (["x=only-if-cached"], False),
        (["x" * 20_000 + ",only-if-cached"], False),
    ],
)
def test_what_of_cache_control_counts(fields, expected):
    assert said.only_cached(fields) is expected


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (None, False),
        ("*", True),
        ('"a"', True),
        ('W/"a"', True),
        ('"x", W/"a"', True),
        ('"b"', False),
        ("a", False),
        ('"a', False),
    ],
)
def test_conditional_requests(sent, expected):
    assert said.unchanged(sent, 'W/"a"') is expected


@given(st.text())
def test_any_name_makes_one_header_line(name):
    line = said.disposition("attachment", name)
    assert line.isascii()
    assert line.isprintable()
    assert line.count('"') == 2


def test_a_name_that_is_not_ascii_is_written_twice():
    assert said.disposition("attachment", "testтест.car") == (
        "attachment; filename=\"test____.car\"; filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.car"
    )


def test_what_has_no_shape_is_shown_as_a_number():
    assert visible("a\u202eb\u0000\x1b[31m\udc80\u200b") == "a\\u{202e}b\\u{0}\\u{1b}[31m\\u{dc80}\\u{200b}"
    assert len(visible("x" * 10_000)) == 256


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        ("a.txt", b"hi", "text/plain; charset=utf-8"),
        ("a.txt", b"\xff\xfe", "text/plain"),
        ("a.HTML", b"", "text/html; charset=utf-8"),
        ("", b"<html><script>", "text/plain; charset=utf-8"),
        ("", b"\x89PNG\r\n\x1a\n", "image/png"),
        ("a", b"\0\1", "application/octet-stream"),
        ("a.tar.gz", b"", "application/gzip"),
        ("a.json", b"{}", "application/json"),
        ("", b' {"a": 1}', "application/json"),
        ("", b'{"a": ' + b"[" * 2000, "text/plain; charset=utf-8"),
        ("a.\n", b"x", "text/plain; charset=utf-8"),
        ("a.svg", b"<svg/>", "image/svg+xml; charset=utf-8"),
        ("cut", "ü".encode()[:1], "text/plain; charset=utf-8"),
    ],
)
def test_types_of_files(name, head, expected):
    assert media_type(name, head) == expected


def record(**fields):
    data = dagcbor.encode(
        {"Value": b"/ipfs/" + CID.encode(), "TTL": 1800 * 10**9, "Validity": b"2030-01-01T00:00:00.5Z"} | fields
    )
    return b"\x4a" + varint(len(data)) + data


def test_how_long_a_record_may_be_kept():
    now = dt.datetime(2029, 12, 31, 23, 0, tzinfo=dt.UTC)
    assert value_of(record()) == f"/ipfs/{CID}"
    assert freshness(record(), now) == 1800
    assert freshness(record(), now + dt.timedelta(minutes=50)) == 600
    assert freshness(record(), now + dt.timedelta(days=1)) == 0
    assert is_over(record(), now + dt.timedelta(days=1))
    assert (freshness(record(TTL=0), now), is_over(record(TTL=0), now)) == (0, False)
    assert value_of(record(Value="/ipfs/x/ü %20".encode())) == "/ipfs/x/ü %20"
    assert value_of(record(Value=b"/ipfs/x/\xff")) == ""
    for broken in (b"", b"\x4a\x05abc", record(Validity=b"soon"), record(Validity=b"2030-13-01T00:00:00Z"), record(Validity=1)):
        assert (freshness(broken, now), is_over(broken, now)) == (0, True)
    assert value_of(b"\xff" * 20) == ""


def test_names_in_all_their_forms():
    assert name_of(NAME)[:2] == b"\x00\x24"
    for wrong in ("", CID, "Qm", "12D3", "k51", "x" * 2000):
        with pytest.raises(CIDError):
            name_of(wrong)
