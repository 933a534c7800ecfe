"""The gateway over bare sockets: what is answered, who may ask, and what hostile DAGs and readers can cost."""

from __future__ import annotations

import asyncio
import re
import ssl

import pytest
from gateways import CAR_TYPE, RAW_TYPE, RECORD_TYPE, Tree, ask, car_cids, gateway, unchunked

from wherry import dagcbor
from wherry.cid import CID, RAW
from wherry.gateway.record import name_of
from wherry.ipns.name import Name
from wherry.manifest import DIR, FILE, LINK, Entry, dataset_block, dir_block
from wherry.observe import Refused, Served
from wherry.protobuf import varint
from wherry.publiccid import PublicCID
from wherry.testing.certificates import make_certificate
from wherry_http.places import parse_base

NAME = "k51qzi5uqu5dlkw8pxuw9qmqayfdeh4kfebhmreauqdc6a7c3y7d5i9fi8mk9w"
HOSTILE = "<script>alert(1)</script>\u202e\"'.txt"


def text(child):
    return str(PublicCID(child.cid))


@pytest.fixture
def site():
    tree = Tree()
    index = tree.file(b"<h1>home</h1>")
    large = tree.file(b"a" * 300_000, b"b" * 300_000, b"c" * 10)
    made = {
        b"web": tree.dir(**{"index.html": index}), b"plain": tree.dir(),
        b"large.bin": large, b"note.txt": tree.file(b"hello"), b"to": tree.link(b"note.txt"),
        HOSTILE.encode(): tree.file(b"boo"), b"..": tree.file(b"up"), b"bad\xff": tree.file(b"x"), b"sub/dir": tree.file(b"y"),
    }  # fmt: skip
    root = tree.names(made)
    return tree, text(root), large


async def test_a_person_can_look_around(site):
    tree, root, _ = site
    async with gateway(tree.source()) as address:
        moved = await ask(address, f"/ipfs/{root}?x=1")
        assert (moved.status, moved.headers["location"]) == (301, f"/ipfs/{root}/?x=1")
        page = await ask(address, f"/ipfs/{root}/")
        home = await ask(address, f"/ipfs/{root}/web/")
        note = await ask(address, f"/ipfs/{root}/note.txt")
        link = await ask(address, f"/ipfs/{root}/to")
        weird = await ask(address, f"/ipfs/{root}/bad%FF")
        empty = await ask(address, f"/ipfs/{root}/plain/")
        same = await ask(address, f"/ipfs/{root}/note.txt", If_None_Match=note.headers["etag"])
        head = await ask(address, f"/ipfs/{root}/note.txt", method="HEAD")
        saved = await ask(address, f"/ipfs/{root}/note.txt?filename=%0d%0aX:1.txt&download=true")
    body = page.body.decode()
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "script-src" not in page.headers["content-security-policy"]
    assert page.headers["x-content-type-options"] == "nosniff"
    assert "<script>" not in body
    assert "\u202e" not in body
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\u{202e}&quot;&#x27;.txt" in body
    assert 'href="./%3Cscript%3Ealert%281%29%3C%2Fscript%3E%E2%80%AE%22%27.txt"' not in body  # it has a "/", so no link
    assert "<bdi>..</bdi></td>" in body.replace("</a>", "!")
    assert "<caption>" in body
    assert '<html lang="en">' in body
    assert body.count('<th scope="col"') == 4
    assert (home.body, home.headers["content-type"]) == (b"<h1>home</h1>", "text/html; charset=utf-8")
    assert home.headers["content-security-policy"].startswith("sandbox;")
    assert (note.status, note.body, note.headers["content-type"]) == (200, b"hello", "text/plain; charset=utf-8")
    assert note.headers["x-ipfs-path"] == f"/ipfs/{root}/note.txt"
    assert note.headers["x-ipfs-roots"].split(",")[0] == root
    assert (link.body, link.headers["content-type"]) == (b"note.txt", "inode/symlink")
    assert weird.status == 400
    assert b"Nothing is in this directory" in empty.body
    assert (same.status, same.body) == (304, b"")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", "5")
    assert saved.headers["content-disposition"].startswith('attachment; filename="__X:1.txt"')
    assert "x" not in saved.headers


async def test_who_has_it_already_is_told_so(site):
    tree, root, _ = site
    async with gateway(tree.source()) as address:
        for path in ("", "web/", "web/index.html", "to"):
            first = await ask(address, f"/ipfs/{root}/{path}")
            tag, cid = first.headers["etag"], first.headers["x-ipfs-roots"].split(",")[-1]
            assert first.status == 200
            assert cid in tag
            for sent in (tag, f"W/{tag}", f'"other", {tag}', "*"):
                again = await ask(address, f"/ipfs/{root}/{path}", If_None_Match=sent)
                assert (again.status, again.body) == (304, b"")
                for name in ("cache-control", "etag", "vary", "content-security-policy"):  # RFC 9110 15.4.5
                    assert again.headers[name] == first.headers[name]
            assert (await ask(address, f"/ipfs/{root}/{path}", If_None_Match='"other"')).status == 200
        page = await ask(address, f"/ipfs/{root}/")
        assert page.headers["etag"].startswith('"DirIndex-')
        assert "immutable" not in page.headers["cache-control"]
        assert (await ask(address, f"/ipfs/{root}/", If_None_Match=f'W/"{root}"')).status == 304
        assert (await ask(address, f"/ipfs/{root}/web/")).headers["etag"] != (page.headers["etag"])
        assert (await ask(address, f"/ipfs/{root}/?after=m")).headers["etag"] != page.headers["etag"]
        raw = (await ask(address, f"/ipfs/{root}/web/index.html?format=raw")).headers  # called by what it is, not by the root
        assert raw["content-disposition"] == f'attachment; filename="{raw["etag"][1:-5]}.bin"'
        assert root not in raw["content-disposition"]


async def test_a_file_and_its_ranges(site):
    tree, root, _ = site
    whole = b"a" * 300_000 + b"b" * 300_000 + b"c" * 10
    async with gateway(tree.source()) as address:
        for sent, start, stop in (
            (None, 0, None), ("bytes=0-0", 0, 1), ("bytes=299999-300000", 299_999, 300_001), ("bytes=-11", -11, None),
            ("bytes=1-", 1, None), ("bytes=300000-599999", 300_000, 600_000), ("bytes=7-8,1-2", 7, 9),
        ):  # fmt: skip
            answer = await ask(address, f"/ipfs/{root}/large.bin", **({"Range": sent} if sent else {}))
            assert answer.whole
            assert answer.status == (206 if sent else 200)
            assert answer.body == whole[start:stop]
        past = await ask(address, f"/ipfs/{root}/large.bin", Range="bytes=600010-")
        assert (past.status, past.headers["content-range"]) == (416, "bytes */600010")


@pytest.mark.parametrize(
    ("path", "accept", "expected"),
    [
        ("/ipfs/ROOT/nothing", "", 404),
        ("/ipfs/ROOT/note.txt/x", "", 404),
        ("/ipfs/ROOT/nothing?format=car", "", 404),
        ("/ipfs/ROOT/note.txt/x?format=raw", "", 404),
        ("/ipfs/ROOT?format=ipns-record", "", 400),
        ("/ipfs/ROOT?format=x", "", 400),
        ("/ipfs/ROOT?format=car&car-version=2", "", 406),
        ("/ipfs/nonsense", "", 400),
        ("/ipfs/ROOT/%2e%2e/x", "", 400),
        ("/ipfs/ROOT/../../etc/passwd", "", 400),
        ("/ipfs/ROOT/note.txt/", "", 404),
        ("/ipfs/ABSENT?format=raw", "", 404),
        ("/ipfs/ABSENT?format=car", "", 404),
        ("/ipfs/ABSENT", "", 404),
        ("/ipfs/ABSENT", RAW_TYPE, 404),
        ("/ipns/nonsense?format=ipns-record", "", 400),
        ("/ipns/NAME?format=ipns-record", "", 404),
        ("/ipns/NAME/x?format=ipns-record", "", 400),
        ("/ipns/NAME", "", 404),
        ("/ipfs/" + "b" * 7000, "", 400),
        ("/ipfs", "", 404),
    ],
)
async def test_what_cannot_be_answered_is_refused(path, accept, expected, site):
    tree, root, _ = site
    path = path.replace("ROOT", root).replace("NAME", NAME).replace("ABSENT", str(PublicCID(CID.of(RAW, b"absent"))))
    async with gateway(tree.source()) as address:
        for method in ("GET", "HEAD"):
            answer = await ask(address, path, method=method, **({"Accept": accept} if accept else {}))
            assert answer.status == expected
            assert answer.headers["content-type"].startswith("text/plain")
        for method in ("POST", "PUT", "DELETE", "PATCH"):
            assert (await ask(address, path, method=method)).status in {404, 405}


async def test_the_probe_and_only_if_cached(site):
    tree, root, _ = site
    absent = str(PublicCID(CID.of(RAW, b"absent")))
    async with gateway(tree.source()) as address:
        for method in ("GET", "HEAD"):
            raw = await ask(address, "/ipfs/bafkqaaa?format=raw", method=method)
            assert (raw.status, raw.body, raw.headers["content-length"]) == (200, b"", "0")
            car = await ask(address, "/ipfs/bafkqaaa", method=method, Accept=CAR_TYPE)
            assert car.status == 200
            assert method == "HEAD" or car_cids(car.body) == []
            for wanted, status in ((root, 200), (absent, 412)):
                answer = await ask(address, f"/ipfs/{wanted}?format=raw", method=method, Cache_Control="only-if-cached")
                assert answer.status == status
            assert (
                await ask(address, f"/ipfs/{absent}?format=car", method=method, Cache_Control="only-if-cached")
            ).status == 412
            lost = {"method": method, "Cache_Control": "No-Transform, ONLY-IF-CACHED"}
            assert (await ask(address, f"/ipfs/{absent}?format=raw", **lost)).status == 412
            assert (await ask(address, f"/ipfs/{root}/no-such-name", **lost)).status == 404  # what is here says so
        old = await ask(address, f"/ipfs/{root}?format=car", version="1.0")  # without chunks: its end is the connection's
        assert "transfer-encoding" not in old.headers
        assert car_cids(old.body)[0] == root
        tags = [
            (await ask(address, f"/ipfs/{root}?format=car{more}", method="HEAD")).headers["etag"]
            for more in ("", "&dag-scope=block", "&entity-bytes=0:1", "&entity-bytes=0:2", "&car-dups=y")
        ]
        assert len(set(tags)) == 5
        assert (await ask(address, f"/ipfs/{root}?format=car", If_None_Match=tags[0].removeprefix("W/"))).status == 304


async def test_pages_may_read_unless_there_is_a_token_and_native_endpoints_stay_closed(site):
    tree, root, _ = site
    page = {"Origin": "https://evil.example", "Sec_Fetch_Site": "cross-site"}
    async with gateway(tree.source()) as address:
        for what in (
            f"/ipfs/{root}?format=raw",
            f"/ipfs/{root}/",
            f"/ipfs/{root}/note.txt",
            f"/ipfs/{root}/note.txt?format=tar",
        ):
            answer = await ask(address, what, **page)
            assert (answer.status, answer.headers["access-control-allow-origin"]) == (200, "*")
        asked = await ask(address, f"/ipfs/{root}", method="OPTIONS", **page)
        assert (asked.status, asked.headers["access-control-allow-methods"]) == (204, "GET, HEAD, OPTIONS")
        assert (await ask(address, "/wherry/v1", **page)).status == 403
        assert (await ask(address, "/", **page)).status == 403
    async with gateway(tree.source(), token="secret") as address:
        assert (await ask(address, f"/ipfs/{root}?format=raw")).status == 401
        answer = await ask(address, f"/ipfs/{root}?format=raw", Authorization="Bearer secret")
        assert answer.status == 200
        assert "access-control-allow-origin" not in answer.headers
    async with gateway(tree.source(), gateway="trustless") as address:
        assert (await ask(address, f"/ipfs/{root}/")).status == 400
        assert (await ask(address, f"/ipfs/{root}?format=raw")).status == 200
    async with gateway(tree.source(), gateway="off") as address:
        assert (await ask(address, f"/ipfs/{root}?format=raw")).status == 404
        assert (await ask(address, f"/ipfs/{root}?format=raw", **page)).status == 403


async def test_over_tls(site, tmp_path):
    tree, root, large = site
    certificate, key = make_certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(certificate))
    async with gateway(tree.source(), "https://127.0.0.1:0", tls_cert=certificate, tls_key=key) as address:
        base = parse_base(address)
        for path, expected in ((f"{root}?format=car", None), (f"{root}/large.bin", b"c" * 10)):
            reader, writer = await asyncio.open_connection(base.host, base.port, ssl=context)
            writer.write(f"GET /ipfs/{path} HTTP/1.1\r\nHost: {base.host}\r\nConnection: close\r\n\r\n".encode())
            head, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
            writer.close()
            assert b" 200 " in head
            if expected is None:
                data, whole = unchunked(body)
                assert whole
                assert text(large) in car_cids(data)
            else:
                assert body[-10:] == expected
                assert len(body) == 600_010


async def test_records(site):
    tree, root, _ = site
    inner = dagcbor.encode({"Value": f"/ipfs/{root}/web".encode(), "TTL": 60 * 10**9, "Validity": b"2999-01-01T00:00:00Z"})
    record = b"\x4a" + varint(len(inner)) + inner
    source = tree.source()
    source.records[name_of(NAME)] = record
    async with gateway(source) as address:
        for path, accept in ((f"/ipns/{NAME}?format=ipns-record", {}), (f"/ipns/{NAME}", {"Accept": RECORD_TYPE})):
            answer = await ask(address, path, **accept)
            assert (answer.status, answer.body) == (200, record)
            assert answer.headers["content-type"] == RECORD_TYPE
            assert answer.headers["cache-control"] == "public, max-age=60"
            assert answer.headers["content-disposition"] == f'attachment; filename="{NAME}.ipns-record"'
            assert (await ask(address, path, If_None_Match=answer.headers["etag"], **accept)).status == 304
        named = await ask(address, f"/ipns/{NAME}?format=ipns-record&filename=test%D1%82%D0%B5%D1%81%D1%82.ipns-record")
        assert "filename*=UTF-8''test%D1%82%D0%B5%D1%81%D1%82.ipns-record" in named.headers["content-disposition"]
        followed = await ask(address, f"/ipns/{NAME}/index.html")
        assert (followed.status, followed.body) == (200, b"<h1>home</h1>")
        assert followed.headers["cache-control"] == "public, max-age=60"


def record_to(value, ttl_s=60):
    inner = dagcbor.encode({"Value": value.encode(), "TTL": ttl_s * 10**9, "Validity": b"2999-01-01T00:00:00Z"})
    return b"\x4a" + varint(len(inner)) + inner


async def test_names_lead_where_their_records_say():
    tree = Tree()
    inner = tree.names({"ä %20?#".encode(): tree.dir(**{"f.txt": tree.file(b"found")})})
    root = text(tree.dir(d=inner))
    names = [str(Name.of(bytes([number]) * 32)) for number in range(9)]
    source = tree.source()
    for name, value, ttl_s in (
        (names[0], f"/ipfs/{root}/d/ä %20?#", 60),
        (names[1], f"/ipns/{names[2]}/d/ä %20?#", 60),  # over another name, whose TTL is the shorter one
        (names[2], f"/ipfs/{root}", 0),
        (names[3], f"/ipns/{names[4]}", 60),
        (names[4], f"/ipns/{names[3]}", 60),
        (names[5], f"/ipfs/{root}/d/..", 60),
        (names[6], "https://example.com/", 60),
        (names[7], f"/ipns/{names[8]}", 60),
    ):
        source.records[name_of(name)] = record_to(value, ttl_s)
    async with gateway(source) as address:
        for name, kept in ((names[0], 60), (names[1], 0)):
            answer = await ask(address, f"/ipns/{name}/f.txt")
            assert (answer.status, answer.body) == (200, b"found")
            assert answer.headers["cache-control"] == f"public, max-age={kept}"
        for name, said in (
            (3, "never to content"),
            (5, "leads nowhere"),
            (6, "leads nowhere"),
            (7, f"no record of {names[8]}"),
        ):
            answer = await ask(address, f"/ipns/{names[name]}/f.txt")
            assert (answer.status, said in answer.body.decode()) == (404, True)


async def test_a_dataset_of_wherrys_own():
    tree = Tree()
    leaf = CID.of(RAW, b"native")
    tree.blocks[leaf] = b"native"
    inner = dir_block([Entry("b.txt", FILE, leaf, 6), Entry("l", LINK, target="b.txt")])
    tree.emit(inner)
    top = dir_block([Entry("a.txt", FILE, leaf, 6), Entry("d", DIR, inner.cid, 6, 3)])
    tree.emit(top)
    root = dataset_block(Entry("", DIR, top.cid, 12, 5), {})
    tree.emit(root)
    async with gateway(tree.source()) as address:
        page = await ask(address, f"/ipfs/{root.cid}/")
        assert page.status == 200
        assert re.findall(r'href="\./([^"]+)"', page.body.decode()) == ["a.txt", "d/"]
        assert (await ask(address, f"/ipfs/{root.cid}/d")).headers["location"] == f"/ipfs/{root.cid}/d/"
        assert (await ask(address, f"/ipfs/{root.cid}/d/b.txt", Range="bytes=1-2")).body == b"at"
        assert (await ask(address, f"/ipfs/{root.cid}/d/l")).body == b"b.txt"
        assert (await ask(address, f"/ipfs/{root.cid}/no")).status == 404
        car = await ask(address, f"/ipfs/{root.cid}?format=car")
        assert car_cids(car.body) == [str(cid) for cid in (root.cid, top.cid, leaf, inner.cid)]
        for path in ("d", "d/b.txt"):  # with the blocks that prove the way
            car = await ask(address, f"/ipfs/{root.cid}/{path}?format=car")
            assert car_cids(car.body) == [str(cid) for cid in (root.cid, top.cid, inner.cid, leaf)]
        for path in ("d/l", "d/no", "a.txt/no"):
            assert (await ask(address, f"/ipfs/{root.cid}/{path}?format=car")).status == 404


async def test_who_is_banned_is_refused_and_observers_are_told(site):
    tree, root, _ = site
    told, banned = [], set()
    more = {"gate": lambda address, key: address in banned, "emit": told.append}
    async with gateway(tree.source(), more=more) as address:
        assert (await ask(address, f"/ipfs/{root}/note.txt")).body == b"hello"
        assert (await ask(address, f"/ipfs/{root}/nothing")).status == 404
        banned.add("127.0.0.1")
        for path in (f"/ipfs/{root}?format=raw", f"/ipfs/{root}?format=car", f"/ipfs/{root}/", f"/ipns/{NAME}"):
            assert (await ask(address, path)).status == 403
    served = [event for event in told if isinstance(event, Served)]
    assert [(event.bytes, event.ok) for event in served] == [(5, True)]
    refused = [event.reason for event in told if isinstance(event, Refused)]
    assert refused == ["malformed", *["forbidden"] * 4]


async def test_another_name_on_loopback_leads_nowhere(site):
    tree, root, _ = site
    async with gateway(tree.source()) as address:
        base = parse_base(address)
        reader, writer = await asyncio.open_connection(base.host, base.port)
        writer.write(f"GET /ipfs/{root}?format=raw HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".encode())
        assert b" 403 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


# Readers


async def test_a_reader_that_takes_nothing_is_left_and_holds_no_buffers():
    tree = Tree()
    at = PublicCID(tree.file(*[bytes([number]) * 1_000_000 for number in range(24)]).cid)
    async with gateway(tree.source(), idle_timeout=1.0) as address:
        base = parse_base(address)
        stalled = []
        for _ in range(6):
            reader, writer = await asyncio.open_connection(base.host, base.port, limit=1024)
            writer.transport.pause_reading()
            writer.write(f"GET /ipfs/{at}?format=car HTTP/1.1\r\nHost: {base.host}\r\n\r\n".encode())
            stalled.append((reader, writer))
        quick = await ask(address, f"/ipfs/{at}?format=car")  # others are served meanwhile
        assert quick.whole
        assert len(car_cids(quick.body)) == 25
        for reader, writer in stalled:
            await asyncio.sleep(0)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await asyncio.wait_for(_until_reset(reader, writer), 15)


async def _until_reset(reader, writer):
    while not writer.transport.is_closing():
        writer.write(b"GET / HTTP/1.1\r\n")  # to a connection that was reset
        await writer.drain()
        await asyncio.sleep(0.2)
    raise ConnectionResetError


async def test_beyond_the_requests_that_are_allowed_it_says_to_come_back():
    tree = Tree()
    at = PublicCID(tree.file(*[bytes([number]) * 1_000_000 for number in range(24)]).cid)
    async with gateway(tree.source(), max_requests=1) as address:
        base = parse_base(address)
        reader, writer = await asyncio.open_connection(base.host, base.port, limit=1024)
        writer.write(f"GET /ipfs/{at}?format=car HTTP/1.1\r\nHost: {base.host}\r\n\r\n".encode())
        await reader.readline()  # it is being answered
        writer.transport.pause_reading()
        busy = await ask(address, f"/ipfs/{at}?format=raw")
        assert (busy.status, busy.headers["retry-after"]) == (429, "2")
        writer.transport.abort()
