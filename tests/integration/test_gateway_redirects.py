"""A gateway that redirects: where it is followed, and where not (specs/0033 §11; SSRF: tests/unit/test_gateway_dial.py)."""

from __future__ import annotations

import pytest
from foreign_gateway import fetched, foreign, good_car, made_file, whole

from wherry.errors import PeerProtocolError
from wherry_http.options import HttpOptions

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]


@pytest.fixture(scope="module")
def file():
    """A file of 200 leaves of 40 KiB."""
    return made_file()


def moving(where, status=302, *, only=None):
    def moved(handler, path, query):
        if not path.startswith("/ipfs/") or (only and only not in query):
            return False
        handler.say(status, b"over there", "text/plain", Location=where + path + "?" + query if "{" not in where else where)
        return True

    return moved


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_gateway_that_moved_is_followed(status, file):
    _, blocks, wants, _ = file
    with foreign(blocks, car=good_car) as there, foreign({}, moved=moving(there.address, status)) as here:
        token = HttpOptions(connect_timeout=2.0, idle_timeout=1.0, token="a-secret")
        whole(await fetched(here.address, wants[:20], options=token, again=2), wants[:20])
        assert [path for path in here.requests if path.startswith("/ipfs/")] == ["/ipfs/bafkqaaa?format=raw"]  # all of it moved
        assert there.cars == 2
        assert not [headers for headers in there.seen if "Authorization" in headers]
        assert here.seen[-1]["Authorization"] == "Bearer a-secret"


async def test_one_that_sends_each_block_elsewhere_is_followed_too(file):
    _, blocks, wants, _ = file

    def moved(handler, path, query):
        if path.startswith("/ipfs/") and "bafkqaaa" not in path:
            handler.say(301, b"", "text/plain", Location=f"http://127.0.0.1:{there.server_port}{path}?{query}")
            return True
        return False

    with foreign(blocks) as there, foreign({}, moved=moved) as here:
        whole(await fetched(here.address, wants[:5], again=2), wants[:5])
        assert len([path for path in there.requests if "format=raw" in path]) == 10


async def test_redirects_that_do_not_end_are_refused(file):
    _, blocks, wants, _ = file

    def round_and_round(handler, path, query):
        if "bafkqaaa" in path or not path.startswith("/ipfs/"):
            return False
        handler.say(302, b"", "text/plain", Location=f"{path}?{query}")
        return True

    with foreign(blocks, moved=round_and_round) as server:
        with pytest.raises(PeerProtocolError, match="more than 3 times") as caught:
            await fetched(server.address, wants[:1])
        assert "--from" in (caught.value.hint or "")
        assert len(server.requests) < 8


@pytest.mark.parametrize(
    "where", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:secret@127.0.0.1/", "", "http://[", "x" * 20_000]
)
async def test_redirects_to_what_is_no_gateway_are_refused(where, file):
    _, blocks, wants, _ = file

    def moved(handler, path, _query):
        if "bafkqaaa" in path or not path.startswith("/ipfs/"):
            return False
        handler.say(302, b"", "text/plain", **({"Location": where} if where else {}))
        return True

    with foreign(blocks, moved=moved) as server, pytest.raises(PeerProtocolError) as caught:
        await fetched(server.address, wants[:1])
    assert caught.value.peer == server.address
