"""The list of all blocks of an encrypted dataset, for those who keep it without its key (specs/0016 §6).

A keeper learns how many blocks there are and how long they are, in the order in which they were made, and nothing of names,
files and directories. The list is a tree of nodes like a file's, each of at most FANOUT children.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from wherry import dagcbor
from wherry.block import Block, named
from wherry.cid import CID, DAG_CBOR, RAW
from wherry.errors import DecodeError, IntegrityError, LimitExceeded
from wherry.limits import FANOUT, FILE_DEPTH_MAX, LEAF_BYTES_MAX, TREE_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_KEYS: Final = {"wherry", "level", "links", "sizes"}


class Listed(NamedTuple):
    """One block, or one node of the list: its CID, and the bytes that it stands for."""

    cid: CID
    size: int


class BlockList:
    """Takes blocks in order; gives the root of the list. ``emit`` gets each node when it is whole."""

    def __init__(self, emit: Callable[[Block], None]) -> None:
        self._emit = emit
        self._levels: list[list[Listed]] = [[]]

    def add(self, cid: CID, size: int) -> None:
        """Takes the next block."""
        self._put(0, Listed(cid, size))

    def _put(self, level: int, item: Listed) -> None:
        if level == len(self._levels):
            self._levels.append([])
        if len(self._levels[level]) == FANOUT:
            self._push_up(level)
        self._levels[level].append(item)

    def _push_up(self, level: int) -> None:
        items, self._levels[level] = self._levels[level], []
        block = _block(level, items)
        self._emit(block)
        self._put(level + 1, Listed(block.cid, sum([item.size for item in items])))

    def finish(self) -> CID:
        """Gives the CID of the list."""
        level = 0
        while level < len(self._levels) - 1:
            if self._levels[level]:
                self._push_up(level)
            level += 1
        block = _block(level, self._levels[-1])
        self._emit(block)
        return block.cid


def _block(level: int, items: list[Listed]) -> Block:
    links, sizes = [item.cid for item in items], [item.size for item in items]
    return named(DAG_CBOR, dagcbor.encode({"wherry": "blocks/1", "level": level, "links": links, "sizes": sizes}))


def decode(block: Block) -> tuple[int, list[Listed]]:
    """Reads one node of a list from a verified block: its level and children. Raises DecodeError, LimitExceeded."""
    value = dagcbor.decode(block.data)
    if not isinstance(value, dict) or value.keys() != _KEYS or value["wherry"] != "blocks/1":
        raise DecodeError(f"block {block.cid} is no list of blocks")
    level, links, sizes = value["level"], value["links"], value["sizes"]
    if type(level) is not int or not 0 <= level <= FILE_DEPTH_MAX:
        raise LimitExceeded(f"block list {block.cid}: nested more than {FILE_DEPTH_MAX} deep")
    if type(links) is not list or type(sizes) is not list or len(links) != len(sizes) or len(links) > FANOUT:
        raise DecodeError(f"block list {block.cid}: as many sizes as links are needed, at most {FANOUT}")
    most = LEAF_BYTES_MAX if level == 0 else TREE_BYTES_MAX
    items = []
    for link, size in zip(links, sizes, strict=True):
        if type(link) is not CID or link.codec not in ((RAW, DAG_CBOR) if level == 0 else (DAG_CBOR,)):
            raise DecodeError(f"block list {block.cid}: a child is no link to a block")
        if type(size) is not int or not 0 < size <= most:
            raise DecodeError(f"block list {block.cid}: {str(size)[:40]} is no size of a block")
        items.append(Listed(link, size))
    return level, items


def walk(root: CID) -> Generator[CID | list[Listed], Block | None, None]:
    """Walks a list: yields the CID of each node that it needs, is sent its verified block, and yields the blocks listed.

    Holds a node a level. Raises what `decode` raises, and IntegrityError where a node differs from its listing.
    """
    stack: list[tuple[Listed, int | None]] = [(Listed(root, 0), None)]
    while stack:
        (cid, listed), expected = stack.pop()
        block = yield cid
        if block is None or block.cid != cid:
            raise IntegrityError(f"block list: {cid} was needed")
        level, items = decode(block)
        total = sum([item.size for item in items])
        if expected is not None and (level != expected or total != listed):
            raise IntegrityError(f"block list: {cid} differs from what its parent says")
        if total > TREE_BYTES_MAX:
            raise LimitExceeded(f"block list: it stands for {total} bytes")
        if level == 0:
            yield items
        else:
            stack += [(item, level - 1) for item in reversed(items)]
