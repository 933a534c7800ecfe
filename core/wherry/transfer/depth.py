"""How many jobs a source that exchanges should have before it (specs/0025 §3). Pure.

What its link holds, by the bandwidth-delay product, and what it takes that the link does not run dry between two of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.transfer.source import Source

_LEAST: Final = 2  # one comes, and the next was asked for
_AHEAD_S: Final = 0.25  # of work that a source should have before it: it must not run dry while we hash and write
_MANY: Final = 4  # others at work: our link is busy, whoever runs dry
_FEW: Final = 12  # sources: each of them has to do with most of the others
_LATELY: Final = 8  # jobs, over which sizes are averaged


def depth(source: Source, sources: Sequence[Source], now: float, size: int, *, ending: bool, urgent: bool) -> int:
    """Gives how many jobs of ``size`` bytes ``source`` may have before it, of ``sources``.

    What it gave lately, over the time until its answers begin and a little more, and two: one that could give more is found out
    by the one more, so the depth doubles, as TCP's window does, until it gives no more.

    One less of a source that shares its uplink with others who want the same; not where what comes next is ``urgent``.
    ``ending``: there is not a job for each source; then those that have none go first, but where jobs take no time.
    """
    ahead = int(source.meter.rate(now) * (source.standing.latency_s + _AHEAD_S) / max(size, 1))
    one = (ending and not ahead) or (not urgent and _shared(source, sources))
    return min(source.parallel, (1 if one else _LEAST) + ahead)


def typical(before: int, size: int) -> int:
    """Gives the size of jobs in bytes, after one more, of ``size`` (0: not known), was made: ``before`` was it until then.

    An average of the last ones, not the last one's: a file ends with whatever is left, and by jobs of a few bytes every source
    would seem to need all that there are before it.
    """
    if not before or not size:
        return before or size
    return max(1, before + (size - before) // _LATELY)


def _shared(source: Source, sources: Sequence[Source]) -> bool:
    """Whether one job more would only wait behind the answers to others, and be chosen too early for that.

    So it is with a seed that shows each of its followers something else; and in a small swarm with one who downloads as we do,
    while many are at work: somebody else may have that block by then. Not in a large one, where a node hears only of a part,
    and is choked by most: there it took longer. Not with whoever has all: where uplinks are narrow, each would idle between two
    jobs (specs/decisions/0014).
    """
    if source.have is None:
        return False
    if source.have.choosy:
        return True
    if not source.partial or len(sources) > _FEW:
        return False
    return sum([1 for other in sources if other.working and other is not source]) >= _MANY
