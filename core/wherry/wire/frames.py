"""The frames in which blocks travel in an answer (specs/0008 §3, specs/0004 §3). Bytes in, bytes out; no I/O.

An answer is a row of frames, each a header of 16 bytes:

    kind u8 | coding u8 | count u16 | first u32 | length u64        big-endian

    RUN      blocks of the wants first ... first+count-1: their sizes (u32 each), then their bytes; length covers both
    MISSING  the wants first ... first+count-1 are not held; length bytes follow that mean nothing (they stand for a run
             whose file changed after the length of the answer was promised)
    LATER    the wants first ... first+count-1 do not fit into this answer
    CODED    as RUN, but each block is coded: pairs of its size and its coded size (u32 each), then their coded bytes

``coding`` is 0, plain bytes, but for CODED: there n stands for the n-th coding that the receiver offered. Only who offered
codings is sent CODED frames.
"""

from __future__ import annotations

import re
import struct
from itertools import count
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.abc.transport import Laid
from wherry.errors import PeerProtocolError, WrongLength
from wherry.limits import LEAF_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.transport import Held, Want
    from wherry.flow import Flow

RUN: Final = 1
MISSING: Final = 2
LATER: Final = 3
CODED: Final = 4

CODINGS_MAX: Final = 16  # in one offer

_HEADER: Final = struct.Struct(">BBHIQ")
HEADER_BYTES: Final = _HEADER.size
SIZE_BYTES: Final = 4
PAIR_BYTES: Final = 8
CODING_NAME: Final = re.compile(r"[a-z][a-z0-9.-]{0,99}(\+[a-z0-9.-]{1,40})?", re.ASCII)


class Frame(NamedTuple):
    """One frame of an answer being made, or bytes of one."""

    head: bytes  # header and sizes; of a frame that has no blocks, all of it
    blocks: Sequence[Held]  # of a run; empty otherwise
    size: int  # bytes of the blocks
    first: int  # the want that it begins with


def plan(found: Sequence[Held | None], bytes_max: int, *, header_bytes: int = HEADER_BYTES) -> list[Frame]:
    """Lays out the answer to a batch, in order, within ``bytes_max``: neighbours in one file become one run.

    ``header_bytes`` is what a header counts for; with 0 the blocks alone count.
    """
    size_bytes = SIZE_BYTES if header_bytes else 0
    frames: list[Frame] = []
    left = bytes_max
    start = 0
    while start < len(found):
        first = found[start]
        stop = start + 1
        least = header_bytes + (0 if first is None else size_bytes + first.size)
        if frames and least + header_bytes > left:  # and a frame behind it that says LATER
            frames.append(Frame(_HEADER.pack(LATER, 0, len(found) - start, start, 0), (), 0, start))
            break
        if first is None:
            while stop < len(found) and found[stop] is None:
                stop += 1
            frames.append(missing(start, stop - start))
            left -= header_bytes
            start = stop
            continue
        run, size = [first], first.size
        while stop < len(found):
            block = found[stop]
            if (
                block is None
                or not block.follows(run[-1])
                or size + block.size + 2 * header_bytes + size_bytes * (len(run) + 1) > left
            ):
                break
            run.append(block)
            size += block.size
            stop += 1
        frames.append(run_of(run, start))
        left -= header_bytes + size_bytes * len(run) + size
        start = stop
    return frames


def charged(frames: Sequence[Frame]) -> Flow | None:
    """Gives the flow of the transfer that an answer is charged to: that of its first block which has one."""
    return next((block.flow for frame in frames for block in frame.blocks if block.flow is not None), None)


def missing(first: int, count: int) -> Frame:
    """Makes the frame for wants that are not held."""
    return Frame(_HEADER.pack(MISSING, 0, count, first, 0), (), 0, first)


def run_of(blocks: Sequence[Held], first: int) -> Frame:
    """Makes the frame of blocks that lie behind each other in one file."""
    sizes = [block.size for block in blocks]
    length = SIZE_BYTES * len(sizes) + sum(sizes)
    head = struct.pack(f">BBHIQ{len(sizes)}I", RUN, 0, len(sizes), first, length, *sizes)
    return Frame(head, blocks, sum(sizes), first)


def coded_of(coding: int, blocks: Sequence[tuple[int, bytes]], first: int) -> list[Frame]:
    """Makes a CODED frame, in pieces: of blocks, each with its plain size and its coded bytes, by one coding of the offer."""
    pairs = [number for size, data in blocks for number in (size, len(data))]
    length = PAIR_BYTES * len(blocks) + sum([len(data) for _, data in blocks])
    head = struct.pack(f">BBHIQ{len(pairs)}I", CODED, coding, len(blocks), first, length, *pairs)
    return [Frame(piece, (), 0, first) for piece in (head, *[data for _, data in blocks])]


def frame_bytes(head: bytes) -> int:
    """Tells how long the frame is that begins with ``head``, all in all."""
    _, _, _, _, length = _HEADER.unpack_from(head)
    return HEADER_BYTES + int(length)


def withdrawn(frame: Frame) -> bytes:
    """Gives the head that takes the place of a run's when its file has changed since the answer's length was promised."""
    return _HEADER.pack(MISSING, 0, len(frame.blocks), frame.first, len(frame.head) + frame.size - HEADER_BYTES)


class Header(NamedTuple):
    """The header of a received frame."""

    kind: int
    wants: int
    first: int
    length: int
    coding: int = 0


class Answer:
    """Checks the frames of an answer against its wants, and gathers what arrived and what is missing."""

    def __init__(self, wants: Sequence[Want], peer: str) -> None:
        self._wants = wants
        self._peer = peer
        self._seen = bytearray(len(wants))
        self.blocks: list[Laid] = []
        self.missing: list[int] = []

    def header(self, data: bytes | memoryview, codings: int = 0) -> Header:
        """Reads a header; ``codings`` were offered. Raises PeerProtocolError for one that does not fit the wants."""
        kind, coding, wants, first, length = _HEADER.unpack(data)
        if kind not in (RUN, MISSING, LATER, CODED) or not (1 <= coding <= codings if kind == CODED else coding == 0):
            raise self._wrong(f"a frame of unknown kind {kind} or coding {coding}")
        if not 0 < wants <= len(self._wants) - first or any(self._seen[first : first + wants]):
            raise self._wrong(f"an answer to wants {first} to {first + wants - 1}, of {len(self._wants)}, none twice")
        least = {RUN: SIZE_BYTES * wants, CODED: PAIR_BYTES * wants}.get(kind, 0)
        if length < least or (kind == LATER and length):
            raise self._wrong(f"a frame with the length {length}")
        self._seen[first : first + wants] = b"\1" * wants
        if kind == MISSING:
            self.missing += range(first, first + wants)
        return Header(kind, wants, first, length, coding)

    def run(self, header: Header, sizes: bytes | memoryview, start: int) -> int:
        """Notes the blocks of a run whose bytes begin at ``start``; gives where they end."""
        for want, size in enumerate(struct.unpack(f">{header.wants}I", sizes), header.first):
            start = self._lay(want, size, start)
        return start

    def coded(self, header: Header, pairs: bytes | memoryview, start: int) -> list[tuple[Laid, int]]:
        """Notes the blocks of a CODED frame, to lie from ``start`` on; gives where each is to lie, and its coded size.

        Raises PeerProtocolError, also for a coded block that is not shorter than the plain one.
        """
        numbers = struct.unpack(f">{2 * header.wants}I", pairs)
        found = []
        for want, size, coded in zip(count(header.first), numbers[::2], numbers[1::2]):
            start = self._lay(want, size, start)
            if not 0 < coded < size:
                raise self._wrong(f"{coded} coded bytes for a block of {size}")
            found.append((self.blocks[-1], coded))
        if header.length != PAIR_BYTES * header.wants + sum(numbers[1::2]):
            raise self._wrong("coded blocks whose sizes do not add up")
        return found

    def _lay(self, want: int, size: int, start: int) -> int:
        cid, wanted, *_ = self._wants[want]
        if size > LEAF_BYTES_MAX:
            raise self._wrong(f"{size} bytes for the block {cid}, at most {LEAF_BYTES_MAX} are taken")
        if wanted is not None and size != wanted:
            words = f"{self._peer} sent {size} bytes for the block {cid}, and not {wanted}"
            raise WrongLength(words, block=cid, peer=self._peer)
        self.blocks.append(Laid(want, start, start + size))
        return start + size

    def _wrong(self, what: str) -> PeerProtocolError:
        return PeerProtocolError(f"{self._peer} sent {what}", peer=self._peer)
