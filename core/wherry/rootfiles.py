"""The manifest of a root opened: where the walk over its files begins, and how their leaves are made of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from wherry.cid import DAG_PB, RAW
from wherry.dag.walk import root_of
from wherry.errors import BlockNotFound, LocalError
from wherry.manifest import FILE, Entry
from wherry.unixfs.node import root_of as unixfs_root_of
from wherry.unixfs.wrap import Wrapping

if TYPE_CHECKING:
    from wherry.block import Block
    from wherry.cid import CID
    from wherry.sealing.seal import Sealing
    from wherry.store.state import RootRow
    from wherry.store.store import Store
    from wherry.transfer.sink import Sealer
    from wherry.transfer.unlock import Locksmith, Unlocked


class RootFiles(NamedTuple):
    """What a walk over a root needs."""

    entry: Entry
    opening: Sealing | None  # of an encrypted dataset: opens its nodes
    sealing: Sealer | None  # makes blocks of the plain bytes; None: they are the block
    cut: str  # see `store.index.FileRecord`

    @classmethod
    def of(cls, row: RootRow, store: Store, locksmith: Locksmith) -> RootFiles:
        """Opens the manifest of ``row``; blocks. Raises BlockNotFound, NoKey, LocalError, and what decoding does."""
        entry, unlocked = _entry(row, store, locksmith)
        cut = row.options.get("chunker", "")
        if unlocked is not None:
            cut = f" {unlocked.header.scheme.name} {unlocked.header.commit.hex()[:16]}"
            return cls(entry, unlocked.sealing, unlocked.sealing, cut)
        if entry.cid.codec == DAG_PB:
            wrapping = Wrapping()
            return cls(entry, None, wrapping, f"{cut} {wrapping.scheme.name}")
        return cls(entry, None, None, cut)


def _entry(row: RootRow, store: Store, locksmith: Locksmith) -> tuple[Entry, Unlocked | None]:
    """Gives the root's entry; of an encrypted dataset, unlocked. A bare leaf has no node: its size is the file's."""
    if row.cid.codec == RAW:
        try:
            return Entry("", FILE, row.cid, os.stat(row.path).st_size), None
        except OSError as problem:
            raise LocalError(f"{row.path!r}: {problem.strerror}") from problem
    found = _block(row.cid, store)
    if row.cid.codec == DAG_PB:
        return unixfs_root_of(found).entry, None
    if not locksmith.knows(found):
        return root_of(found).entry, None
    unlocked = locksmith.unlock(found)
    root = unlocked.sealing.open_node(_block(unlocked.header.root, store), unlocked.key)
    return root_of(root, sealed=True).entry, unlocked


def _block(cid: CID, store: Store) -> Block:
    found = store.blocks([cid]).get(cid)
    if found is None:
        raise BlockNotFound(f"block {cid} is not here")
    return found
