"""A tracker over real HTTP: the answers of the public API, announcements that are taken and refused, hostile clients."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from tracker_runs import BOTH, CID_, HERE, KEY, NOW, OPTIONS, running

from wherry.cid import CID, RAW
from wherry.dial import LAN, NAMED, PUBLIC
from wherry.errors import ConfigError, LocalError, UsageError
from wherry.nodekey import NodeKey
from wherry.plugin import Duration
from wherry.publiccid import PublicCID
from wherry.testing.certificates import make_certificate
from wherry_locate.announcement import Announcement, encode
from wherry_locate.options import TrackerOptions
from wherry_locate.server.app import dial_of
from wherry_locate.server.options import TrackerServerOptions
from wherry_locate.server.serving import tracking
from wherry_locate.tracker import Tracker


async def test_what_is_announced_is_answered_as_the_api_says_until_it_expires(tmp_path):
    async with running(tmp_path) as tracker:
        status, text = await tracker.announce()
        assert status == 200
        assert json.loads(text) == {
            "ProvideResults": [{"Schema": "announcement", "ID": KEY.peer_id, "TTL": 60_000, "Addrs": list(HERE)}]
        }
        record = {
            "Schema": "peer", "ID": KEY.peer_id, "Addrs": list(HERE), "Protocols": list(BOTH),
            "transport-wherry": {"complete": True}
        }  # fmt: skip
        status, headers, text = await tracker.get(f"/routing/v1/providers/{CID_}")
        assert json.loads(text) == {"Providers": [record]}
        assert headers["Content-Type"].startswith("application/json")
        assert headers["Vary"] == "Accept"
        assert headers["Cache-Control"] == "public, max-age=60"
        for base in ("base36", "base16", "base58btc"):
            assert (await tracker.get(f"/routing/v1/providers/{PublicCID(CID_).to_base(base)}"))[2] == text
        assert not [name for name in headers if name.startswith("Access-Control")]
        status, headers, text = await tracker.get(
            f"/routing/v1/providers/{CID_}", Accept="application/x-ndjson, application/json"
        )
        assert (headers["Content-Type"].partition(";")[0], json.loads(text)) == ("application/x-ndjson", record)
        assert text.count("\n") == 1
        assert headers["Transfer-Encoding"] == "chunked"  # it goes out line by line
        async with tracker.session.head(
            f"{tracker.url}/routing/v1/providers/{CID_}", headers={"Accept": "application/x-ndjson"}
        ) as response:
            assert (response.status, await response.read()) == (200, b"")
        del record["transport-wherry"]
        for form in (KEY.peer_id, *cids_of(KEY)):
            _, _, text = await tracker.get(f"/routing/v1/peers/{form}")
            assert json.loads(text) == {"Peers": [record]}, form
        tracker.clock.now += 50
        assert (await tracker.get(f"/routing/v1/providers/{CID_}"))[1]["Cache-Control"] == "public, max-age=10"
        tracker.clock.now += 20
        status, headers, text = await tracker.get(f"/routing/v1/providers/{CID_}")
        assert (status, json.loads(text), headers["Cache-Control"]) == (200, {"Providers": []}, "public, max-age=15")
        assert (await tracker.get(f"/routing/v1/providers/{CID_}", Accept="application/x-ndjson"))[2] == ""
        assert json.loads((await tracker.get(f"/routing/v1/peers/{KEY.peer_id}"))[2]) == {"Peers": []}


def cids_of(key):
    """The two texts of a CIDv1 with codec libp2p-key."""
    data = bytes.fromhex("0172002408011220") + key.public
    value, digits = int.from_bytes(data, "big"), []
    while value:
        value, digit = divmod(value, 36)
        digits.append("0123456789abcdefghijklmnopqrstuvwxyz"[digit])
    yield "k" + "".join(reversed(digits))
    bits = "".join(f"{byte:08b}" for byte in data)
    bits += "0" * (-len(bits) % 5)
    yield "b" + "".join("abcdefghijklmnopqrstuvwxyz234567"[int(bits[at : at + 5], 2)] for at in range(0, len(bits), 5))


async def test_our_own_client_reads_it(tmp_path):
    async with running(tmp_path) as tracker:
        await tracker.announce(addrs=(*HERE, "/ip4/0.0.0.0/tcp/4291/tls", "/ip4/127.0.0.1/tcp/80/http"), partial=True)
        asking = Tracker(TrackerOptions(urls=(tracker.url,), timeout=Duration(5.0)))
        found = [address async for address in asking.locate(CID_)]
    assert sorted(found) == ["http://127.0.0.1:80", "tcp://127.0.0.1:4290", f"tcps://{KEY.peer_id}@127.0.0.1:4291"]
    assert {(one.peer, one.protocols, one.complete) for one in found} == {(KEY.peer_id, BOTH, False)}


async def test_a_gateway_alone_is_listed_and_only_at_its_http_address(tmp_path):
    async with running(tmp_path) as tracker:
        addrs = ("/ip4/127.0.0.1/tcp/4290/http", "/ip4/127.0.0.1/tcp/4291", "/ip4/192.0.2.1/tcp/4290/http")
        assert (await tracker.announce(addrs=addrs, protocols=("transport-ipfs-gateway-http",)))[0] == 200
        (record,) = await tracker.providers(query="?filter-protocols=transport-ipfs-gateway-http&filter-addrs=https,tcp")
        assert record["Addrs"] == ["/ip4/127.0.0.1/tcp/4290/http"]
        assert await tracker.providers(query="?filter-protocols=transport-bitswap") == []
        other = await tracker.announce(addrs=("/ip4/127.0.0.1/tcp/1111/http",), protocols=("transport-bitswap",))
        assert other[0] == 422


async def test_a_sample_of_twenty_is_named(tmp_path):
    async with running(tmp_path, records_per_cid_and_network=256) as tracker:
        for number in range(30):
            assert (await tracker.announce(key=NodeKey(bytes([number]) * 32)))[0] == 200
        one, other = await tracker.providers(), await tracker.providers()
    assert len(one) == len(other) == len({record["ID"] for record in one}) == 20
    assert {record["ID"] for record in one} != {record["ID"] for record in other}


async def test_filters_and_withdrawal(tmp_path):
    async with running(tmp_path) as tracker:
        await tracker.announce(addrs=(*HERE, "/ip4/127.0.0.1/tcp/80/http"))
        (record,) = await tracker.providers(query="?filter-addrs=http&filter-protocols=transport-wherry-http")
        assert record["Addrs"] == ["/ip4/127.0.0.1/tcp/80/http"]
        assert await tracker.providers(query="?filter-protocols=transport-bitswap") == []
        status, text = await tracker.announce(addrs=(*HERE, "/ip4/127.0.0.1/tcp/80/http"), cids=(), withdraw=True)
        assert (status, json.loads(text)["ProvideResults"][0]["TTL"]) == (200, 0)
        assert await tracker.providers() == []


async def test_how_long_it_counts_is_the_trackers_to_say(tmp_path):
    async with running(tmp_path) as tracker:
        for asked, granted in ((0.0, 1800.0), (1.0, 60.0), (500_000.0, 86_400.0)):
            _, text = await tracker.announce(ttl_s=asked)
            assert json.loads(text)["ProvideResults"][0]["TTL"] == granted * 1000


async def test_announcements_that_are_not_taken(tmp_path):
    other = NodeKey(bytes([1]) * 32)
    async with running(tmp_path) as tracker:
        for why, answer in {
            "forged": await tracker.put(encode(Announcement(other.peer_id, int(NOW * 1e6), 0, HERE, BOTH, (CID_,)), KEY)),
            "old": await tracker.announce(at=NOW - 700),
            "from the future": await tracker.announce(at=NOW + 200),
            "elsewhere": await tracker.announce(addrs=("/ip4/198.51.100.7/tcp/4290", "/dns/victim.example/tcp/80/http")),
            "nowhere": await tracker.announce(addrs=()),
        }.items():
            assert answer[0] == 422, (why, answer)
        said = Announcement(KEY.peer_id, int(NOW * 1e6), 60.0, HERE, BOTH, (CID_,))
        assert (await tracker.put(encode(said, KEY)))[0] == 200
        assert (await tracker.put(encode(said, KEY)))[0] == 422  # a copy
        assert (await tracker.put(b"{}"))[0] == 400
        assert (await tracker.put(b"x" * 200_000))[0] == 413
        assert (await tracker.put(b"{}", **{"Content-Type": "text/plain"}))[0] == 415
        assert len(await tracker.providers()) == 1


async def test_a_tracker_of_the_internet_lists_nobody_inside_and_believes_its_front_server_alone(tmp_path):
    here = {"headers": {"X-Forwarded-For": "10.0.0.1, 8.8.4.4"}, "addrs": ("/ip4/0.0.0.0/tcp/4290",)}
    async with running(tmp_path, reach="public") as tracker:
        assert (await tracker.announce(**here))[0] == 422
        assert await tracker.providers() == []
    async with running(tmp_path, reach="public", proxies=("127.0.0.1",)) as tracker:
        assert (await tracker.announce(**here))[0] == 200
        assert (await tracker.announce(addrs=("/ip4/0.0.0.0/tcp/4290",)))[0] == 422  # no such header
        assert (await tracker.announce(headers={"X-Forwarded-For": "10.0.0.1"}, addrs=("/ip4/10.0.0.1/tcp/4290",)))[0] == 422
        (record,) = await tracker.providers()
    assert record["Addrs"] == ["/ip4/8.8.4.4/tcp/4290"]


@pytest.mark.parametrize(
    ("host", "reach", "dial"),
    [
        ("127.0.0.1", "auto", NAMED), ("::1", "auto", NAMED), ("localhost", "auto", NAMED), ("192.168.1.5", "auto", LAN),
        ("fe80::1", "auto", LAN), ("0.0.0.0", "auto", PUBLIC), ("::", "auto", PUBLIC), ("8.8.8.8", "auto", PUBLIC),
        ("h.example", "auto", PUBLIC), ("0.0.0.0", "lan", LAN), ("127.0.0.1", "public", PUBLIC),
    ],
)  # fmt: skip
def test_whom_it_lists_follows_from_where_it_listens(host, reach, dial):
    assert dial_of(host, replace(OPTIONS, reach=reach)) == dial


async def test_paths_and_methods_that_there_are_not(tmp_path):
    async with running(tmp_path) as tracker:
        for path, status in {
            "/": 400, "/routing/v1/x": 400, "/routing/v1/ipns/k51": 400, "/routing/v1/providers": 501, "/routing/v1/peers": 501,
            "/routing/v1/providers/%20": 422, "/routing/v1/providers/x%00": 422, "/routing/v1/peers/12D3": 422,
            "/routing/v1/peers/k51zzzzzzzzzzzz": 422, "/routing/v1/peers/b" + "a" * 60: 422,
            "/routing/v1/providers/" + "b" * 300: 422,
            "/routing/v1/providers/QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG": 200,
            f"/routing/v1/providers/{CID_}?filter-addrs=" + "a," * 1100: 414,
        }.items():  # fmt: skip
            assert (await tracker.get(path))[0] == status, path
        async with tracker.session.post(f"{tracker.url}/routing/v1/providers", data=b"") as response:
            assert response.status == 501
        for accept, lines in (
            ("application/x-ndjson;q=0", False),
            ("*/*", False),
            ("text/html, Application/X-NDJSON;q=0.1", True),
        ):
            _, headers, _ = await tracker.get(f"/routing/v1/providers/{CID_}", Accept=accept)
            assert headers["Content-Type"].startswith("application/x-ndjson") is lines


async def test_web_pages_are_kept_out(tmp_path):
    async with running(tmp_path) as tracker:
        for headers in (
            {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-origin"}, {"Host": "evil.example"}, {"Host": "evil.example:80"}, {"Host": "[::2]:80"},
        ):  # fmt: skip
            assert (await tracker.get(f"/routing/v1/providers/{CID_}", **headers))[0] == 403
            assert (await tracker.announce(headers=headers))[0] == 403
        async with tracker.session.options(
            f"{tracker.url}/routing/v1/providers/x", headers={"Origin": "https://e"}
        ) as response:
            assert response.status == 403
        assert (await tracker.get(f"/routing/v1/providers/{CID_}", Host="localhost:1"))[0] == 200
        assert await tracker.providers() == []


async def test_a_flood_of_requests_is_answered_with_429(tmp_path):
    async with running(tmp_path, announces_per_minute=3, queries_per_minute=5) as tracker:
        assert [(await tracker.announce())[0] for _ in range(5)] == [200, 200, 200, 429, 429]
        answers = [await tracker.get(f"/routing/v1/providers/{CID_}") for _ in range(7)]
    assert [status for status, _, _ in answers] == [200] * 5 + [429] * 2
    assert 1 <= int(answers[-1][1]["Retry-After"]) <= 60


async def test_a_flood_of_forged_announcements_leaves_nothing(tmp_path):
    other = NodeKey(bytes([1]) * 32)
    async with running(tmp_path, announces_per_minute=1000, connections_per_ip=200) as tracker:
        bodies = [encode(Announcement(other.peer_id, int(NOW * 1e6) + n, 0, HERE, BOTH, (CID_,)), KEY) for n in range(100)]
        answers = await asyncio.gather(*[tracker.put(body) for body in bodies])
        assert {status for status, _ in answers} == {422}
        assert await tracker.providers() == []


async def spoken(url, sent, *, patience_s=20.0):
    """Sends bytes on a connection of its own; gives what comes until the tracker ends it."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(sent)
        async with asyncio.timeout(patience_s):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_silent_dripping_and_stalling_clients_are_cut(tmp_path):
    head = b"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"
    slow = b"PUT /routing/v1/providers HTTP/1.1\r\n" + head
    async with running(tmp_path, keepalive_s=0.3, body_s=0.3) as tracker:
        heads = [b"", b"GET /rout", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "]
        answers = await asyncio.gather(*[spoken(tracker.url, sent) for sent in [*heads, slow, b"\x16\x03\x01\x00\xff\r\n\r\n"]])
        assert answers[:3] == [b"", b"", b""]
        assert b" 408 " in answers[3]
        assert answers[4] == b"" or b" 400 " in answers[4]
        assert await tracker.providers() == []


async def test_connections_are_counted(tmp_path):
    async with running(tmp_path, connections_per_ip=4) as tracker:
        host, port = tracker.url.removeprefix("http://").split(":")
        held = [await asyncio.open_connection(host, int(port)) for _ in range(4)]
        await asyncio.sleep(0)
        assert await spoken(tracker.url, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n") == b""
        for _, writer in held:
            writer.close()
            await writer.wait_closed()
        for _ in range(100):
            answer = await spoken(tracker.url, b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
            if answer:
                break
            await asyncio.sleep(0.02)
        assert b" 400 " in answer


async def test_what_is_too_much_at_a_time_is_503_and_a_broken_file_500(tmp_path):
    async with running(tmp_path, requests_max=0) as tracker:
        assert (await tracker.get(f"/routing/v1/providers/{CID_}"))[0] == 503
    async with running(tmp_path) as tracker:
        await tracker.announce()
        (tmp_path / "t/records.db").write_bytes(b"no database" * 4000)
        assert (await tracker.get(f"/routing/v1/providers/{CID.of(RAW, b'other')}"))[0] == 500


async def test_over_tls(tmp_path):
    cert, key = make_certificate(tmp_path, "IP:127.0.0.1")
    async with running(tmp_path, "https://127.0.0.1:0", tls_cert=cert, tls_key=key) as tracker:
        assert tracker.url.startswith("https://127.0.0.1:")
        async with tracker.session.get(f"{tracker.url}/routing/v1/providers/{CID_}", ssl=False) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("address", "changes", "problem"),
    [
        ("http://0.0.0.0:0", {}, UsageError), ("http://192.0.2.7:0", {}, UsageError), ("http://127.0.0.1", {}, UsageError),
        ("ftp://127.0.0.1:0", {}, UsageError), ("http://u:p@127.0.0.1:0", {}, UsageError),
        ("http://127.0.0.1:99999", {}, UsageError),
        ("http://127.0.0.1:0/x", {}, UsageError), ("https://127.0.0.1:0", {}, ConfigError),
        ("http://192.0.2.7:1", {"allow_public": True}, LocalError),
    ],
)  # fmt: skip
async def test_where_it_does_not_listen(tmp_path, address, changes, problem):
    with pytest.raises(problem):
        async with tracking(address, tmp_path / "r.db", replace(OPTIONS, **changes)):
            pass
    with pytest.raises(ConfigError):
        async with running(tmp_path, "https://127.0.0.1:0", tls_cert=tmp_path / "no", tls_key=tmp_path / "no"):
            pass


@pytest.mark.parametrize(("given", "kept"), [("::FFFF:192.0.2.7", "192.0.2.7"), ("2001:DB8:0::1", "2001:db8::1")])
def test_a_proxy_is_kept_in_the_form_in_which_peers_are_seen(given, kept):
    assert TrackerServerOptions(proxies=(given,)).proxies == (kept,)
    with pytest.raises(UsageError, match="no IP address"):
        TrackerServerOptions(proxies=("front.example",))
