"""Strict canonical dag-pb (specs/0031 §2; https://ipld.io/specs/codecs/dag-pb/spec/), bounded before it is decoded.

    message PBLink { optional bytes Hash = 1; optional string Name = 2; optional uint64 Tsize = 3 }
    message PBNode { repeated PBLink Links = 2; optional bytes Data = 1 }      written in this order: the links first

Reading takes what other implementations read: the data before or behind all of the links, links in any order of names, a name
or size that is absent. It refuses all else: unknown or doubled fields, fields of a link out of order, a link without a CID.
What is absent stays apart from what is empty, for both have their own bytes. Writing gives the one canonical form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from wherry.errors import CIDError, DecodeError, LimitExceeded
from wherry.limits import PB_BYTES_MAX, PB_LINKS_MAX
from wherry.protobuf import span_at, varint, varint_at
from wherry.publiccid import PublicCID

if TYPE_CHECKING:
    from collections.abc import Iterable

_LINKS: Final = 0x12  # key of field 2, with a length
_DATA: Final = 0x0A  # of field 1, with a length
_HASH: Final = 0x0A
_NAME: Final = 0x12
_TSIZE: Final = 0x18
_TSIZE_MAX: Final = 2**63 - 1  # what every implementation reads

# The usual links, in pieces by the bytes of their names: a CID of 36 bytes, lengths of one byte, and sizes of one to three.
_SHORT: Final = 80
_TOGETHER: Final = 256  # links looked at together
_HEADS_1, _HEADS_2, _HEADS_3 = (
    [bytes((_LINKS, 41 + named + size, _HASH, 36)) for named in range(_SHORT + 1)] for size in (1, 2, 3)
)
_NAMES: Final = [bytes((_NAME, named)) for named in range(_SHORT + 1)]
_LONE: Final = [bytes((_TSIZE, low)) for low in range(0x80)]  # sizes of one byte
_FIRST: Final = [bytes((_TSIZE, low | 0x80)) for low in range(0x80)]
_NEXT: Final = [bytes((low | 0x80,)) for low in range(0x80)]
_LAST: Final = [bytes((low,)) for low in range(0x80)]


class PBLink(NamedTuple):
    """One link. ``cid`` is in binary form, of any version, codec and hash. ``tsize`` is a hint of the writer, to be trusted in
    nothing: the bytes of all blocks from there on.
    """

    cid: PublicCID
    name: bytes | None = None  # UTF-8 by rule and any bytes in fact; None: absent, which is not the same as empty
    tsize: int | None = None


class HasBlocks(Protocol):
    """What a link says besides its name: an entry of a manifest says it, too, where its file is one leaf."""

    @property
    def cid(self) -> bytes:
        """Its CID in binary form, of 36 bytes."""

    @property
    def size(self) -> int:
        """Bytes of all blocks from there on."""


class Linked(NamedTuple):
    """See `HasBlocks`."""

    cid: bytes
    size: int


class PBNode(NamedTuple):
    """One node: its links in their order, and its data (None: absent)."""

    links: tuple[PBLink, ...] = ()
    data: bytes | None = None


def encode(node: PBNode) -> bytes:
    """Writes a node in the one canonical form: links sorted by the bytes of their names (the order of equals is kept), then
    the data. Raises ValueError for a size that has no form.
    """
    links = sorted(node.links, key=_name)
    return join([encode_link(link) for link in links], node.data)


def encode_link(link: PBLink) -> bytes:
    """Writes one link as a node holds it, with its key and length. Raises ValueError for a size that has no form."""
    cid, name, tsize = link
    body = b"\x0a" + varint(len(cid)) + cid
    if name is not None:
        body += b"\x12" + varint(len(name)) + name
    if tsize is not None:
        if not 0 <= tsize <= _TSIZE_MAX:
            raise ValueError(f"a link of {tsize} bytes has no form in dag-pb")
        body += b"\x18" + varint(tsize)
    return b"\x12" + varint(len(body)) + body


def encode_links(links: Iterable[tuple[bytes, bytes, int]]) -> list[bytes]:
    """As `encode_link` for many, each a name, a binary CID and a size; in pieces, and in a quarter of the time.

    Raises ValueError for a size that has no form.
    """
    out: list[bytes] = []
    for name, cid, tsize in links:
        length = len(name)
        if length > _SHORT or len(cid) != 36 or tsize < 0:
            out.append(encode_link(PBLink(PublicCID(cid), name, tsize)))
        elif tsize < 0x80:
            out += (_HEADS_1[length], cid, _NAMES[length], name, _LONE[tsize])
        elif tsize < 0x4000:
            out += (_HEADS_2[length], cid, _NAMES[length], name, _FIRST[tsize & 0x7F], _LAST[tsize >> 7])
        elif tsize < 0x200000:
            middle = _NEXT[tsize >> 7 & 0x7F]
            out += (_HEADS_3[length], cid, _NAMES[length], name, _FIRST[tsize & 0x7F], middle, _LAST[tsize >> 14])
        else:
            out.append(encode_link(PBLink(PublicCID(cid), name, tsize)))
    return out


def encode_links_of(names: Iterable[bytes], linked: Iterable[HasBlocks]) -> list[bytes] | None:
    """As `encode_links`, with nothing made anew for a link; None where a name is long, which is looked for at none of them.

    What a directory of small files costs is mostly this.
    """
    out: list[bytes] = []
    try:
        for name, each in zip(names, linked, strict=True):
            size, length = each.size, len(name)
            if size < 0x80:
                out += (_HEADS_1[length], each.cid, _NAMES[length], name, _LONE[size])
            elif size < 0x4000:
                out += (_HEADS_2[length], each.cid, _NAMES[length], name, _FIRST[size & 0x7F], _LAST[size >> 7])
            elif size < 0x200000:
                middle = _NEXT[size >> 7 & 0x7F]
                out += (_HEADS_3[length], each.cid, _NAMES[length], name, _FIRST[size & 0x7F], middle, _LAST[size >> 14])
            else:
                out.append(encode_link(PBLink(PublicCID(each.cid), name, size)))
    except IndexError:
        return None
    return out


def join(links: Iterable[bytes], data: bytes | None) -> bytes:
    """Puts a node together of links that `encode_link` or `encode_links` wrote, in the order of their names, and its data."""
    if data is None:
        return b"".join(links)
    return b"".join([*links, b"\x0a", varint(len(data)), data])


def decode(data: bytes, *, bytes_max: int = PB_BYTES_MAX) -> PBNode:
    """Reads one whole block. Raises DecodeError for what is malformed, LimitExceeded beyond a bound."""
    if len(data) > bytes_max:
        raise LimitExceeded(f"dag-pb block of {len(data)} bytes, at most {bytes_max} are read")
    try:
        return _decoded(data)
    except DecodeError as problem:
        raise DecodeError(f"dag-pb: {problem.message}") from problem


def _decoded(data: bytes) -> PBNode:
    links: list[PBLink] = []
    body: bytes | None = None
    closed = False  # the links ended: the data came behind them
    at, end = 0, len(data)
    while at < end:
        key = data[at]
        if key == _LINKS:
            if closed:
                raise DecodeError("links on both sides of the data")
            if len(links) >= PB_LINKS_MAX:
                raise LimitExceeded(f"dag-pb: more than {PB_LINKS_MAX} links in a block")
            start, at = span_at(data, at + 1, end)
            links.append(_link(data, start, at))
        elif key == _DATA:
            if body is not None:
                raise DecodeError("data twice in one node")
            start, at = span_at(data, at + 1, end)
            body = data[start:at]
            closed = bool(links)
        else:
            raise DecodeError(f"a node has no field with the key 0x{key:02x} (offset {at})")
    return PBNode(tuple(links), body)


def inner(data: bytes) -> bytes | None:
    """Gives the data of a node; what its links say is not looked at, which takes a hundredth of the time. Raises DecodeError.

    Links of one length, as those of files are, are passed over together.
    """
    at, end = 0, len(data)
    while at < end:
        key = data[at]
        if key == _LINKS and data[at + 1 : at + 2] < b"\x80":
            step = 2 + data[at + 1] if at + 1 < end else 2
            stop = min(at + step * _TOGETHER, end)
            keys, lengths = data[at:stop:step], data[at + 1 : stop : step]
            same = min(len(keys) - len(keys.lstrip(keys[:1])), len(lengths) - len(lengths.lstrip(lengths[:1])))
            at += step * max(same, 1)
            if at > end:
                raise DecodeError("dag-pb: a link that is cut off")
            continue
        start, at = span_at(data, at + 1, end)
        if key == _DATA:
            return data[start:at]
        if key != _LINKS:
            raise DecodeError(f"dag-pb: a node has no field with the key 0x{key:02x}")
    return None


def _link(data: bytes, at: int, end: int) -> PBLink:
    """Reads the link that lies from ``at`` to ``end``."""
    if at == end or data[at] != _HASH:
        raise DecodeError(f"a link that does not begin with a CID (offset {at})")
    start, at = span_at(data, at + 1, end)
    try:
        cid = PublicCID(data[start:at])
    except CIDError as problem:
        raise DecodeError(f"a link whose CID is none ({problem.message}; offset {start})") from problem
    name: bytes | None = None
    tsize: int | None = None
    if at < end and data[at] == _NAME:
        start, at = span_at(data, at + 1, end)
        name = data[start:at]
    if at < end and data[at] == _TSIZE:
        tsize, at = varint_at(data, at + 1, end)
        if tsize > _TSIZE_MAX:
            raise DecodeError("a link whose size has more than 63 bits")
    if at != end:
        raise DecodeError(f"a link with a field that is unknown, doubled or out of order (offset {at})")
    return PBLink(cid, name, tsize)


def _name(link: PBLink) -> bytes:
    return link.name or b""
