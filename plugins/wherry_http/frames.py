"""The framing of blocks in one HTTP answer (specs/0008 §3). Bytes in, bytes out; no I/O.

A request names its wants by binary CID, one behind the other. The answer is a row of frames, each a header of 16 bytes:

    kind u8 | coding u8 | count u16 | first u32 | length u64        big-endian

    RUN      blocks of the wants first ... first+count-1: their sizes (u32 each), then their bytes; length covers both
    MISSING  the wants first ... first+count-1 are not held; length bytes follow that mean nothing (they stand for a run
             whose file changed after the length of the answer was promised)
    LATER    the wants first ... first+count-1 do not fit into this answer

``coding`` is 0, plain bytes; other codings of a hop get numbers when there are any.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import Laid
from wherry.cid import BINARY_BYTES, CID
from wherry.errors import CIDError, PeerProtocolError
from wherry.limits import BATCH_WANTS_MAX, LEAF_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.transport import Held, Want

RUN: Final = 1
MISSING: Final = 2
LATER: Final = 3

PROTOCOL: Final = 1
INFO_PATH: Final = "/wherry/v1"
BLOCKS_PATH: Final = "/wherry/v1/blocks"
WANTS_TYPE: Final = "application/vnd.wherry.wants"
BLOCKS_TYPE: Final = "application/vnd.wherry.blocks"

_HEADER: Final = struct.Struct(">BBHIQ")
HEADER_BYTES: Final = _HEADER.size
SIZE_BYTES: Final = 4


def encode_wants(wants: Sequence[Want]) -> bytes:
    """Writes a request's body."""
    return b"".join([want.cid for want in wants])


def decode_wants(body: bytes) -> list[CID]:
    """Reads a request's body. Raises CIDError."""
    if not body or len(body) % BINARY_BYTES or len(body) > BATCH_WANTS_MAX * BINARY_BYTES:
        raise CIDError(f"a request names 1 to {BATCH_WANTS_MAX} binary CIDs of {BINARY_BYTES} bytes")
    return [CID(body[at : at + BINARY_BYTES]) for at in range(0, len(body), BINARY_BYTES)]


class Frame(NamedTuple):
    """One frame of an answer being made."""

    head: bytes  # header and sizes
    blocks: Sequence[Held]  # of a run; empty otherwise
    size: int  # bytes of the blocks
    first: int  # the want that it begins with


def plan(found: Sequence[Held | None], bytes_max: int) -> list[Frame]:
    """Lays out the answer to a batch, in order, within ``bytes_max``: neighbours in one file become one run."""
    frames: list[Frame] = []
    left = bytes_max
    start = 0
    while start < len(found):
        first = found[start]
        stop = start + 1
        least = HEADER_BYTES + (0 if first is None else SIZE_BYTES + first.size)
        if frames and least + HEADER_BYTES > left:  # and a frame behind it that says LATER
            frames.append(Frame(_HEADER.pack(LATER, 0, len(found) - start, start, 0), (), 0, start))
            break
        if first is None:
            while stop < len(found) and found[stop] is None:
                stop += 1
            frames.append(Frame(_HEADER.pack(MISSING, 0, stop - start, start, 0), (), 0, start))
            left -= HEADER_BYTES
            start = stop
            continue
        run, size = [first], first.size
        while stop < len(found):
            block = found[stop]
            if (
                block is None
                or not block.follows(run[-1])
                or size + block.size + 2 * HEADER_BYTES + SIZE_BYTES * (len(run) + 1) > left
            ):
                break
            run.append(block)
            size += block.size
            stop += 1
        sizes = struct.pack(f">{len(run)}I", *[block.size for block in run])
        frames.append(Frame(_HEADER.pack(RUN, 0, len(run), start, len(sizes) + size) + sizes, run, size, start))
        left -= HEADER_BYTES + len(sizes) + size
        start = stop
    return frames


def withdrawn(frame: Frame) -> bytes:
    """Gives the head that takes the place of a run's when its file has changed since the answer's length was promised."""
    return _HEADER.pack(MISSING, 0, len(frame.blocks), frame.first, len(frame.head) + frame.size - HEADER_BYTES)


class Header(NamedTuple):
    """The header of a received frame."""

    kind: int
    wants: int
    first: int
    length: int


class Answer:
    """Checks the frames of an answer against its wants, and gathers what arrived and what is missing."""

    def __init__(self, wants: Sequence[Want], peer: str) -> None:
        self._wants = wants
        self._peer = peer
        self._seen = bytearray(len(wants))
        self.blocks: list[Laid] = []
        self.missing: list[int] = []

    def header(self, data: bytes | memoryview) -> Header:
        """Reads a header. Raises PeerProtocolError for one that does not fit the wants."""
        kind, coding, count, first, length = _HEADER.unpack(data)
        if kind not in (RUN, MISSING, LATER) or coding:
            raise self._wrong(f"a frame of unknown kind {kind} or coding {coding}")
        if not 0 < count <= len(self._wants) - first or any(self._seen[first : first + count]):
            raise self._wrong(f"an answer to wants {first} to {first + count - 1}, of {len(self._wants)}, none twice")
        if (kind == RUN and length < SIZE_BYTES * count) or (kind == LATER and length):
            raise self._wrong(f"a frame with the length {length}")
        self._seen[first : first + count] = b"\1" * count
        if kind == MISSING:
            self.missing += range(first, first + count)
        return Header(kind, count, first, length)

    def run(self, header: Header, sizes: bytes | memoryview, start: int) -> int:
        """Notes the blocks of a run whose bytes begin at ``start``; gives where they end."""
        for want, size in enumerate(struct.unpack(f">{header.wants}I", sizes), header.first):
            wanted = self._wants[want].size
            if size > LEAF_BYTES_MAX or (wanted is not None and size != wanted):
                raise self._wrong(f"{size} bytes for the block {self._wants[want].cid}, which has {wanted}")
            self.blocks.append(Laid(want, start, start + size))
            start += size
        return start

    def _wrong(self, what: str) -> PeerProtocolError:
        return PeerProtocolError(f"{self._peer} sent {what}", peer=self._peer)
