"""The web transport towards servers: what it asks, what it believes, and servers that lie, stall and flood."""

from __future__ import annotations

import asyncio
import gzip
import time

import pytest

from wherry.errors import PeerBusy, PeerDenied, PeerError, PeerProtocolError, PeerTimeout, PeerUnreachable, UsageError
from wherry.observe import Note
from wherry.testing.blocks import CountedPool, fetch_once, harvest
from wherry.testing.hostile import HostileServer, answer, drip, endless, endless_headers, hang_up, redirect, silent, stall
from wherry.testing.leaves import absent_leaf, file_of, right
from wherry.testing.web import plain_files
from wherry_web.options import WebOptions
from wherry_web.transport import WebTransport

QUICK = {"connect_timeout": 1.0, "idle_timeout": 0.5}
FILE = file_of("dir/file.bin", *[10_000] * 3)
DATA = b"".join(leaf.data for leaf in FILE)
WANTS = [leaf.want for leaf in FILE]
HEAD = answer()


def served(*behaviours, head=HEAD):
    """A server that answers HEAD, and then as told; the last behaviour repeats."""
    return HostileServer(head, *behaviours)


def part(data=DATA, *, says=None, **headers):
    """A 206 that says what it likes."""
    return answer(data, status=206, headers={"Content-Range": says or f"bytes 0-{len(data) - 1}/{len(DATA)}", **headers})


async def fetched(server, wants=WANTS, *, path="/", options=None, emit=lambda event: None):
    """Fetches once; gives what came."""
    pool = CountedPool()
    transport = WebTransport(options or WebOptions(**QUICK), emit=emit)
    try:
        async with asyncio.timeout(20), transport.connect(f"{server.url}{path}") as channel:
            return await fetch_once(channel, wants, pool)
    finally:
        assert pool.out == 0


async def test_neighbours_are_one_request_and_files_are_asked_for_by_path():
    other = file_of("dir/ä b%2F?#/ü.bin", 700)
    held = {"/mirror/dir/file.bin": DATA, "/mirror/dir/ä b%2F?#/ü.bin": other[0].data}
    leaves = [FILE[2], other[0], FILE[0], FILE[1]]
    with HostileServer(plain_files(held)) as server:
        right(await fetched(server, [leaf.want for leaf in leaves], path="/mirror?key=a%2Fb"), leaves)
        asked = sorted((request.method, request.path, request.headers.get("range")) for request in server.requests)
    assert asked == [
        ("GET", "/mirror/dir/%C3%A4%20b%252F%3F%23/%C3%BC.bin?key=a%2Fb", "bytes=0-699"),
        ("GET", "/mirror/dir/file.bin?key=a%2Fb", "bytes=0-29999"),
        ("HEAD", "/mirror?key=a%2Fb", None),
    ]
    headers = server.requests[-1].headers
    assert headers["accept-encoding"] == "identity"
    assert headers["user-agent"].startswith("wherry/")
    assert headers["host"] == server.url.removeprefix("http://")


async def test_a_dataset_that_is_one_file_lies_at_the_address():
    wants = [want._replace(path="") for want in WANTS]
    with HostileServer(plain_files({"/some.bin": DATA})) as server:
        right(await fetched(server, wants, path="/some.bin"), FILE)
        assert (await fetched(server, wants, path="/some/")).missing == {0, 1, 2}, "a directory is no file"


async def test_what_has_no_place_is_missing_and_costs_no_request():
    wants = [WANTS[0]._replace(size=None), absent_leaf().want._replace(size=None)]
    with HostileServer(plain_files({})) as server:
        assert (await fetched(server, wants)).missing == {0, 1}
        assert len(server.requests) == 1


@pytest.mark.parametrize("status", [404, 410, 416])
async def test_what_the_server_does_not_have_is_missing(status):
    with served(answer(b"x" * 1000, status=status)) as server:
        found = await fetched(server, [*WANTS, absent_leaf().want])
        assert found.missing == {0, 1, 2, 3}
        assert server.connections <= 2


async def test_a_shorter_file_gives_what_it_has():
    with HostileServer(plain_files({"/dir/file.bin": DATA[:25_000]})) as server:
        right(await fetched(server), FILE, absent={2})


@pytest.mark.parametrize("status", [200, 301, 302, 400, 403, 404, 405, 500])
async def test_any_answer_proves_that_a_server_is_there(status):
    with HostileServer(answer(status=status)) as server:
        async with WebTransport(WebOptions(**QUICK)).connect(server.url):
            pass


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [(silent(), PeerTimeout), (hang_up(), PeerError), (endless_headers(), PeerProtocolError), (answer(status=503), PeerBusy)],
)
async def test_what_proves_nothing(behaviour, error):
    with HostileServer(behaviour) as server, pytest.raises(error) as caught:
        async with WebTransport(WebOptions(**QUICK)).connect(server.url):
            pass
    assert str(server.port) in caught.value.peer


async def test_nobody_there():
    with HostileServer() as server:
        pass
    with pytest.raises(PeerUnreachable):
        await fetched(server)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, PeerDenied),
        (403, PeerDenied),
        (429, PeerBusy),
        (503, PeerBusy),
        (500, PeerProtocolError),
        (204, PeerProtocolError),
    ],
)
async def test_statuses(status, error):
    with served(answer(status=status)) as server, pytest.raises(error, match=str(status)):
        await fetched(server)


@pytest.mark.parametrize("after", ["2", "Fri, 31 Dec 2100 23:59:59 GMT"])
async def test_who_asks_to_be_left_alone_is(after):
    with served(answer(status=429, headers={"Retry-After": after})) as server:
        async with WebTransport(WebOptions(**QUICK)).connect(server.url) as channel:
            for _ in range(3):
                with pytest.raises(PeerBusy):
                    await fetch_once(channel, WANTS, CountedPool())
        assert len(server.requests) == 2, "asked once, and not again"


@pytest.mark.parametrize("after", ["-5", "soon", "9" * 30, "Fri, 31 Dec 1999 23:59:59 GMT"])
async def test_a_retry_after_without_sense_costs_nothing(after):
    with served(answer(status=429, headers={"Retry-After": after})) as server:
        async with WebTransport(WebOptions(**QUICK)).connect(server.url) as channel:
            for _ in range(2):
                with pytest.raises(PeerBusy):
                    await fetch_once(channel, WANTS, CountedPool())
        assert len(server.requests) == 3


# Answers that are none


@pytest.mark.parametrize(
    "says",
    [
        "bytes 1-29999/30000", "bytes 0-29998/30000", "bytes 0-30000/30001", "bytes 0-9999/30000", "bytes 29999-0/30000",
        "bytes */30000", "items 0-29999/30000", "bytes 0-29999", " bytes 0-29999/30000x", "nonsense",
        "bytes 0-" + "9" * 30 + "/*",
    ],
)  # fmt: skip
async def test_a_part_that_is_another_one_than_was_asked_for(says):
    with served(part(says=says)) as server, pytest.raises(PeerProtocolError, match="(other bytes|which|two lengths)"):
        await fetched(server)


async def test_a_part_that_does_not_say_which():
    with served(answer(DATA, status=206)) as server, pytest.raises(PeerProtocolError, match="does not say which"):
        await fetched(server)


@pytest.mark.parametrize(
    "headers", [{"Content-Encoding": "gzip"}, {"Content-Encoding": "br"}, {"Transfer-Encoding": "gzip, chunked"}]
)
async def test_what_is_coded_is_refused_before_it_is_taken(headers):
    bomb = gzip.compress(bytes(1 << 24))
    with served(answer(bomb, status=206, headers={"Content-Range": "bytes 0-29999/30000", **headers})) as server:
        with pytest.raises(PeerProtocolError, match="coded"):
            await fetched(server)


@pytest.mark.parametrize("chunked", [True, False])
@pytest.mark.parametrize("where", ["whole", "part"])
async def test_a_body_without_end_is_not_read_to_its_end(chunked, where):
    headers = {"Content-Range": "bytes 0-29999/30000"} if where == "part" else {}
    flood = endless(DATA, chunked=chunked, headers=headers)

    def behave(exchange):
        head = exchange.head
        exchange.head = lambda status, headers: head(206 if where == "part" else 200, headers)
        return flood(exchange)

    with served(behave) as server:
        right(await fetched(server), FILE)
        assert server.bytes_sent < 8 << 20, "no more than sockets hold"


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (silent(), PeerTimeout), (drip(DATA, every_s=0.05, size=10), PeerTimeout), (stall(DATA, after=15_000), PeerTimeout),
        (hang_up(reset=True), PeerError), (endless_headers(), PeerProtocolError),
        (answer(DATA[:-1], headers={"Content-Length": len(DATA), "Connection": "close"}), PeerError),
    ],
)  # fmt: skip
async def test_who_stalls_drips_or_cuts_is_given_up(behaviour, error):
    with served(behaviour) as server:
        began = time.monotonic()
        with pytest.raises(error) as caught:
            await fetched(server)
        assert time.monotonic() - began < 10
        assert str(server.port) in caught.value.peer


async def test_what_came_before_a_failure_counts():
    first, second = file_of("a", 1000), file_of("b", 1000)
    options = WebOptions(**QUICK, connections=1)
    with HostileServer(by_path={"/a": plain_files({"/a": first[0].data}), "/b": answer(status=500), "/": HEAD}) as server:
        pool, found = CountedPool(), []
        async with WebTransport(options).connect(server.url) as channel:
            lender = type("Keeping", (), {})()
            lender.lend, lender.settle = pool.lend, found.append
            arrivals = channel.fetch([first[0].want, second[0].want], lender)
            arrival = await anext(arrivals)
            assert [laid.want for laid in arrival.blocks] == [0]
            arrival.buffer.release()
            with pytest.raises(PeerProtocolError, match="500"):
                await anext(arrivals)
    assert len(found) == 1
    assert pool.out == 0


# Servers without ranges


async def test_a_server_without_ranges_gives_the_beginnings_of_files():
    long = file_of("long", *[1 << 20] * 3, 5)
    data = b"".join(leaf.data for leaf in long)
    with HostileServer(plain_files({"/long": data, "/dir/file.bin": DATA}, ranges=False)) as server:
        right(await fetched(server, [*WANTS, long[1].want, long[3].want]), [*FILE, long[1], long[3]])


async def test_what_lies_too_far_behind_for_it_is_missing_and_said():
    far = WANTS[0]._replace(offset=17 << 20)
    notes = []
    with served(endless(bytes(65536), chunked=False)) as server:
        found = await fetched(server, [far, far], emit=notes.append)
        assert found.missing == {0, 1}
        assert server.bytes_sent < 8 << 20
    assert [type(note) for note in notes] == [Note], "once"
    assert "no ranges" in notes[0].text


# Redirects


async def test_a_redirect_is_followed_remembered_and_asked_for_again_when_it_has_expired():
    with HostileServer(plain_files({"/far/file": DATA})) as far:
        with HostileServer(HEAD, redirect(f"{far.url}/far/file?signed=1"), redirect(f"{far.url}/far/file?signed=2")) as server:
            async with WebTransport(WebOptions(**QUICK)).connect(server.url) as channel:
                pool = CountedPool()
                for want, leaf in zip(WANTS, FILE, strict=True):
                    right(await harvest(channel, [want], pool), [leaf])
                assert len(server.requests) == 2, "HEAD, and one that was redirected"
                far.by_path = {"/far/file?signed=1": answer(status=403)}
                right(await harvest(channel, WANTS, pool), FILE)
        assert far.requests[-1].path == "/far/file?signed=2"
        assert far.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_every_kind_of_redirect_and_relative_ones(status):
    with HostileServer(HEAD, redirect("../b/x%20y?z", status=status), plain_files({"/b/x y": DATA})) as server:
        right(await fetched(server), FILE)
        assert server.requests[-1].path == "/b/x%20y?z"


async def test_a_circle_of_redirects_ends():
    with served(redirect("/dir/file.bin")) as server:
        with pytest.raises(PeerProtocolError, match="more than 3"):
            await fetched(server)
        assert len(server.requests) == 5


@pytest.mark.parametrize(
    "location",
    [
        "ftp://h/x", "file:///etc/passwd", "http://", "http://u:p@127.0.0.1/", "http://h:99999/", "x" * 20_000, "http://[::1",
        "http://" + "a" * 64 + ".example/",
    ],
)  # fmt: skip
async def test_redirects_that_lead_to_no_web_address(location):
    with served(redirect(location)) as server, pytest.raises(PeerProtocolError, match="redirects"):
        await fetched(server)


async def test_a_redirect_without_a_place():
    with served(answer(status=302)) as server, pytest.raises(PeerProtocolError, match="nowhere"):
        await fetched(server)


async def test_secrets_and_headers_stay_with_the_origin_that_they_are_for():
    with HostileServer(plain_files({"/file": DATA})) as far:
        with HostileServer(HEAD, redirect(f"{far.url}/file")) as server:
            options = WebOptions(
                **QUICK, token="secret-token", secret_header="X-Key: secret-key", headers=("X-Team: us",),
                origins=(server.url,), user_agent="tester",
            )  # fmt: skip
            right(await fetched(server, options=options), FILE)
        for request in server.requests:
            assert request.headers["authorization"] == "Bearer secret-token"
            assert (request.headers["x-key"], request.headers["x-team"]) == ("secret-key", "us")
    (request,) = far.requests
    assert not {"authorization", "x-key", "x-team"} & request.headers.keys()
    assert request.headers["user-agent"] == "tester"


async def test_the_token_is_for_the_origins_that_are_listed_alone():
    options = WebOptions(**QUICK, token="secret-token", origins=("https://127.0.0.1", "http://127.0.0.1:1"))
    with HostileServer(plain_files({"/dir/file.bin": DATA})) as server:
        right(await fetched(server, options=options), FILE)
    assert not any("authorization" in request.headers for request in server.requests)


# Over several requests


async def test_connections_are_kept_and_one_that_was_closed_is_made_again():
    small = [file_of(f"small/{number}", 500)[0] for number in range(200)]
    held = {f"/{leaf.want.path}": leaf.data for leaf in small}
    with HostileServer(plain_files(held)) as server:
        options = WebOptions(**QUICK, connections=3)
        async with WebTransport(options).connect(server.url) as channel:
            right(await harvest(channel, [leaf.want for leaf in small], CountedPool()), small)
            assert server.connections <= 3
            with server._lock:
                for sock in server._open:
                    sock.shutdown(2)
            right(await harvest(channel, [leaf.want for leaf in small], CountedPool()), small)


async def test_a_file_that_changes_meanwhile_is_noted_once():
    notes = []
    versions = iter(['"1"', '"2"', '"3"'])

    def changing(exchange):
        return plain_files({"/dir/file.bin": DATA}, headers={"ETag": next(versions, '"4"')})(exchange)

    with HostileServer(changing) as server:
        async with WebTransport(WebOptions(**QUICK), emit=notes.append).connect(server.url) as channel:
            for want, leaf in zip(WANTS, FILE, strict=True):
                right(await harvest(channel, [want], CountedPool()), [leaf])
    assert [note.text.count("changed while") for note in notes] == [1]


@pytest.mark.parametrize(
    "address",
    [
        "http:", "http://", "http:///x", "ftp://h/", "http://h/#x", "http://h:0/", "http://h:99999/", "http://[::1/",
        "http://h o/", "http://" + "h" * 3000, "http://u:secret@h/",
    ],
)  # fmt: skip
async def test_malformed_addresses(address):
    with pytest.raises(UsageError) as caught:
        async with WebTransport(WebOptions()).connect(address):
            pass
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "wrong",
    [
        {"token": "t"}, {"secret_header": "A: secret"}, {"token": "t t", "origins": ("https://h",)}, {"origins": ("h",)},
        {"origins": ("https://h/path",)}, {"headers": ("no colon",)}, {"headers": ("A: b\r\nC: d",)}, {"headers": ("Host: h",)},
        {"headers": ("Authorization: secret",)}, {"headers": ("Cookie: secret",)}, {"user_agent": "a\nb"},
        {"secret_header": "secret", "origins": ("https://h",)}, {"secret_header": "Range: secret", "origins": ("https://h",)},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=r"\w+") as caught:
        WebOptions(**wrong)
    assert "secret" not in str(caught.value).replace("secret_header", "").replace("is a secret", "")
