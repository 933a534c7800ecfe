"""The sheet of Delegated Routing V1 point by point: filters, forms, statuses, and what web pages may (specs/0028 §2, §4)."""

from __future__ import annotations

import json

import pytest
from tracker_runs import BOTH, CID_, KEY, running


async def test_web_pages_may_read_a_public_tracker_and_change_nothing(tmp_path):
    page = {"Origin": "https://app.example"}
    async with running(tmp_path, reach="public") as tracker:
        for path in (f"/routing/v1/providers/{CID_}", f"/routing/v1/peers/{KEY.peer_id}", "/routing/v1/providers/!"):
            for headers in ({}, page, page | {"Sec-Fetch-Site": "cross-site", "Cookie": "a=b"}):
                status, said, _ = await tracker.get(path, **headers)
                assert (status, said["Access-Control-Allow-Origin"]) == (422 if path.endswith("!") else 200, "*")
                assert "Access-Control-Allow-Credentials" not in said
        status, said, _ = await tracker.get(f"/routing/v1/ipns/{KEY.peer_id}", **page)
        assert (status, said["Access-Control-Allow-Origin"]) == (404, "*")
        preflight = page | {"Access-Control-Request-Method": "PUT"}
        async with tracker.session.options(f"{tracker.url}/routing/v1/ipns/{KEY.peer_id}", headers=preflight) as answer:
            assert (answer.status, answer.headers["Access-Control-Allow-Methods"]) == (204, "GET, OPTIONS")
        assert (await tracker.announce(headers=page))[0] == 403
        async with tracker.session.put(f"{tracker.url}/routing/v1/ipns/{KEY.peer_id}", data=b"x", headers=page) as answer:
            assert answer.status == 403
        assert (await tracker.get("/", **page))[0] == 403  # no other path than those of the API
        assert (await tracker.get(f"/routing/v1/providers/{CID_}", Host="evil.example"))[0] == 403
    for closed in ({"reach": "lan"}, {"reach": "public", "web_pages": False}):
        async with running(tmp_path, **closed) as tracker:
            status, said, _ = await tracker.get(f"/routing/v1/providers/{CID_}", **page)
            assert status == 403
            assert "Access-Control-Allow-Origin" not in said


ADDRS = ("/ip4/127.0.0.1/tcp/4290", "/ip4/127.0.0.1/tcp/4291/tls", "/ip4/127.0.0.1/tcp/80/http")


@pytest.mark.parametrize(
    ("query", "left"),
    [
        ("", [0, 1, 2]), ("filter-addrs=tcp", [0, 1, 2]), ("filter-addrs=http", [2]), ("filter-addrs=HTTP", [2]),
        ("filter-addrs=tls,http", [1, 2]), ("filter-addrs=!http", [0, 1]), ("filter-addrs=tcp,!http", [0, 1]),
        ("filter-addrs=http,!tcp", None), ("filter-addrs=quic-v1", None), ("filter-addrs=unknown", None),
        ("filter-addrs=unknown,http", [2]), ("filter-addrs=unknown,!tcp", None), ("filter-addrs=unknown,!http", [0, 1]),
        ("filter-protocols=transport-wherry-tcp", [0, 1, 2]),
        ("filter-protocols=TRANSPORT-WHERRY-HTTP,transport-bitswap", [0, 1, 2]), ("filter-protocols=transport-bitswap", None),
        ("filter-protocols=!transport-wherry-tcp", None), ("filter-protocols=!transport-bitswap", None),  # no such protocol
        ("filter-protocols=unknown", None), ("filter-protocols=unknown,transport-wherry-http", [0, 1, 2]),
        ("filter-addrs=http&filter-protocols=transport-bitswap", None),
        ("filter-addrs=https,tcp,webrtc,webrtc-direct,wss,tls&filter-protocols=unknown,transport-bitswap,transport-wherry-http",
         [0, 1, 2]),  # as Helia asks
    ],
)  # fmt: skip
async def test_filters_by_the_sheet_for_providers_and_peers_in_both_forms(tmp_path, query, left):
    async with running(tmp_path) as tracker:
        await tracker.announce(addrs=ADDRS)
        for path, name in ((f"providers/{CID_}", "Providers"), (f"peers/{KEY.peer_id}", "Peers")):
            for accept in ("application/json", "application/x-ndjson"):
                status, headers, text = await tracker.get(f"/routing/v1/{path}?{query}", Accept=accept)
                assert (status, headers["Vary"]) == (200, "Accept")
                records = (
                    json.loads(text)[name] if accept.endswith("/json") else [json.loads(line) for line in text.splitlines()]
                )
                assert [record["Addrs"] for record in records] == ([] if left is None else [[ADDRS[at] for at in left]])
                assert all(record["Protocols"] == list(BOTH) for record in records)  # unchanged
                assert headers["Last-Modified"]
                assert headers["Cache-Control"].startswith("public, max-age=")


async def test_nobody_is_an_empty_list_and_what_makes_no_sense_is_said(tmp_path):
    async with running(tmp_path) as tracker:
        for accept, body in (("*/*", '{"Providers": []}'), ("application/x-ndjson", "")):
            status, headers, text = await tracker.get(f"/routing/v1/providers/{CID_}", Accept=accept)
            assert (status, text, headers["Cache-Control"]) == (200, body, "public, max-age=15")
        assert (await tracker.get(f"/routing/v1/peers/{KEY.peer_id}"))[0] == 200
        for path, code in {
            "/routing/v1/providers/!": 422, "/routing/v1/peers/nobody": 422, "/routing/v2/x": 400, "/": 400,
            f"/routing/v1/dht/closest/peers/{KEY.peer_id}": 501,
        }.items():  # fmt: skip
            assert (await tracker.get(path))[0] == code, path
