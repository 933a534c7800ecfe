"""How many jobs those may have whom nobody knows (specs/0029 §5). Pure.

A name costs nothing: whoever has a bad one comes with a new one. So newcomers together get a part of the slots while a peer is
there that has been of use, and all of them while there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wherry.transfer.source import Source

_SHARE: Final = 4  # a quarter: T4 of specs/0001


def crowded(source: Source, sources: Iterable[Source]) -> bool:
    """Tells whether ``source`` has to wait because it is a newcomer, and newcomers have all the jobs that they may have."""
    if source.standing.known:
        return False
    slots = busy = 0
    known = False
    for other in sources:
        if not other.alive or other.denied:
            continue
        slots += other.parallel
        if not other.standing.known:
            busy += other.working
        elif not other.failures and not other.choked:
            known = True
    return known and busy >= max(1, slots // _SHARE)
