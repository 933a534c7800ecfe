"""How many jobs a source that exchanges should have before it (specs/0025 §3). Pure.

What its link holds, by the bandwidth-delay product, and what it takes that the link does not run dry between two of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wherry.transfer.source import Source

_LEAST: Final = 2  # one comes, and the next was asked for
_AHEAD_S: Final = 0.25  # of work that a source should have before it: it must not run dry while we hash and write


def depth(source: Source, now: float, size: int, *, ending: bool, urgent: bool) -> int:
    """Gives how many jobs of ``size`` bytes ``source`` may have before it.

    What it gave lately, over the time until its answers begin and a little more, and two: one that could give more is found out
    by the one more, so the depth doubles, as TCP's window does, until it gives no more.

    One less of a source that shows each of its followers something else: that one would only wait behind the answers to
    others, and be chosen too early. Not where what comes next is ``urgent``. ``ending``: there is not a job for each source;
    then those that have none go first, but where jobs take no time.
    """
    ahead = int(source.meter.rate(now) * (source.standing.latency_s + _AHEAD_S) / max(size, 1))
    shares = source.have is not None and source.have.choosy and not urgent
    return min(source.parallel, (1 if shares or (ending and not ahead) else _LEAST) + ahead)
