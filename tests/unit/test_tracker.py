"""The tracker locator against trackers that lie, flood and stall, and what becomes of the addresses that they name."""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import pytest
from trackers import JSON, NDJSON, lines, multiaddr, record, tracking

from wherry.cid import CID, RAW
from wherry.errors import ConfigError, PeerError, PeerProtocolError, PeerTimeout
from wherry.limits import LOCATE_ADDRESSES_MAX
from wherry.testing.hostile import HostileServer, answer, drip, endless, silent, stall
from wherry_locate.options import TrackerOptions
from wherry_locate.tracker import BYTES_MAX, LINE_BYTES_MAX, RECORDS_MAX, Tracker

CID_ = CID.of(RAW, b"x")


async def ask(*urls, timeout=10.0):
    async with asyncio.timeout(20):
        return [found for found in await ask_all(*urls, timeout=timeout) if not found.fault]


async def ask_all(*urls, timeout=10.0):
    """With what cannot be dialled."""
    return [address async for address in Tracker(TrackerOptions(urls=urls, timeout=timeout)).locate(CID_)]


async def told(body, form=NDJSON, **headers):
    """What is found at a tracker that answers so."""
    with HostileServer(answer(body, headers={"Content-Type": form, **headers})) as server:
        return await ask(server.url)


def whole(*records):
    return json.dumps({"Providers": list(records)}).encode()


async def test_it_asks_as_the_api_says():
    with HostileServer(tracking({str(CID_): [record("http://192.0.2.7:1")]})) as server:
        assert await ask(server.url + "/base/") == ["http://192.0.2.7:1"]
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", f"/base/routing/v1/providers/{CID_}")
    assert NDJSON in request.headers["accept"]
    assert JSON in request.headers["accept"]
    assert request.headers["accept-encoding"] == "identity"
    assert not {"authorization", "cookie"} & set(request.headers)


async def test_where_all_fail_each_is_named():
    html = answer(b"<html>", headers={"Content-Type": "text/html"})
    with HostileServer(answer(status=500)) as one, HostileServer(html) as two, pytest.raises(PeerError) as caught:
        await ask(one.url, two.url, "http://127.0.0.1:1")
    for what in (f"{one.url} answered with status 500", f"{two.url} answered with 'text/html'", "to http://127.0.0.1:1:"):
        assert what in caught.value.message
    assert "is it a tracker?" in caught.value.hint
    with HostileServer(answer(status=500)) as one, pytest.raises(PeerError) as caught:
        await ask(one.url)
    assert "[locator.tracker]" in caught.value.hint


@pytest.mark.parametrize("form", [NDJSON, JSON])
async def test_both_forms_are_read(form):
    records = [record("http://192.0.2.7:1", "https://h.example:2"), record("http://[2001:db8::1]:3")]
    body = lines(records) if form == NDJSON else whole(*records)
    assert await told(body, f"{form}; charset=utf-8") == ["http://192.0.2.7:1", "https://h.example:2", "http://[2001:db8::1]:3"]


@pytest.mark.parametrize("form", [NDJSON, JSON])
async def test_records_of_another_form_are_skipped(form):
    good = record("http://192.0.2.7:1")
    odd = [
        {}, [], 7, None, "x", {"Schema": "peer"}, {"Schema": "unheard-of", "Addrs": [multiaddr("http://192.0.2.9:1")]},
        record(Addrs="x"), record(Addrs=[None, 7, {}, [], "x", "/ip4/1.2.3.4/udp/1/quic-v1"]), record(Schema=["peer"]),
    ]  # fmt: skip
    records = [*odd, good]
    assert await told(lines(records) if form == NDJSON else whole(*records), form) == ["http://192.0.2.7:1"]


async def test_an_address_is_said_once_whoever_says_it():
    answers = tracking({str(CID_): [record("http://192.0.2.7:1"), record("http://192.0.2.7:1")]})
    with HostileServer(answers) as one, HostileServer(answers) as two:
        assert await ask(one.url, two.url) == ["http://192.0.2.7:1"]


async def test_nobody_is_known():
    assert await told(b"") == []
    assert await told(b"{}", JSON) == []
    assert await told(whole(), JSON) == []
    with HostileServer(answer(status=404)) as server:
        assert await ask(server.url) == []


async def test_one_tracker_that_works_is_enough_and_none_is_an_error():
    with HostileServer(silent()) as stuck, HostileServer(tracking({str(CID_): [record("http://192.0.2.7:1")]})) as fine:
        assert await ask(stuck.url, fine.url, timeout=0.5) == ["http://192.0.2.7:1"]
        with pytest.raises(PeerTimeout) as raised:
            await ask(stuck.url, stuck.url, timeout=0.5)
        assert raised.value.peer == stuck.url


async def test_what_came_before_a_tracker_stalled_is_given_at_once():
    body = lines([record("http://192.0.2.7:1")] * 5)
    with HostileServer(stall(body, after=len(body) // 2, headers={"Content-Type": NDJSON})) as server:
        found = Tracker(TrackerOptions(urls=(server.url,), timeout=30.0)).locate(CID_)
        async with asyncio.timeout(5):
            assert await anext(found) == "http://192.0.2.7:1"
            await found.aclose()


async def test_one_that_drips_is_given_up_in_time():
    with HostileServer(drip(lines([record("http://192.0.2.7:1")]), every_s=0.1, headers={"Content-Type": NDJSON})) as server:
        with pytest.raises(PeerTimeout):
            await ask(server.url, timeout=0.5)


@pytest.mark.parametrize(
    ("piece", "form"),
    [(b"\n" * 65536, NDJSON), (b"x" * 65536, NDJSON), (b" " * 65536, JSON), (b"{}\n" * 20000, NDJSON), (b"[" * 65536, JSON)],
)
async def test_an_endless_answer_is_cut(piece, form):
    with HostileServer(endless(piece, headers={"Content-Type": form})) as server:
        tracemalloc.start()
        try:
            found = await asyncio.wait_for(asyncio.gather(ask(server.url, timeout=10.0), return_exceptions=True), 15)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert found == [[]] or isinstance(found[0], PeerProtocolError)
    assert server.bytes_sent < 8 * BYTES_MAX  # what lies in the sockets' buffers too
    assert peak < 12 * BYTES_MAX


async def test_a_huge_line_is_refused():
    long = json.dumps(record("http://192.0.2.7:1", Extra="x" * LINE_BYTES_MAX)).encode()
    with pytest.raises(PeerProtocolError, match="record of more than"):
        await told(long + b"\n")
    with pytest.raises(PeerProtocolError, match="record of more than"):
        await told(long)  # without its end
    with pytest.raises(PeerProtocolError, match="sends more than"):
        await told(b" " * (BYTES_MAX + 1), JSON)


@pytest.mark.parametrize("form", [NDJSON, JSON])
async def test_of_ten_thousand_records_some_are_looked_at(form):
    records = [record(f"http://192.0.2.7:{number + 1}") for number in range(10_000)]
    found = await told(lines(records) if form == NDJSON else whole(*records), form)
    assert LOCATE_ADDRESSES_MAX <= len(found) <= RECORDS_MAX


async def test_of_ten_thousand_addresses_of_one_record_some_are_looked_at():
    many = record(*[f"http://192.0.2.7:{number + 1}" for number in range(10_000)])
    assert 0 < len(await told(whole(many), JSON)) <= LOCATE_ADDRESSES_MAX


@pytest.mark.parametrize(
    ("body", "form"),
    [
        (b"no json\n", NDJSON),
        (b"[" * 10_000 + b"\n", NDJSON),
        (b'{"a":' * 3000 + b"\n", NDJSON),
        (b"9" * 10_000 + b"\n", NDJSON),
        (b"\xff\xfe\n", NDJSON),
        (b"no json", JSON),
        (b"[" * 500_000, JSON),
        (b"[]", JSON),
        (b'{"Providers": {}}', JSON),
        (b'{"Providers": 7}', JSON),
        (b"{}", "text/html"),
        (b"{}", "application/octet-stream"),
    ],
)
async def test_nonsense_is_an_error_or_nothing(body, form):
    with HostileServer(answer(body, headers={"Content-Type": form})) as server:
        try:
            assert await ask(server.url) == []
            assert body == b"[]"
        except PeerProtocolError as problem:
            assert problem.peer == server.url


@pytest.mark.parametrize("status", [204, 301, 400, 401, 403, 429, 500, 503])
async def test_another_status_is_an_error(status):
    with HostileServer(answer(b"", status=status, headers={"Content-Type": NDJSON})) as server:
        with pytest.raises(PeerError, match=str(status)):
            await ask(server.url)


async def test_a_coding_that_was_not_asked_for_is_not_undone():
    with pytest.raises(PeerProtocolError, match="coding"):
        await told(b"\x1f\x8b", NDJSON, **{"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("urls", "said", "reach"),
    [
        (["http://127.0.0.1:1"], "auto", "lan"),
        (["http://localhost:1", "http://10.0.0.1:1"], "auto", "lan"),
        (["http://10.0.0.1:1", "https://tracker.example"], "auto", "public"),
        (["https://tracker.example"], "auto", "public"),
        (["https://tracker.example"], "lan", "lan"),
        (["http://127.0.0.1:1"], "public", "public"),
        (["https://tracker.example"], "named", "named"),
    ],
)
def test_how_far_its_peers_may_be_follows_from_where_it_is(urls, said, reach):
    assert Tracker(TrackerOptions(urls=tuple(urls), reach=said)).reach == reach


@pytest.mark.parametrize(
    "url", ["", "tracker.example", "ftp://x", "http://", "http://a b", "http://u@h", "http://h?q", "http://h#f"]
)
def test_what_is_no_tracker_is_said_when_it_is_configured(url):
    with pytest.raises(ValueError, match="urls"):
        TrackerOptions(urls=(url,))


def test_one_without_urls_cannot_be_built():
    with pytest.raises(ConfigError, match="no urls"):
        Tracker(TrackerOptions())


PEER = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN"


async def test_what_cannot_be_dialled_is_given_with_the_reason():
    addrs = {
        "/ip4/192.0.2.7/udp/4001/quic-v1": "speaks quic-v1",
        "/ip4/192.0.2.7/udp/4001": "speaks udp",
        "/ip4/192.0.2.7/tcp/4001": f"--from /ip4/192.0.2.7/tcp/4001/p2p/{PEER}",
        "/ip4/192.0.2.7/tcp/4001/ws": "speaks ws",
        f"/ip4/192.0.2.7/tcp/4001/p2p/{PEER}/p2p-circuit": "relay",
        "/dns4/h.example/tcp/443/wss": "speaks wss",
        "/ip4/999.0.0.1/tcp/1/http": "no address",
        "/ip4/192.0.2.7/tcp/99999/http": "no address",
        "/ip4/192.0.2.7/tcp/1/http/x": "speaks http/x",
        "no multiaddr": "is no multiaddr",
    }
    records = [
        {"Schema": "peer", "ID": PEER, "Addrs": [*addrs, "/ip4/192.0.2.9/tcp/80/http"], "Protocols": ["transport-bitswap"]},
        {"Schema": "peer", "ID": "12D3KooWnobody", "Addrs": []},
        {"Schema": "peer", "ID": 7},
        {"Schema": "peer", "Addrs": ["/ip4/192.0.2.7/tcp/1"]},
    ]
    with HostileServer(answer(whole(*records), headers={"Content-Type": JSON})) as server:
        found = await ask_all(server.url)
    faults = {str(one): one.fault for one in found}
    for text, why in addrs.items():
        assert why in faults[text], text
    assert faults["http://192.0.2.9:80"] == ""
    assert faults["/p2p/12D3KooWnobody"] == "no address of it is known"
    assert "nor who it is" in faults["/ip4/192.0.2.7/tcp/1"]
    assert len(found) == len(addrs) + 3
    assert {(one.peer, one.protocols) for one in found[:11]} == {(PEER, ("transport-bitswap",))}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_leads_nowhere(status):
    """Neither for providers nor for names; a canary behind it hears nothing."""
    with HostileServer(answer(b"")) as canary:
        where = {"Location": f"{canary.url}/routing/v1/x", "Content-Type": NDJSON}
        with HostileServer(answer(b"", status=status, headers=where)) as server:
            tracker = Tracker(TrackerOptions(urls=(server.url,), timeout=5.0))
            with pytest.raises(PeerError, match=str(status)):
                await ask(server.url)
            with pytest.raises(PeerError, match=f"{server.url} answered with status {status}, a redirect"):
                [one async for one in tracker.name_records("k51")]
            with pytest.raises(PeerError, match=str(status)):
                await tracker.put_record("k51", b"record")
        assert canary.requests == []


NAMES = "application/vnd.ipfs.ipns-record"


async def records_at(*behaviours, timeout=1.0):
    """What several routers give of a name, and what is said of them, who are called A, B and so on."""
    from contextlib import ExitStack

    with ExitStack() as stack:
        urls = tuple(stack.enter_context(HostileServer(one)).url for one in behaviours)
        tracker = Tracker(TrackerOptions(urls=urls, timeout=timeout))
        given = []
        async with asyncio.timeout(20):
            try:
                async for _, record in tracker.name_records("k51"):
                    given.append(record)
            except PeerError as problem:
                said = problem.message
                for number, url in enumerate(urls):
                    said = said.replace(url, chr(ord("A") + number))
                return given, sorted(said.split("; ")), problem
    return given, [], None


def gives(body, form=NAMES, status=200):
    return answer(body, status=status, headers={"Content-Type": form})


@pytest.mark.parametrize(
    ("behaviour", "said"),
    [
        (gives(b"x", status=404), "A has no record of k51"),
        (gives(b"x", "text/html"), "A answered with 'text/html', and no record: is it a tracker?"),
        (gives(b"x", JSON), "A answered with 'application/json', and no record: is it a tracker?"),
        (gives(b"", status=204), "A answered with status 204"),
        (gives(b"", status=403), "A answered with status 403"),
    ],
)
async def test_what_is_no_record_is_not_found_and_who_gave_it_is_named(behaviour, said):
    assert (await records_at(behaviour))[:2] == ([], [said])


async def test_who_fails_is_named_also_where_another_one_has_the_record():
    none, good, html, broken = gives(b"x", status=404), gives(b"record"), gives(b"x", "text/html"), gives(b"x", status=500)
    assert await records_at(none, good) == ([b"record"], [], None)
    what = "answered with 'text/html', and no record: is it a tracker?"
    given, said, _ = await records_at(none, good, html, broken)
    assert (given, said) == ([b"record"], [f"C {what}", "D answered with status 500"])
    given, said, _ = await records_at(none, html, none)
    assert (given, said) == ([], ["A has no record of k51", f"B {what}", "C has no record of k51"])


@pytest.mark.parametrize(
    ("behaviour", "problem"),
    [
        (gives(b"", status=500), PeerProtocolError), (gives(b"", status=503), PeerProtocolError),
        (gives(b"", status=429), PeerProtocolError), (gives(bytes(10_241)), PeerProtocolError),
        (endless(b"x" * 65536, headers={"Content-Type": NAMES}), PeerProtocolError), (silent(), PeerTimeout),
        (drip(bytes(100), every_s=0.1, headers={"Content-Type": NAMES}), PeerTimeout),
    ],
)  # fmt: skip
async def test_routers_that_fail_flood_or_stall_over_names(behaviour, problem):
    given, _, said = await records_at(behaviour, timeout=0.5)
    assert not given
    assert type(said) is problem


async def test_a_router_that_is_not_there_says_so():
    tracker = Tracker(TrackerOptions(urls=("http://127.0.0.1:1",), timeout=1.0))
    with pytest.raises(PeerError):
        await ask("http://127.0.0.1:1")
    with pytest.raises(PeerError):
        [one async for one in tracker.name_records("k51")]
    with pytest.raises(PeerError):
        await tracker.put_record("k51", b"x")
