"""What the verbs of `wherry dag` give back (specs/0038)."""

from __future__ import annotations

from dataclasses import dataclass

from wherry.results import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class DagNode:
    """What a path led to, written by a codec."""

    cid: str  # the block in which the path ended
    codec: str  # by which that block is written
    rest: str  # the path inside of it
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DagPut(Result):
    """A block that was taken in."""

    schema = "wherry/dag-put/1"

    cid: str
    codec: str
    bytes: int
    new: bool  # it was not here before


@dataclass(frozen=True, slots=True, kw_only=True)
class DagLink(Result):
    """A link of a block."""

    schema = "wherry/dag-link/1"

    path: str  # inside of the block
    cid: str
    name: str | None = None  # of dag-pb
    size: int | None = None  # bytes of all blocks from there on, as the writer of a dag-pb node says; not to be trusted


@dataclass(frozen=True, slots=True, kw_only=True)
class DagStat(Result):
    """What a block is, and how much is below it. Sizes in bytes."""

    schema = "wherry/dag-stat/1"

    cid: str
    codec: str
    rest: str
    bytes: int
    links: int
    blocks: int  # of all that is below, itself among them, each once
    total_bytes: int
