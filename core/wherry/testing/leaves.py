"""Leaves for tests of what moves blocks: always the same bytes, and a judge of what arrived."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from wherry.abc.transport import Want
from wherry.cid import CID, RAW
from wherry.testing.blocks import MemorySource
from wherry.testing.expect import expect

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.testing.blocks import Harvest


class Leaf(NamedTuple):
    """A block of the tests: its bytes, and where they lie."""

    want: Want
    data: bytes


def file_of(path: str, *sizes: int) -> list[Leaf]:
    """Makes a file of leaves of these sizes: always the same bytes."""
    leaves, offset = [], 0
    for number, size in enumerate(sizes):
        data = random.Random(f"{path} {number}").randbytes(size)
        leaves.append(Leaf(Want(CID.of(RAW, data), size, path, offset), data))
        offset += size
    return leaves


def absent_leaf(number: int = 0) -> Leaf:
    """Makes a leaf that no source of the tests has."""
    return file_of(f"absent/{number}", 1000)[0]


def unsized(leaves: Sequence[Leaf]) -> list[Want]:
    """Gives wants that say nothing but the CID, as for manifest nodes."""
    return [Want(leaf.want.cid) for leaf in leaves]


def source_of(*files: Sequence[Leaf]) -> MemorySource:
    """Makes a source of these files' leaves."""
    leaves = [leaf for file in files for leaf in file]
    places = {leaf.want.cid: (leaf.want.path, leaf.want.offset) for leaf in reversed(leaves) if leaf.data}
    return MemorySource({leaf.want.cid: leaf.data for leaf in leaves}, places)


def right(found: Harvest, leaves: Sequence[Leaf], absent: set[int] | None = None) -> None:
    """Complains unless each leaf arrived with its bytes, and those in ``absent`` are missing."""
    expect(not found.faults, "; ".join(found.faults))
    expect(not found.left_out, f"the wants {sorted(found.left_out)} were left out")
    missing = absent or set()
    expect(found.missing == missing, f"{sorted(found.missing)} are missing, must be {sorted(missing)}")
    expect(not found.rejected, f"the blocks {sorted(found.rejected)} arrived with wrong bytes")
    for number, leaf in enumerate(leaves):
        expect(number in missing or found.blocks.get(number) == leaf.data, f"block {number} did not arrive with its bytes")
