"""What HTTP the control socket speaks, and what it refuses (specs/0027 §6)."""

from __future__ import annotations

import json

import pytest
from controlling import controlling, raw, request, talking
from getting import World

from wherry.limits import CONTROL_BODY_BYTES_MAX
from wherry_cli.control import server as server_module


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@pytest.mark.parametrize(
    ("data", "status", "word"),
    [
        (b"\x00\xff" * 100, 400, b""),
        (request("GET", "/v1/nothing"), 404, b"does not know"),
        (request("PUT", "/v1/transfers"), 405, b"does not know"),
        (request("GET", "/v2/status"), 404, b"UsageError"),
        (request("GET", "/v1/transfers/" + "9" * 50), 400, b"no name of a transfer"),
        (request("GET", "/v1/transfers/..%2f..%2fetc"), 400, b"UsageError"),
        (request("POST", "/v1/transfers", b"{"), 400, b"no JSON"),
        (request("POST", "/v1/transfers", b"[" * 60_000), 400, b"no JSON"),
        (request("POST", "/v1/transfers", b"{}", kind=b"text/plain"), 400, b"application/json"),
        (request("POST", "/v1/transfers", b"{}" + b" " * CONTROL_BODY_BYTES_MAX), 413, b"at most"),
        (request("POST", "/v1/transfers/1/pause", b'{"x":1}'), 400, b"unknown key 'x'"),
        (request("DELETE", "/v1/limits", b'{"scope":"node"}'), 400, b"unknown key 'scope'"),
        (request("GET", "/v1/status", b'{"x":1}'), 400, b"unknown key 'x'"),
        (request("GET", "/v1/status", b"x", kind=b"text/plain"), 400, b"application/json"),
        (request("GET", "/v1/events", b"[]"), 400, b"no JSON object"),
        (request("GET", "/v1/status?x=1"), 400, b"unknown key 'x'"),
        (request("GET", "/v1/status?explain=a"), 400, b"it takes none"),
        (request("GET", "/v1/peers?foo=1"), 400, b"known: explain"),
        (request("GET", "/v1/peers?explian=a"), 400, b"did you mean 'explain'?"),
        (request("GET", "/v1/peers?explain="), 400, b"a peer is named"),
        (request("GET", "/v1/status", b"", b"Origin: http://evil"), 400, b"no place for web pages"),
        (request("GET", "/v1/status", b"", b"Sec-Fetch-Site: cross-site"), 400, b"no place for web pages"),
        (request("GET", "/v1/status", b"", b"X: " + b"y" * 20_000), 400, b""),
    ],
)
async def test_hostile_requests_are_refused_and_the_daemon_goes_on(world, data, status, word):
    async with controlling(world) as (_, control, home):
        found, body = await raw(home, data)
        assert found == status
        assert word in body
        if word:
            assert json.loads(body)["schema"] == "wherry/error/1"
        assert (await control.status())["transfers"] == {}


@pytest.mark.parametrize(
    ("head", "word"),
    [
        (b"get /v1/status HTTP/1.1", "no request"),
        (b"GET /v1/status HTTP/2.0", "no request"),
        (b"GET /v1/status", "no request"),
        (b"GET http://x/v1/status HTTP/1.1", "no request"),
        (b"GET /v1/status\t HTTP/1.1", "no request"),
        (b"GET /v1/status HTTP/1.1\nOrigin: x", "no request"),
        (b"GET /v1/status HTTP/1.1\r\nX : y", "no header"),
        (b"GET /v1/status HTTP/1.1\r\nX: y\r\n folded: z", "no header"),
        (b"GET /v1/status HTTP/1.1\r\nX: y\x00", "no header"),
        (b"GET /v1/status HTTP/1.1\r\nX: y\nOrigin: z", "no header"),
        (b"GET /v1/status HTTP/1.1\r\nno colon", "no header"),
        (b"GET /v1/status HTTP/1.1\r\nHost: a\r\nHost: b", "one host"),
        (b"POST /v1/transfers HTTP/1.1\r\nContent-Length: 2\r\ncontent-length: 2", "one content-length"),
        (b"POST /v1/transfers HTTP/1.1\r\nContent-Length: -2", "says the length"),
        (b"POST /v1/transfers HTTP/1.1\r\nContent-Length: +2", "says the length"),
        (b"POST /v1/transfers HTTP/1.1\r\nContent-Length: 2, 2", "says the length"),
        (b"POST /v1/transfers HTTP/1.1\r\nContent-Length: " + b"9" * 5000, "says the length"),
        (b"POST /v1/transfers HTTP/1.1\r\nTransfer-Encoding: chunked", "says the length"),
        (b"GET /v1/peers?" + b"a=b&" * 20 + b" HTTP/1.1", "few fields"),
    ],
)
async def test_what_is_no_plain_http_is_refused_in_words(world, head, word):
    async with controlling(world) as (_, control, home):
        found, body = await raw(home, head + b"\r\n\r\n")
        assert found == 400
        assert word in json.loads(body)["message"]
        assert (await control.status())["transfers"] == {}


async def test_a_request_that_takes_no_body_may_have_an_object_without_keys(world):
    async with controlling(world) as (_, _, home):
        assert (await raw(home, request("GET", "/v1/status", b"{}")))[0] == 200
        assert (await raw(home, request("DELETE", "/v1/limits", b"{}")))[0] == 200


async def test_requests_may_follow_each_other_on_one_connection(world):
    status = b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n"
    async with controlling(world) as (_, _, home):
        async with talking(home) as (reader, writer):
            writer.write(status + status.replace(b"GET", b"HEAD") + status.replace(b"status", b"nothing"))
            found = []
            for lines in (2, 1):
                for _ in range(lines):
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length: ")[2].split()[0])
                    body = b"" if len(found) == 1 else await reader.readexactly(length)
                    found.append((head.split()[1], length > 0, bool(body)))
            assert found == [(b"200", True, True), (b"200", True, False), (b"404", True, True)]
            assert await reader.read() == b""  # what was refused is the last


async def test_a_body_is_waited_for_where_the_client_waits_for_leave(world):
    body = b'{"what": "nonsense", "output": "/x"}'
    async with controlling(world) as (_, _, home):
        async with talking(home) as (reader, writer):
            lines = [b"Content-Length: %d" % len(body), b"Expect: 100-continue"]
            writer.write(request("POST", "/v1/transfers", b"", *lines))
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(body)
            assert b'"CIDError"' in await reader.read()


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_events_go_to_other_clients_too(world, version):
    async with controlling(world) as (_, _, home):
        async with talking(home) as (reader, writer):
            writer.write(request("GET", "/v1/events").replace(b"HTTP/1.1", b"HTTP/" + version))
            head = await reader.readuntil(b"\r\n\r\n")
            assert (b"chunked" in head) == (version == b"1.1")
            assert b"application/x-ndjson" in head
            size = int(await reader.readline(), 16) if version == b"1.1" else -1
            line = await reader.readexactly(size) if size > 0 else await reader.readline()
            assert json.loads(line)["event"] == "listed"
        assert (await raw(home, request("HEAD", "/v1/events"))) == (200, b"")


async def test_slow_requests_are_given_up(world, monkeypatch):
    monkeypatch.setattr(server_module, "CONTROL_BODY_S", 0.2)
    async with controlling(world) as (_, control, home):
        found, body = await raw(home, request("POST", "/v1/transfers", b"{", b"Content-Length: 100"))
        assert found == 400
        assert b"took more than" in body
        assert (await raw(home, b""))[0] is None  # says nothing: closed without a word
        assert (await raw(home, b"GET /v1/sta"))[0] in (None, 408)
        assert (await control.status())["schema"] == "wherry/status/1"
