"""What a page says of the entries of a directory: what each is, its size, and where in the whole it stands (specs/0033 §8).

A link of UnixFS tells neither: the block behind it does. Those that are here are looked up together and looked into as far as a
page may read. Of the others it is said that nobody knows.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry import dagpb, manifest
from wherry.cid import DAG_PB, RAW
from wherry.errors import DataError, DecodeError
from wherry.gateway.blocks import BATCH
from wherry.limits import GATEWAY_KINDS_BYTES_MAX, PB_BYTES_MAX
from wherry.protobuf import fields
from wherry.publiccid import PublicCID
from wherry.unixfs import data as unixfs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from wherry.abc.transport import Held
    from wherry.gateway.blocks import Blocks
    from wherry.gateway.nodes import Entry as Link
    from wherry.manifest import Entry

NATIVE: Final = {manifest.FILE: "file", manifest.DIR: "dir", manifest.LINK: "link"}
_KINDS: Final = {
    unixfs.RAW_LEAF: "file", unixfs.FILE: "file", unixfs.DIRECTORY: "dir", unixfs.HAMT_SHARD: "dir", unixfs.SYMLINK: "link",
}  # fmt: skip
_UNKNOWN: Final[tuple[str, int | None]] = ("", None)


class Row(NamedTuple):
    """A line of a listing."""

    name: str
    kind: str  # "file", "dir", "link", "block": data that is none of them; "": its block, which would tell, was not read
    size: int | None  # bytes, where they are known
    cid: str


class Page(NamedTuple):
    """A piece of a listing."""

    rows: list[Row]
    more: str  # the page behind it begins after this name; "": it is the last
    before: int | None = None  # entries on the pages before it, where its block tells that
    total: int | None = None  # entries of the directory, as above
    hashed: float | None = None  # of a HAMT, in the order of hashes: the share of all hashes that lies before it

    @property
    def whole(self) -> bool:
        """Tells whether the page would be the same at any other time, and not say more once more is here."""
        return all(row.kind for row in self.rows)


def linked_rows(blocks: Blocks, links: Sequence[Link]) -> list[Row]:
    """Makes the lines of links of UnixFS; for what is not here nobody is asked."""
    told = _told(blocks, dict.fromkeys([link.cid for link in links if link.cid.codec == DAG_PB]))
    rows = []
    for name, cid, tsize in links:
        if cid.codec == DAG_PB:
            kind, size = told.get(cid, _UNKNOWN)
        else:
            kind, size = ("file", tsize) if cid.codec == RAW else ("block", None)
        rows.append(Row(name.decode("utf-8", "surrogateescape"), kind, size, str(cid)))
    return rows


def native_row(item: Entry) -> Row:
    """Makes the line of an entry of wherry's own, which says all of it."""
    return Row(item.name, NATIVE[item.kind], item.size, str(PublicCID(item.cid)) if item.has_block else "")


def _told(blocks: Blocks, wanted: Iterable[PublicCID]) -> dict[PublicCID, tuple[str, int | None]]:
    """Looks into the blocks that are here, the smallest first, until a page has read what it may."""
    cids = list(wanted)
    found: list[tuple[PublicCID, Held]] = []
    for at in range(0, len(cids), BATCH):
        batch = cids[at : at + BATCH]
        found += [(cid, held) for cid, held in zip(batch, blocks.held(batch), strict=True) if held is not None]
    found.sort(key=lambda each: each[1].size)
    told = {}
    for some in _batches(found):
        for cid, data in blocks.read_many(some).items():
            with suppress(DataError):  # one that is malformed makes the rest of the page none the worse
                told[cid] = kind_and_size(data)
    return told


def _batches(found: Sequence[tuple[PublicCID, Held]]) -> Iterator[list[tuple[PublicCID, Held]]]:
    """Gives what a page may read, as much at a time as may be in memory."""
    batch: list[tuple[PublicCID, Held]] = []
    size, left = 0, GATEWAY_KINDS_BYTES_MAX
    for each in found:
        left -= each[1].size
        if left < 0 or each[1].size > PB_BYTES_MAX:  # no node is larger
            break
        if len(batch) == BATCH or size + each[1].size > PB_BYTES_MAX:
            yield batch
            batch, size = [], 0
        batch.append(each)
        size += each[1].size
    yield batch


def kind_and_size(block: bytes) -> tuple[str, int | None]:
    """Says what a dag-pb block stands for by its own word, and how many bytes a file or a link has. Raises DecodeError."""
    data = dagpb.inner(block)
    if data is None:
        raise DecodeError("a dag-pb block without UnixFS data")
    kind: str | None = None
    for number, _, value in fields(data):
        if number == 1 and isinstance(value, int):
            kind = _KINDS.get(value, "")
            if kind in ("dir", ""):
                return kind, None
        elif number == 2 and kind == "link" and isinstance(value, bytes):
            return kind, len(value)
        elif number == 3 and kind == "file" and isinstance(value, int):
            return kind, value  # sizes of the pieces come behind it, and may be many
    whole = unixfs.decode(data)
    return _KINDS.get(whole.type, ""), whole.size
