"""Lays out bodies as frames that `wherry.outlet` sends: a CAR, and the bytes of a file (specs/0033 §6, §7).

They are made one after the other, as the reader takes them. ``chunked`` writes the framing of HTTP/1.1 around them, since bytes
that the kernel sends past the HTTP library cannot get it from there; its last chunk is the library's.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry import dagcbor
from wherry.limits import LEAF_BYTES_MAX
from wherry.outlet import GATHER_BYTES
from wherry.protobuf import varint
from wherry.units import KiB
from wherry.wire.frames import Frame

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wherry.abc.transport import Held
    from wherry.gateway.order import Sent
    from wherry.publiccid import PublicCID

_RUN_MAX: Final = 16  # blocks of a file that go by one call
_BEGUN_FRAMES: Final = 16  # made before an answer begins
_BEGUN_BYTES: Final = 256 * KiB


def car_header(root: PublicCID) -> bytes:
    """Writes the header of a CAR of version 1 with one root."""
    body = b"\xa2\x65roots\x81\xd8\x2a" + dagcbor.head(2, len(root) + 1) + b"\0" + root + b"\x67version\x01"
    return varint(len(body)) + body


def car(root: PublicCID, blocks: Iterable[Sent]) -> Iterator[Frame]:
    """Lays out a CAR. What ``blocks`` raises ends it abnormally: its reader sees that it was cut."""
    yield Frame(car_header(root), (), 0, 0)
    for cid, held, data in blocks:
        size = len(data) if held is None else held.size
        head = varint(len(cid) + size) + cid
        if held is None:
            yield Frame(head + data, (), 0, 0)
        elif size == 0:
            yield Frame(head, (), 0, 0)
        else:
            yield Frame(head, (held,), size, 0)


class Stretch(NamedTuple):
    """A block of a file, or a part of one, in its turn."""

    held: Held
    size: int  # what its parent says that it has


def plain(stretches: Iterable[Stretch]) -> Iterator[Frame]:
    """Lays out the bytes of a file: neighbours in one file of this node become one run."""
    run: list[Held] = []
    size = 0
    for held, _ in stretches:
        if run and (len(run) == _RUN_MAX or size + held.size > 4 * LEAF_BYTES_MAX or not held.follows(run[-1])):
            yield Frame(b"", run, size, 0)
            run, size = [], 0
        run.append(held)
        size += held.size
    if run:
        yield Frame(b"", run, size, 0)


def begun(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Makes the first of them, up to one that lies in a file, and looks whether that is still there.

    What is lost from the beginning is so refused, where otherwise an answer would begin and be cut off. Raises what ``frames``
    does, SourceChanged and LocalError.
    """
    rest = iter(frames)
    first: deque[Frame] = deque()
    made = 0
    for frame in rest:
        first.append(frame)
        made += len(frame.head)
        found = [block.confirm() for block in frame.blocks]
        if any(found) or made > _BEGUN_BYTES or len(first) == _BEGUN_FRAMES:
            break
    return _chained(first, rest)


def _chained(first: deque[Frame], rest: Iterator[Frame]) -> Iterator[Frame]:
    while first:
        yield first.popleft()
    yield from rest


def in_chunks(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Writes the framing of HTTP/1.1 around a body of unknown length; its last chunk is the library's."""
    for head, blocks, size, first in frames:
        begun = b"%x\r\n%b" % (len(head) + size, head)
        if blocks:
            yield Frame(begun, blocks, size, first)
            yield Frame(b"\r\n", (), 0, 0)
        else:
            yield Frame(begun + b"\r\n", (), 0, first)


def pieces(data: bytes) -> Iterator[Frame]:
    """Lays out bytes that are at hand."""
    for start in range(0, len(data), GATHER_BYTES):
        yield Frame(data[start : start + GATHER_BYTES], (), 0, 0)
