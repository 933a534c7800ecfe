"""What a get waits for at the moment, for `wherry why` (specs/0027 §7). Pure.

Whoever runs the get looks four times a second, and when anything changed; so a reason that lasts for less may be missed, but
every second is accounted for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.redaction import masked
from wherry.transfer.complaints import bare

if TYPE_CHECKING:
    from wherry.flow import Flow
    from wherry.transfer.jobs import Job
    from wherry.transfer.scheduler import Scheduler
    from wherry.transfer.source import Source
    from wherry.transfer.why import Reason

_SILENT_S: Final = 1.0  # without a byte: then what is under way does not move


def reason_of(scheduler: Scheduler[Job], flow: Flow, now: float, came_at: float, *, seeking: bool) -> tuple[Reason, str]:
    """Gives the reason and a detail. ``came_at``: when the last bytes came; ``seeking``: more sources may be found."""
    if scheduler.under_way:
        waits = flow.waiting("down") if flow.limited else None
        if waits is not None:
            return ("class" if waits == "class" else "limited"), ""
        if now - came_at < _SILENT_S:
            return "moving", ""
        return "no-provider", _silent(scheduler.sources)
    if not scheduler.waiting:
        return ("planning", "") if scheduler.more else ("disk", "")
    alive = [source for source in scheduler.sources if source.alive and not source.denied]
    if not alive:
        failed = [source for source in scheduler.sources if source.reached or source.failures]
        return ("resting", _worst(failed)) if failed and not seeking else ("connecting", _worst(failed))
    if all(source.choked for source in alive):
        return "choked", named(alive)
    if all(now < source.rest_until for source in alive):
        return "resting", _worst(alive)
    spared = [source for source in scheduler.sources if source.busy_until > now]
    if spared:
        return "no-provider", f"{named(spared)} has too much to do: what others have of it is waited for"
    return "no-provider", f"block {scheduler.first_wanted()}"


def _silent(sources: list[Source]) -> str:
    asked = [source for source in sources if source.working]
    return f"answered yet: {named(asked)} asked" if asked else ""


def named(sources: list[Source]) -> str:
    """Names sources, the first few of many."""
    names = ", ".join(masked(source.address) for source in sources[:3])
    return f"{names} and {len(sources) - 3} more" if len(sources) > 3 else names


def _worst(sources: list[Source]) -> str:
    return f"{sources[0].address}: {bare(sources[0].reason, sources[0].address)}" if sources else ""
