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
TRUSTED_JOBS: Final = 16  # of use, of a peer for whose sake newcomers wait: one that lies now and then is caught by then


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
        elif not other.failures and not other.choked and _trusted(other):
            known = True
    return known and busy >= max(1, slots // _SHARE)


def _trusted(source: Source) -> bool:
    """Tells whether newcomers wait for the sake of a source: long of use, and never caught with a wrong block."""
    standing = source.standing
    return not standing.rejected and standing.past.useful + standing.jobs >= TRUSTED_JOBS
