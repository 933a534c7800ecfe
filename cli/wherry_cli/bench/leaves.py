"""Leaves of the large file, named here and not by the engine that is measured, to be asked for one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.abc.transport import Want
from wherry.cid import CID, RAW
from wherry.units import MiB

if TYPE_CHECKING:
    from pathlib import Path

LEAF_BYTES: Final = MiB  # what `add` cuts by default


def leaves(path: Path, count: int) -> list[Want]:
    """Names up to ``count`` whole leaves, spread over the file."""
    whole = path.stat().st_size // LEAF_BYTES
    count = min(count, whole)
    found = []
    with path.open("rb") as file:
        for number in range(count):
            offset = number * whole // count * LEAF_BYTES
            file.seek(offset)
            found.append(Want(CID.of(RAW, file.read(LEAF_BYTES)), LEAF_BYTES, "", offset))
    return found
