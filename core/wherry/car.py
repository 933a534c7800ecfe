"""CAR: blocks one after the other in a file or a stream (specs/0032). Reads versions 1 and 2, writes version 1. Pure, bounded.

Source: ipld.io/specs/transport/car (v1, v2). A block is given out with its CID and not checked: who reads checks that it
is what it is called (`verified`). A stream that ends between two blocks looks whole: only a walk of the DAG tells.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry import dagcbor
from wherry.cid import RAW
from wherry.errors import CIDError, DecodeError, IntegrityError, LimitExceeded, WherryError
from wherry.limits import CAR_HEADER_BYTES_MAX, CAR_ROOTS_MAX, LEAF_BYTES_MAX, PB_BYTES_MAX
from wherry.protobuf import varint
from wherry.publiccid import PublicCID

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_CID_BYTES_MAX: Final = 160  # an identity CID of 128 bytes and its head
SECTION_BYTES_MAX: Final = LEAF_BYTES_MAX + _CID_BYTES_MAX
_VARINT_BYTES_MAX: Final = 9  # as the specification says
_PRAGMA: Final = bytes.fromhex("0aa16776657273696f6e02")  # {"version": 2}, which begins version 2
_MAPS: Final = b"\xa1\xa2"  # how that begins in DAG-CBOR, and the header of version 1
_V2_HEADER_BYTES: Final = 40
_SKIP_BYTES: Final = 1 << 16


def header(roots: Sequence[PublicCID]) -> bytes:
    """Writes how a CAR begins."""
    body = b"\xa2\x65roots" + dagcbor.head(4, len(roots))
    body += b"".join([b"\xd8\x2a" + dagcbor.head(2, len(root) + 1) + b"\0" + root for root in roots])
    body += b"\x67version\x01"
    return varint(len(body)) + body


def section_head(cid: PublicCID, size: int) -> bytes:
    """Writes what stands before the ``size`` bytes of a block; the block itself need not be copied."""
    return varint(len(cid) + size) + cid


def verified(cid: PublicCID, data: bytes, *, origin: str) -> None:
    """Checks that a block is what it is called. Raises IntegrityError naming ``origin``, CIDError for an unknown hash."""
    try:
        cid.verify(data)
    except IntegrityError as problem:
        hint = "the CAR was damaged, or made wrong: get it again, or the data from somebody else"
        raise IntegrityError(f"block {cid}: the bytes from {origin} do not match their CID", hint=hint) from problem


class CarReader:
    """Reads a CAR from its beginning. For one thread; not to be used after an error."""

    def __init__(
        self, read: Callable[[int], bytes], *, origin: str = "the CAR", read_into: Callable[[memoryview], int] | None = None
    ) -> None:
        """``read`` gives at most so many of the next bytes, b"" at the end, and may block.

        ``read_into`` gives them into memory, and tells how many: for who takes blocks by `take`. Reads the header. Raises
        DecodeError, LimitExceeded, and what ``read`` raises.
        """
        self._read = read
        self._read_into = read_into
        self._origin = origin
        self._first = b""  # of the block that `section` gave: what was read with its CID
        self._unread = 0  # bytes of it that are still to come
        self._at = 0  # bytes read so far
        self._left: int | None = None  # of version 2: what is left of the part that has the blocks
        self.version = 1
        try:
            self.roots = self._begin()
        except CIDError as problem:
            raise DecodeError(f"{origin}: {problem.message}") from problem

    @property
    def bytes_read(self) -> int:
        """Bytes of the stream that were read."""
        return self._at

    def __iter__(self) -> Iterator[tuple[PublicCID, bytes]]:
        """Gives CIDs and blocks, in the order of the stream. Raises DecodeError or LimitExceeded, and what ``read`` raises."""
        while True:
            size = self._size(SECTION_BYTES_MAX, "a block")
            if size is None:
                return
            section = self._exactly(size)
            try:
                cid, end = PublicCID.read(section)
            except CIDError as problem:
                raise self._wrong(f"a block with a CID that cannot be read: {problem.message}") from problem
            self._bound(cid, size - end)
            yield cid, section[end:]

    def section(self) -> tuple[PublicCID, int] | None:
        """Goes to the next block; gives its CID and its size, and reads no more than its beginning. None: there is none.

        `take` or `skip` then goes past it. Raises as iteration does.
        """
        size = self._size(SECTION_BYTES_MAX, "a block")
        if size is None:
            return None
        head = self._exactly(min(size, _CID_BYTES_MAX))
        try:
            cid, end = PublicCID.read(head)
        except CIDError as problem:
            raise self._wrong(f"a block with a CID that cannot be read: {problem.message}") from problem
        self._bound(cid, size - end)
        self._first, self._unread = head[end:], size - len(head)
        return cid, size - end

    def _bound(self, cid: PublicCID, size: int) -> None:
        """Raises LimitExceeded for a block that is longer than one of its codec may be."""
        most = LEAF_BYTES_MAX if cid.codec == RAW else PB_BYTES_MAX
        if size > most:
            raise LimitExceeded(f"{self._origin}: block {cid} has {size} bytes, at most {most} are read")

    def take(self, view: memoryview) -> None:
        """Receives the block that `section` gave into ``view``, which is as long as it is. Raises as iteration does."""
        at = len(self._first)
        view[:at] = self._first
        while at < len(view):
            if self._read_into is None or self._left is not None:
                got = self._exactly(min(len(view) - at, _SKIP_BYTES))
                view[at : at + len(got)] = got
                at += len(got)
                continue
            count = self._read_into(view[at:])
            if not count:
                raise self._wrong("it is cut off")
            self._at += count
            at += count
        self._first, self._unread = b"", 0

    def skip(self) -> None:
        """Goes past the block that `section` gave. Raises as iteration does."""
        while self._unread:
            self._unread -= len(self._exactly(min(self._unread, _SKIP_BYTES)))
        self._first = b""

    def _begin(self) -> list[PublicCID]:
        size = self._size(CAR_HEADER_BYTES_MAX, "a header")
        if size is None:
            raise self._wrong("it is empty")
        body = self._header(size)
        if body == _PRAGMA[1:]:
            self._find_blocks()
            size = self._size(CAR_HEADER_BYTES_MAX, "a header")
            if size is None:
                raise self._wrong("version 2 without blocks")
            body = self._header(size)
        return self._roots(body)

    def _header(self, size: int) -> bytes:
        """Reads a header, if one begins there: of what is no CAR at all it is not said that it is cut off."""
        first = self._exactly(1)
        if first[0] not in _MAPS:
            hint = "`wherry add` takes files that are none"
            raise DecodeError(f"{self._origin} is no CAR: it does not begin with a header", hint=hint)
        return first + self._exactly(size - 1)

    def _find_blocks(self) -> None:
        """Goes where version 2 says that its blocks lie; the index behind them is left alone."""
        self.version = 2
        fixed = self._exactly(_V2_HEADER_BYTES)
        begin, size = int.from_bytes(fixed[16:24], "little"), int.from_bytes(fixed[24:32], "little")
        if begin < self._at:
            raise self._wrong(f"its blocks cannot begin at byte {begin}")
        while self._at < begin:
            self._exactly(min(begin - self._at, _SKIP_BYTES))
        self._left = size

    def _roots(self, body: bytes) -> list[PublicCID]:
        try:
            found = dagcbor.decode_public(body)
        except WherryError as problem:
            raise self._wrong(f"its header cannot be read: {problem.message}") from problem
        if not isinstance(found, dict) or found.keys() != {"roots", "version"}:
            raise self._wrong("its header has not the two fields of version 1")
        roots, version = found["roots"], found["version"]
        if type(version) is not int or version != 1:
            raise self._wrong("its header does not say version 1")
        if not isinstance(roots, list) or not all(isinstance(root, PublicCID) for root in roots):
            raise self._wrong("its header has no list of roots")
        if len(roots) > CAR_ROOTS_MAX:
            raise LimitExceeded(f"{self._origin}: {len(roots)} roots, at most {CAR_ROOTS_MAX} are read")
        return [root for root in roots if isinstance(root, PublicCID)]

    def _size(self, most: int, what: str) -> int | None:
        """Reads the size of what follows; None: there is nothing more."""
        number = shift = 0
        for count in range(_VARINT_BYTES_MAX):
            one = self._some(1)
            if not one:
                if count or self._left:  # version 2 says how long it is
                    raise self._wrong("it is cut off")
                return None
            number |= (one[0] & 0x7F) << shift
            if one[0] < 0x80:
                if one[0] == 0 and count:
                    raise self._wrong("a size is not written in its shortest form")
                break
            shift += 7
        else:
            raise self._wrong("a size of more than 9 bytes")
        if number == 0:
            raise self._wrong(f"{what} of no bytes")
        if number > most:
            raise LimitExceeded(f"{self._origin}: {what} of {number} bytes at byte {self._at}, at most {most} are read")
        return number

    def _some(self, count: int) -> bytes:
        if self._left is not None:
            count = min(count, self._left)
        data = self._read(count) if count else b""
        self._at += len(data)
        if self._left is not None:
            self._left -= len(data)
        return data

    def _exactly(self, count: int) -> bytes:
        data = self._some(count)
        if len(data) < count:
            parts = [data]
            missing = count - len(data)
            while missing:
                more = self._some(missing)
                if not more:
                    raise self._wrong("it is cut off")
                parts.append(more)
                missing -= len(more)
            data = b"".join(parts)
        return data

    def _wrong(self, what: str) -> DecodeError:
        return DecodeError(f"{self._origin}, byte {self._at}: {what}", hint="is it a CAR, and all of it?")
