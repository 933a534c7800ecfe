"""How much of what this home knows is there once only, and what the home itself takes (specs/0005 §8).

Counted page by page, without a lock between two, as `wherry.store.duplicates` does: what changes meanwhile may be seen or not.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wherry.errors import WherryError
from wherry.results import CutStat, StoreStat

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wherry.store.index import Index
    from wherry.store.store import Store

_PAGE: Final = 20_000  # rows counted under one lock
_DATABASES: Final = ("state.db", "nodes.db", "index.db")
# A file counts when it was read whole, or when its leaves are used though it must be read again (`cid` empty, the racy rule).
_KNOWN: Final = "(files.cid IS NOT NULL OR files.leaves > 0)"


def store_stat(home: Path, store: Store, stopped: Callable[[], bool] = lambda: False) -> StoreStat:
    """Counts. ``stopped`` is asked between pages, to give up early. Raises StoreError."""
    cuts = [
        CutStat(cut=cut, files=files, bytes=size, leaves=leaves, unique_bytes=unique)
        for cut, (files, size, leaves, unique) in sorted(_count_cuts(store.index, stopped).items())
    ]
    size, unique = sum(cut.bytes for cut in cuts), sum(cut.unique_bytes for cut in cuts)
    nodes, nodes_bytes = store.nodes.usage()
    usage, cache_problem = None, None
    try:
        usage = None if store.cache is None else store.cache.usage()
    except WherryError as problem:  # opening it writes, and the disk may be full: the rest can be told
        cache_problem = problem.message
    cache_bytes = 0 if usage is None else usage.bytes
    return StoreStat(
        files=sum(cut.files for cut in cuts), bytes=size, leaves=sum(cut.leaves for cut in cuts), unique_bytes=unique,
        saved=1 - unique / size if size else 0.0, nodes=nodes, nodes_bytes=nodes_bytes,
        cache_blocks=0 if usage is None else usage.blocks, cache_bytes=cache_bytes,
        stored_bytes=sum(_file_bytes(home / name) for name in _DATABASES) + cache_bytes, cuts=cuts,
        cache_problem=cache_problem,
    )  # fmt: skip


def _count_cuts(index: Index, stopped: Callable[[], bool]) -> dict[str, list[int]]:
    """Gives for each way of cutting: files, their bytes, leaves, and the bytes of leaves."""
    found: dict[str, list[int]] = {}

    def add(cut: str, at: int, count: int, size: int) -> None:
        sums = found.setdefault(cut, [0, 0, 0, 0])
        sums[at] += count
        sums[at + 1] += size

    for table, key, first, at in (("files", "id", -1, 0), ("leaves", "digest", b"", 2), ("sealed", "digest", b"", 2)):
        join = "" if table == "files" else f"JOIN files ON files.id = {table}.file"
        last: int | bytes | None = first
        while last is not None and not stopped():
            with index._db.reading() as run:
                query = f"SELECT {key} FROM {table} WHERE {key} > ? ORDER BY {key} LIMIT 1 OFFSET ?"
                row = run.execute(query, (last, _PAGE - 1)).fetchone()
                end, values = ("", (last,)) if row is None else (f"AND {table}.{key} <= ?", (last, row[0]))
                query = f"""SELECT files.cut, count(*), coalesce(sum({table}.size), 0) FROM {table} {join}
                            WHERE {table}.{key} > ? {end} AND {_KNOWN} GROUP BY files.cut"""
                for cut, count, size in run.execute(query, values):
                    add(cut, at, count, size)
            last = None if row is None else row[0]
    return found


def _file_bytes(path: Path) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0
