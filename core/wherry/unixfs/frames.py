"""What a walk of UnixFS holds: the nodes that are open, and the block that it waits for. Values alone; see `walk`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from wherry.cid import CID
    from wherry.manifest import Entry
    from wherry.publiccid import PublicCID
    from wherry.unixfs.node import Child


class Lies(NamedTuple):
    """Where the bytes of a block that is needed lie, if it is a leaf."""

    path: str
    offset: int  # in the file at that path
    size: int | None  # None: all of the file, however long it is


@dataclass(slots=True)
class Links:
    """A node of a directory, and how far it is walked."""

    path: str
    links: list[Child]
    depth: int  # of its entries
    fanout: int = 0  # of a shard; 0: a plain directory
    bits: tuple[int, ...] = ()  # buckets on the way to a shard
    at: int = 0
    weight: int = 0


@dataclass(slots=True)
class Nodes:
    """A node of a file, and how far it is walked."""

    path: str
    entry: Entry
    children: list[tuple[PublicCID, int]]
    offset: int  # of the next child
    level: int
    at: int = 0


@dataclass(slots=True)
class Leave:
    """The end of a file or directory."""

    path: str
    entry: Entry


@dataclass(slots=True)
class Refused:
    """An entry that can be listed, and not read: it ends the walk unless it is skipped."""

    problem: str


@dataclass(slots=True)
class Awaited:
    """A block that is needed to go on, and what it is for."""

    cid: PublicCID
    what: str  # "entry", "shard" or "node"
    path: str
    child: Child | None = None  # of an "entry", or the link to a "shard"
    parent: Links | None = None  # of a "shard"
    entry: Entry | None = None  # of a "node"
    offset: int = 0
    size: int = 0  # of a "node", as its parent lists
    level: int = 0
    depth: int = 0
    block: CID = field(init=False)

    def __post_init__(self) -> None:
        self.block = self.cid.block()
