"""Blocks that are nearly right: those of a corpus, with bytes changed, left out or put in at a few places."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from hypothesis.strategies import DataObject


def mutated(block: bytes, data: DataObject) -> bytes:
    """Changes ``block`` at one to four places."""
    changed = bytearray(block)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, max(len(changed) - 1, 0)))
        piece = data.draw(st.binary(max_size=3))
        changed[at : at + data.draw(st.integers(0, 3))] = piece
    return bytes(changed)
