"""Asks an HTTP gateway, or a wherry node, for the record of a name: ``GET /ipns/NAME`` (specs/0034 §5).

Where it redirects is followed as for blocks (specs/0033 §11): to whom, and how often, is `Asker`'s to say.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.errors import PeerProtocolError, UsageError
from wherry.httpline import fill
from wherry.httplines import Lines
from wherry.limits import NAME_RECORD_BYTES_MAX
from wherry.offload import stoppable
from wherry.weburl import parsed
from wherry_http.gateways import Asker, Held, kind_of

if TYPE_CHECKING:
    import http.client
    import ssl

    from wherry.dial import Dial
    from wherry_http.options import HttpOptions

_TYPE: Final = "application/vnd.ipfs.ipns-record"


async def record_at(url: str, name: str, tls: ssl.SSLContext | None, options: HttpOptions, dial: Dial) -> bytes | None:
    """Asks ``url``, and where it redirects; None: it has none. Raises PeerError, UsageError for a host that is none.

    Cancelled, it cuts the connection, and comes back when its thread has.
    """
    lines, held = Lines(options, tls), Held()
    try:
        asker = Asker(parsed(url), lines, options, dial)
    except ValueError as problem:
        raise UsageError(f"address {url!r}: {problem}", hint="write http://HOST:PORT") from problem

    def ask() -> bytes | None:
        path = f"/ipns/{name}?format=ipns-record"
        with asker.answer(path, _TYPE, NAME_RECORD_BYTES_MAX, held.hold) as (response, _, _):
            asker.check(response)
            if response.status != 200 or kind_of(response) != _TYPE:
                return None  # whatever else it is, it is no record
            return _received(response, asker.peer)

    try:
        return await stoppable(ask, held.cut)
    finally:
        lines.close()


def _received(response: http.client.HTTPResponse, peer: str) -> bytes:
    """Reads a record. Raises PeerProtocolError, OSError, HTTPException."""
    if response.length is not None and response.length <= NAME_RECORD_BYTES_MAX:
        view = bytearray(response.length)
        fill(response, memoryview(view), peer)
        return bytes(view)
    found = b"" if response.length is not None else response.read(NAME_RECORD_BYTES_MAX + 1)
    if response.length is not None or len(found) > NAME_RECORD_BYTES_MAX:
        raise PeerProtocolError(f"{peer} sends a record of more than {NAME_RECORD_BYTES_MAX:,} bytes", peer=peer)
    return found
