"""Showing a complete dataset piece by piece, so that about one copy of it is sent (super-seeding, specs/0025 §4). Pure.

After BEP 16, with three changes: maps name stretches, so what is shown are units of about 1 MiB; several units are shown to
a peer at a time, more to one that is fast, so the link is never idle; and what is shown is a wish, no lock: whoever asks for
more gets it.

Each unit is first shown to one peer. It brings it to the others, since they all follow each other. When all units were
shown, some are shown again: those with the fewest copies, as long as the budget lasts, and to whoever does not get on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from wherry.stretches import Stretches
from wherry.units import MiB

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from wherry.abc.exchange import HaveMap

UNIT_BYTES: Final = 1 * MiB  # the least unit: a job of a swarm
UNITS_MAX: Final = 4096  # units of one dataset: what is remembered of each follower is a byte for each
WINDOW: Final = 2  # units that a peer is shown at first and has not yet: one comes while the other is asked for
SPREAD_BYTES: Final = 256 * MiB  # units are shown in the order of the walk but for so much: it makes jobs only so far ahead
STALL_S: Final = 2.0  # a follower that gained nothing for so long is shown what it lacks
OVERDUE_S: Final = 1.0  # a unit that a peer was shown for so long, while this node idles, is shown to another too
EXTRA_PART: Final = 0.12  # of a copy that is shown beyond the first without need, to shorten the end; 1.2 is the bound
_MUTE_S: Final = 3.0  # a follower that took this long to say nothing at all does not tell what it has
_NOTHING, _SHOWN, _HAS = 0, 1, 2


@dataclass(slots=True, eq=False)
class Shown:
    """What one follower was shown, and has."""

    since: float
    state: bytearray  # of each unit
    spans: Stretches = field(default_factory=Stretches)  # what it was shown, as it is told
    pending: dict[int, float] = field(default_factory=dict)  # unit -> when it was shown, and it has it not
    window: int = WINDOW
    sent: int = 0  # bytes sent to it that it did not say to have yet
    last: int = -2  # unit that was shown last
    had: int = 0  # bytes that it said to have
    gained_at: float = 0.0
    open: bool = False  # it was shown everything
    mute: bool = False  # for it does not tell what it has, and else nothing would come
    done: bool = False  # it has everything


class Reveal:
    """What the followers of one complete dataset were shown. For one thread."""

    def __init__(self, size: int, rng: random.Random) -> None:
        self.size = size
        self.unit = max(UNIT_BYTES, -(-size // UNITS_MAX // UNIT_BYTES) * UNIT_BYTES)
        self.count = -(-size // self.unit)
        self.followers: list[Shown] = []
        self._rng = rng
        self._copies = [0] * self.count  # followers that have a unit, or were shown it
        self._had = [0] * self.count  # followers that have it
        self._untold = bytearray(b"\1" * self.count)  # 1: no follower has it or was shown it
        self._left = self.count  # how many of those there are
        self._extra = 0

    @property
    def left(self) -> int:
        """Units that nobody has or was shown."""
        return self._left

    # Followers come, say what they have, and go

    def join(self, have: HaveMap | None, now: float) -> Shown:
        """Takes a follower."""
        shown = Shown(now, bytearray(self.count), gained_at=now)
        self.followers.append(shown)
        if have is not None:
            self._sync(shown, have)
        return shown

    def leave(self, shown: Shown) -> None:
        """Forgets a follower; what only it was shown is shown to others again."""
        self.followers.remove(shown)
        for unit, state in enumerate(shown.state):
            if state == _HAS:
                self._had[unit] -= 1
            if state != _NOTHING:
                self._fewer(unit)

    def has(self, shown: Shown, have: HaveMap, now: float) -> bool:
        """Takes what a follower says to have. Tells whether a unit that it was shown is among what is new."""
        if have.complete:
            if not shown.done:
                self._sync(shown, have)
            return False
        total = have.spans.total
        if total > shown.had:
            shown.had, shown.gained_at = total, now
        covers = have.spans.covers
        came = [unit for unit in shown.pending if covers(*self._mark(unit))]
        for unit in came:
            self._gained(shown, unit)
        shown.sent = max(0, shown.sent - self.unit * len(came))
        return bool(came)

    def refresh(self, shown: Shown, have: HaveMap) -> None:
        """Looks at all that a follower has: what it got of others, too. Takes a while: not for each message."""
        if not shown.done:
            self._sync(shown, have)

    def _sync(self, shown: Shown, have: HaveMap) -> None:
        if have.complete:
            shown.done = True
        covers = have.spans.covers
        for unit, state in enumerate(shown.state):
            if state != _HAS and (shown.done or covers(*self._mark(unit))):
                self._gained(shown, unit)

    def _mark(self, unit: int) -> tuple[int, int]:
        """Gives the stretch of a unit that a peer has when it has all that begins in it.

        A job begins in one unit and may end in the next. The first of a unit may begin late in it, the last covers its end.
        """
        end = min((unit + 1) * self.unit, self.size)
        return min(unit * self.unit + UNIT_BYTES, end) - 1, end

    def _gained(self, shown: Shown, unit: int) -> None:
        if shown.state[unit] == _NOTHING:
            self._more(unit)
        shown.state[unit] = _HAS
        shown.pending.pop(unit, None)
        self._had[unit] += 1

    def _more(self, unit: int) -> None:
        self._copies[unit] += 1
        if self._untold[unit]:
            self._untold[unit] = 0
            self._left -= 1

    def _fewer(self, unit: int) -> None:
        self._copies[unit] -= 1
        if not self._copies[unit]:
            self._untold[unit] = 1
            self._left += 1

    def alone(self) -> list[Shown]:
        """Shows everything to a follower that has no other beside it, and by turns again when one comes.

        Nobody else could bring it anything, so it is served as by any server. Gives those for whom that changed.
        """
        changed = []
        for shown in self.followers:
            opened = shown.mute or len(self.followers) == 1
            if shown.open != opened:
                shown.open = opened
                changed.append(shown)
        return changed

    # What to show next

    def sent(self, shown: Shown, count: int, *, idle: bool) -> bool:
        """Counts what was sent to a follower. Tells whether it was sent all that it was shown, while this node idles:

        then it is shown twice as much at a time from now on.
        """
        shown.sent += count
        if not idle or shown.sent < self.unit * len(shown.pending):
            return False
        shown.window = min(2 * shown.window, self.count)
        return True

    def mute(self, shown: Shown, now: float) -> bool:
        """Whether a follower that took what it was shown does not say so: nothing can be shown to it by turns."""
        silent = not shown.had and not shown.done and now - shown.since > _MUTE_S
        return silent and bool(shown.pending) and shown.sent >= self.unit

    def onward(self, shown: Shown, now: float) -> list[tuple[int, int]]:
        """Shows a follower as many units that nobody has as its window takes; gives what is new, as stretches."""
        if shown.open or shown.done:
            return []
        units = []
        while self._left and len(shown.pending) < shown.window:
            unit = self._untold_unit(shown)
            self._show(shown, unit, now)
            units.append(unit)
        return self._spans(units)

    def again(self, now: float) -> list[tuple[Shown, list[tuple[int, int]]]]:
        """Shows units for another time, this node being idle; gives to whom, and what.

        Nobody has them yet and whoever was shown them is slow; or the budget lasts; or a follower does not get on.
        """
        if self._left:
            return []
        told = []
        for shown in self.followers:
            if shown.open or shown.done:
                continue
            stalled = now - shown.gained_at > STALL_S
            if shown.pending and not (stalled and now - max(shown.pending.values()) > STALL_S):
                continue
            units = self._few(shown, now, stalled=stalled)
            if units:
                told.append((shown, self._spans(units)))
        return told

    def _few(self, shown: Shown, now: float, *, stalled: bool) -> list[int]:
        """Shows some units with the fewest copies that a follower lacks; gives them."""
        if not stalled and self._extra >= EXTRA_PART * self.count and all(self._had):
            return []
        lacking = [unit for unit, state in enumerate(shown.state) if state == _NOTHING]
        if not lacking:
            return []
        self._rng.shuffle(lacking)  # followers that lack the same are shown different units
        lacking.sort(key=self._had.__getitem__)
        units = []
        for unit in lacking[: shown.window]:
            lost = not self._had[unit] and self._overdue(unit, now)
            if not (stalled or lost) and self._extra >= EXTRA_PART * self.count:
                break
            self._extra += 1
            self._show(shown, unit, now)
            units.append(unit)
        return units

    def _overdue(self, unit: int, now: float) -> bool:
        return all(now - other.pending.get(unit, now - OVERDUE_S) >= OVERDUE_S for other in self.followers)

    def _untold_unit(self, shown: Shown) -> int:
        """Gives a unit that nobody was shown: behind the last one of this follower if it can be, so that it gets long runs."""
        behind = shown.last + 1
        if 0 <= behind < self.count and self._untold[behind]:
            return behind
        first = self._untold.find(1)
        found = self._untold.find(1, first + self._rng.randrange(max(1, SPREAD_BYTES // self.unit)))
        return found if found >= 0 else first

    def _show(self, shown: Shown, unit: int, now: float) -> None:
        shown.state[unit] = _SHOWN
        shown.pending[unit] = now
        shown.last = unit
        shown.spans.add(unit * self.unit, min((unit + 1) * self.unit, self.size))
        self._more(unit)

    def _spans(self, units: Sequence[int]) -> list[tuple[int, int]]:
        return list(Stretches((unit * self.unit, min((unit + 1) * self.unit, self.size)) for unit in units))
