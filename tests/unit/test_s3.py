"""The s3 transport: what it asks, what it refuses to ask, and services that lie, stall and flood."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("obstore", reason="the extra s3 is not installed")

import obstore  # after the line that skips
from obstore.store import MemoryStore

from wherry.dial import LAN, PUBLIC
from wherry.errors import (
    ConfigError,
    PeerBusy,
    PeerDenied,
    PeerError,
    PeerProtocolError,
    PeerTimeout,
    PeerUnreachable,
    UsageError,
)
from wherry.testing.blocks import CheckingLender, CountedPool, fetch_once
from wherry.testing.hostile import HostileServer, answer, drip, endless, garbage, hang_up, silent, stall
from wherry.testing.leaves import absent_leaf, file_of, right
from wherry.testing.web import plain_files
from wherry_s3.options import S3Options
from wherry_s3.transport import S3Transport, parse_address
from wherry_s3.wherry_check import SAYS

FILE = file_of("dir/ä b%.bin", *[10_000] * 3)
DATA = b"".join(leaf.data for leaf in FILE)
WANTS = [leaf.want for leaf in FILE]
PART = {**SAYS, "ETag": '"1"', "Content-Range": "bytes 0-29999/30000"}


@pytest.fixture(scope="module", autouse=True)
def runtime():
    """obstore's threads and their descriptors are made at the first use in a process, and stay."""
    obstore.put(MemoryStore(), "warm", b"")


@pytest.fixture(autouse=True)
def no_settings_of_this_machine(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL", "AWS_SKIP_SIGNATURE"):
        monkeypatch.delenv(name, raising=False)


def options(server, **more):
    given = {"access_key_id": "the-key", "secret_access_key": "the-secret"} if "anonymous" not in more else {}
    return S3Options(endpoint=server.url, allow_http=True, connect_timeout=1.0, idle_timeout=0.5, **given, **more)


async def fetched(server, wants=WANTS, address="s3://bucket/pre/", **more):
    pool = CountedPool()
    try:
        async with asyncio.timeout(20), S3Transport(options(server, **more)).connect(address) as channel:
            return await fetch_once(channel, wants, pool)
    finally:
        assert pool.out == 0


def served(*behaviours):
    return HostileServer(answer(status=404), *behaviours)


async def test_neighbours_are_one_signed_request():
    with HostileServer(plain_files({"/bucket/pre/dir/ä b%.bin": DATA}, headers=SAYS)) as server:
        right(await fetched(server, WANTS[::-1]), FILE[::-1])
        head, get = server.requests
    assert (head.method, head.path) == ("HEAD", "/bucket/pre/wherry-probe")
    assert (get.path, get.headers["range"]) == ("/bucket/pre/dir/%C3%A4%20b%25.bin", "bytes=0-29999")
    assert "the-key/" in get.headers["authorization"]
    assert "the-secret" not in str(get)


async def test_anonymous_requests_carry_no_signature():
    with HostileServer(plain_files({"/bucket/pre/dir/ä b%.bin": DATA}, headers=SAYS)) as server:
        right(await fetched(server, anonymous=True), FILE)
        assert not any("authorization" in request.headers for request in server.requests)


async def test_a_dataset_that_is_one_object():
    wants = [want._replace(path="") for want in WANTS]
    with HostileServer(plain_files({"/bucket/some.bin": DATA}, headers=SAYS)) as server:
        right(await fetched(server, wants, "s3://bucket/some.bin"), FILE)
        assert (await fetched(server, wants, "s3://bucket/some.bin/")).missing == {0, 1, 2}
        assert (await fetched(server, wants, "s3://bucket")).missing == {0, 1, 2}


async def test_what_is_not_there_or_too_short_is_missing():
    with HostileServer(plain_files({"/bucket/pre/dir/ä b%.bin": DATA[:25_000]}, headers=SAYS)) as server:
        beyond = WANTS[0]._replace(offset=50_000)
        odd = WANTS[0]._replace(path="a\x01b")
        found = await fetched(server, [*WANTS, beyond, odd, absent_leaf().want])
        assert not found.faults
        assert found.missing == {2, 3, 4, 5}


async def test_manifest_nodes_are_missing_and_cost_no_request():
    with served() as server:
        assert (await fetched(server, [WANTS[0]._replace(size=None)])).missing == {0}
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (answer(status=403), PeerDenied), (answer(status=401), PeerDenied), (answer(status=503), PeerBusy),
        (answer(status=429), PeerBusy), (answer(status=500), PeerProtocolError), (answer(DATA, headers=SAYS), PeerError),
        (answer(DATA, status=206, headers={**PART, "Content-Range": "bytes 1-30000/30001"}), PeerProtocolError),
        (answer(DATA, status=206, headers={**PART, "Content-Range": "bytes 0-9999/30000"}), PeerProtocolError),
        (answer(DATA[:-1], status=206, headers={**PART, "Content-Length": 30_000, "Connection": "close"}), PeerError),
        (silent(), PeerTimeout), (hang_up(), PeerError), (hang_up(reset=True), PeerError), (garbage(), PeerError),
        (stall(DATA, after=15_000, headers=PART), PeerError), (drip(DATA, every_s=0.05, size=10, headers=PART), PeerError),
    ],
)  # fmt: skip
async def test_services_that_fail_refuse_lie_or_stall(behaviour, error):
    with served(behaviour) as server, pytest.raises(error) as caught:
        await fetched(server)
    assert caught.value.peer == "s3://bucket/pre/"
    assert "the-secret" not in str(caught.value)


@pytest.mark.parametrize("status", [403, 500])
async def test_errors_name_the_object_and_repeat_nothing_of_the_librarys(status):
    with served(answer(status=status)) as server, pytest.raises(PeerError) as caught:
        await fetched(server)
    said = caught.value.message
    assert said.startswith("s3://bucket/pre/: the service ")
    assert r"the object 'pre/dir/\xe4 b%.bin'" in said
    assert "Generic" not in said
    assert server.url not in said
    assert status == 500 or "permits" in caught.value.hint


async def test_an_answer_without_end_is_not_taken_in():
    """It says one length for the range, and another for the body."""
    flood = endless(DATA, chunked=False, headers={**PART, "Content-Length": 1 << 40})

    def behave(exchange):
        head = exchange.head
        exchange.head = lambda status, headers: head(206, headers)
        return flood(exchange)

    with served(behave) as server:
        with pytest.raises(PeerError, match="more than was asked for"):
            await fetched(server)
        assert server.bytes_sent < 16 << 20, "no more than sockets and obstore's own buffers hold"


@pytest.mark.parametrize(
    ("behaviour", "error"),
    [(silent(), PeerTimeout), (hang_up(), PeerError), (answer(status=503), PeerBusy), (garbage(), PeerError)],
)  # fmt: skip
async def test_what_proves_nothing(behaviour, error):
    with HostileServer(behaviour) as server, pytest.raises(error):
        await fetched(server)


async def test_nobody_there():
    with HostileServer() as server:
        pass
    with pytest.raises(PeerUnreachable):
        await fetched(server)


@pytest.mark.parametrize("dial", [LAN, PUBLIC])
async def test_nobody_else_has_it_dialled(dial):
    with HostileServer() as server, pytest.raises(PeerDenied, match="named by others"):
        async with S3Transport(options(server), dial=dial).connect("s3://bucket/"):
            pass
    assert server.connections == 0


async def test_without_credentials_none_are_looked_for():
    """obstore would ask link-local addresses, where clouds keep theirs."""
    with pytest.raises(UsageError, match="no credentials") as caught:
        async with S3Transport(S3Options()).connect("s3://bucket/"):
            pass
    assert "anonymous" in caught.value.hint


@pytest.mark.parametrize(
    ("address", "parts"),
    [("s3://bucket", ("bucket", "")), ("s3://bucket/", ("bucket", "")), ("s3://my.bucket/a%20b/c", ("my.bucket", "a b/c"))],
)
def test_addresses(address, parts):
    assert parse_address(address) == parts


@pytest.mark.parametrize(
    "address", ["s3:", "s3://", "s3:///key", "s3://B/", "s3://u:p@bucket/", "s3://bucket:80/", "s3://bucket/?v=1", "s3://bucket/#x",
                "s3://bucket/%00", "gs://bucket/", "s3://[bucket/", "s3://bucket/" + "x" * 3000]
)  # fmt: skip
def test_what_is_no_address(address):
    with pytest.raises(UsageError):
        parse_address(address)


@pytest.mark.parametrize(
    "wrong",
    [
        {"endpoint": "minio:9000"}, {"endpoint": "http://h"}, {"endpoint": "https://u:secret@h"}, {"access_key_id": "k"},
        {"secret_access_key": "secret"}, {"access_key_id": "k", "secret_access_key": "secret secret"}, {"region": ""},
    ],
)  # fmt: skip
def test_options_that_make_no_sense(wrong):
    with pytest.raises(ValueError, match=r"\w+") as caught:
        S3Options(**wrong)
    assert "secret" not in str(caught.value).replace("secret_access_key", "")


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_authorities_that_cannot_be_read(tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with HostileServer() as server, pytest.raises(ConfigError, match=r"transport\.s3"):
        await fetched(server, tls_ca=path)


async def test_what_came_of_a_run_before_it_was_cut_counts():
    def behave(exchange):
        exchange.head(206, {**PART, "Content-Length": len(DATA)})
        exchange.send(DATA[:25_000])
        exchange.wait()

    pool = CountedPool()
    lender = CheckingLender(WANTS, pool)
    with served(behave) as server:
        async with asyncio.timeout(20), S3Transport(options(server)).connect("s3://bucket/pre/") as channel:
            arrivals = channel.fetch(WANTS, lender)
            arrival = await anext(arrivals)
            lender.settle(arrival)
            arrival.buffer.release()
            with pytest.raises(PeerError):
                await anext(arrivals)
    assert not arrival.rejected
    assert lender.blocks.get(0) == FILE[0].data
    assert 2 not in lender.blocks
    assert pool.out == 0
