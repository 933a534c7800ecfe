"""What a web server answers to a request for a range, judged and received (specs/0020 §4).

The server is a stranger: nothing is taken in that was not asked for, whatever it says of lengths and codings. That the bytes
are right, core finds by their hashes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wherry.errors import PeerBusy, PeerDenied, PeerProtocolError
from wherry.httpline import DRAIN_BYTES_MAX, check_plain, fill

if TYPE_CHECKING:
    import http.client

    from wherry.httpline import Line
    from wherry.runs import Run

SKIP_BYTES_MAX: Final = 16 << 20  # of a file that a server without ranges sends from its beginning each time
_RANGE: Final = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)
_ABSENT: Final = frozenset({404, 410, 416})


def receive(response: http.client.HTTPResponse, run: Run, view: memoryview, peer: str, line: Line) -> int | None:
    """Receives the beginning of ``run`` into its place in ``view``; gives how many bytes of it the server has.

    None: a server without ranges has it too far behind. Raises PeerError for what is no answer to the request, OSError.
    ``line`` is where it comes. `Run.came` tells what did, also of an answer that ends before its end.
    """
    run.came = 0
    status = response.status
    if status in _ABSENT:
        return 0
    _check_status(status, response.headers.get("Retry-After"), peer)
    check_plain(response, peer)
    skip = 0
    if status == 206:
        count = _given(response, run, peer)
    else:
        if run.offset > SKIP_BYTES_MAX:
            return None
        length = run.stop if response.length is None else min(run.stop, response.length)
        skip, count = run.offset, length - run.offset
        if count <= 0:
            return 0
    discard(response, skip, peer)
    try:
        fill(response, view[run.at : run.at + count], peer, line)
    finally:
        run.came = line.filled
    return count


def discard(response: http.client.HTTPResponse, count: int, peer: str) -> None:
    """Receives ``count`` bytes and drops them. Raises PeerProtocolError if the answer ends before, OSError."""
    scratch = memoryview(bytearray(min(count, DRAIN_BYTES_MAX)))
    while count:
        piece = scratch[: min(count, len(scratch))]
        fill(response, piece, peer)
        count -= len(piece)


def _check_status(status: int, retry_after: str | None, peer: str) -> None:
    if status in (200, 206):
        return
    if status in (401, 403):
        hint = "give its token, and origins, under [transport.web] or a table of its own"
        raise PeerDenied(f"{peer} refuses us (status {status})", peer=peer, hint=hint)
    if status in (429, 503):
        wait = f", and asks to wait: {retry_after[:40]!a}" if retry_after else ""
        raise PeerBusy(f"{peer} has too much to do (status {status}){wait}", peer=peer)
    raise PeerProtocolError(f"{peer} answered with status {status}", peer=peer)


def _given(response: http.client.HTTPResponse, run: Run, peer: str) -> int:
    """Gives how many bytes a 206 brings. Raises PeerProtocolError unless they are those that were asked for, from the first."""
    text = response.headers.get("Content-Range", "")
    match = _RANGE.fullmatch(text)
    if match is None:
        raise PeerProtocolError(f"{peer} sends a part and does not say which ({text[:60]!a})", peer=peer)
    first, last = int(match[1]), int(match[2])
    ends_there = match[3] != "*" and int(match[3]) == last + 1
    count = last + 1 - first
    if first != run.offset or not 0 < count <= run.size or (count < run.size and not ends_there):
        raise PeerProtocolError(
            f"{peer} sends other bytes than were asked for ({text[:60]!a}, not {run.offset}-{run.stop - 1})", peer=peer
        )
    if response.length is not None and response.length != count:
        raise PeerProtocolError(f"{peer} says two lengths: {response.length} and {text[:60]!a}", peer=peer)
    return count
