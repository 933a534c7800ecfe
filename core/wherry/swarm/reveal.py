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
    from collections.abc import Iterator, Sequence

    from wherry.abc.exchange import HaveMap

UNIT_BYTES: Final = 1 * MiB  # the least unit: a job of a swarm
UNITS_MAX: Final = 4096  # units of one dataset: what is remembered of each follower is a byte for each
WINDOW: Final = 2  # units that a peer is shown at first and has not yet: one comes while the other is asked for
SPREAD_BYTES: Final = 256 * MiB  # units are shown in the order of the walk but for so much: it makes jobs only so far ahead
SPREAD_UNITS: Final = 16  # at first: of small files it makes jobs less far ahead
STALL_S: Final = 2.0  # a follower that gained nothing for so long is shown what it lacks
OVERDUE_S: Final = 1.0  # a unit that was shown, or is kept, for so long while this node idles is shown to another
STALL_TIMES: Final = 4.0  # and not before so many times what a unit takes, from shown to had: a slow link is no stall
OVERDUE_TIMES: Final = 2.0
_TAKES_S: Final = 2.0  # what a unit is taken to take before the first one came
_NEW: Final = 0.25  # weight of the newest in what a unit takes
_NEARER: Final = 4  # so much nearer to each other are units drawn for who has no use for them
EXTRA_PART: Final = 0.12  # of a copy that is shown beyond the first without need, to shorten the end; 1.2 is the bound
_MUTE_S: Final = 3.0  # a follower that says nothing at all for so long, after it took a unit, does not tell what it has
_NOTHING, _SHOWN, _HAS = 0, 1, 2


@dataclass(slots=True, eq=False)
class Shown:
    """What one follower was shown, and has."""

    state: bytearray  # of each unit
    listens: bool = True  # others can call it
    spans: Stretches = field(default_factory=Stretches)  # what it was shown, as it is told
    theirs: Stretches = field(default_factory=Stretches)  # what it has, as it says; goes on growing
    stale: bool = False  # not all of that was looked at
    pending: dict[int, float] = field(default_factory=dict)  # unit -> when it was shown, and it has it not
    window: int = WINDOW
    sent: int = 0  # bytes sent to it that it did not say to have yet
    sent_at: float = 0.0  # when it was sent a unit's worth of them first
    last: int = -2  # unit that was shown last
    had: int = 0  # bytes that it said to have
    gained_at: float = 0.0
    open: bool = False  # it was shown everything
    mute: bool = False  # for it does not tell what it has, and else nothing would come
    done: bool = False  # it has everything
    kept: dict[int, float] = field(default_factory=dict)  # unit -> since when it, and no other follower, has what it was shown
    gave: bool = False  # another has got from it what it alone had
    asks: bool = False  # it is being served, or waits for that
    spread: int = SPREAD_UNITS  # units in which those that it is shown are drawn by chance: twice as many with each that came
    spread_most: int = SPREAD_UNITS
    stingy: bool = False  # it kept something for long, and gave nothing: what it has is as good as gone

    @property
    def keeps(self) -> bool:
        """Whether it has to pass something on before it is shown more (BEP 16); a fast one may have some on the way."""
        return self.stingy or len(self.kept) > self.window // 2 + 1


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
        self._keepers: dict[int, Shown] = {}  # unit -> the only one who has it
        self._takes_s = 0.0  # a unit, from shown to had; 0.0: none came yet

    @property
    def left(self) -> int:
        """Units that nobody has or was shown."""
        return self._left

    # Followers come, say what they have, and go

    def join(self, have: HaveMap | None, now: float, *, listens: bool = True) -> Shown:
        """Takes a follower; ``listens``: others can call it."""
        shown = Shown(bytearray(self.count), listens, gained_at=now, spread_most=max(SPREAD_UNITS, SPREAD_BYTES // self.unit))
        self.followers.append(shown)
        if have is not None:
            self._sync(shown, have, now)
        return shown

    def leave(self, shown: Shown) -> None:
        """Forgets a follower; what only it was shown is shown to others again."""
        self.followers.remove(shown)
        for unit in shown.kept:
            del self._keepers[unit]
        for unit, state in enumerate(shown.state):
            if state == _HAS:
                self._had[unit] -= 1
            if state != _NOTHING:
                self._fewer(unit)

    def has(self, shown: Shown, have: HaveMap, now: float, gained: Sequence[tuple[int, int]] | None = None) -> list[Shown]:
        """Takes what a follower says to have, and what is new in it. Gives the followers to whom more can be shown now.

        These are the follower, if a unit that it was shown is new, and whoever was the only one to have what is new.
        """
        if have.complete:
            if not shown.done:
                self._sync(shown, have, now)
            return []
        shown.theirs, shown.stale, total = have.spans, True, have.spans.total
        if total > shown.had:
            shown.had, shown.gained_at = total, now
        covers = have.spans.covers
        came = [unit for unit in shown.pending if covers(*self._mark(unit))]
        for unit in came:
            took = now - shown.pending[unit]
            self._takes_s += (_NEW if self._takes_s else 1.0) * (took - self._takes_s)
        shown.sent = max(0, shown.sent - self.unit * len(came))
        shown.spread = min(shown.spread << len(came), shown.spread_most)
        near = [
            unit  # what a peer claims beyond the end is no unit
            for start, end in gained or ()
            for unit in range(start // self.unit, min(-(-end // self.unit), self.count))
        ]
        passed = {id(shown): shown} if came else {}
        for unit in (*came, *near):
            if shown.state[unit] != _HAS and covers(*self._mark(unit)):
                keeper = self._gained(shown, unit, now)
                if keeper is not None:
                    passed[id(keeper)] = keeper
        return list(passed.values())

    def refresh(self, shown: Shown, have: HaveMap, now: float) -> None:
        """Looks at all that a follower has: what it got of others, too. Takes a while: not for each message."""
        if not shown.done:
            self._sync(shown, have, now)

    def _sync(self, shown: Shown, have: HaveMap, now: float) -> None:
        shown.theirs, shown.stale = have.spans, False
        shown.done = shown.done or have.complete
        for first, last in [(0, self.count)] if shown.done else self._marked(have.spans):
            news = shown.state.count(_HAS, first, last) < last - first
            for unit in range(first, last) if news else ():
                if shown.state[unit] != _HAS:
                    self._gained(shown, unit, now)

    def _marked(self, spans: Stretches) -> Iterator[tuple[int, int]]:
        """Gives the units whose marks lie in ``spans``, as runs: first, one beyond the last."""
        for start, end in spans:
            first = start // self.unit
            first += start > self._mark(first)[0]
            last = self.count if end >= self.size else end // self.unit
            if first < last:
                yield first, last

    def _mark(self, unit: int) -> tuple[int, int]:
        """Gives the stretch of a unit that a peer has when it has all that begins in it, if jobs come in their order.

        A job begins in one unit and may end in the next. The first of a unit may begin late in it, the last covers its end.
        """
        end = min((unit + 1) * self.unit, self.size)
        return min(unit * self.unit + UNIT_BYTES, end) - 1, end

    def _holed(self, shown: Shown, unit: int) -> bool:
        """Whether a follower lacks a job that begins in a unit of which it has the mark, and was not shown the unit.

        So it is after a get that was interrupted, or where others bring the end of a unit first: the mark then hides the
        job before it. What is missing begins in the unit if all up to the unit is there.
        """
        begin, end = unit * self.unit, min((unit + 1) * self.unit, self.size)
        covers = shown.theirs.covers
        return covers(max(0, begin - 1), begin) and not covers(begin, end) and not shown.spans.covers(begin, end)

    def _gained(self, shown: Shown, unit: int, now: float) -> Shown | None:
        """A follower has a unit. Gives the one who kept it until now."""
        was_shown = shown.state[unit] == _SHOWN
        if not was_shown:
            self._more(unit)
        shown.state[unit] = _HAS
        shown.pending.pop(unit, None)
        self._had[unit] += 1
        if self._had[unit] == 1 and was_shown:
            shown.kept[unit] = now
            self._keepers[unit] = shown
            return None
        keeper = self._keepers.pop(unit, None)
        if keeper is not None:
            del keeper.kept[unit]
            if not was_shown:
                keeper.gave, keeper.stingy = True, False
        return keeper

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

        Nobody else could bring it anything, so it is served as by any server. Of two that nobody can call neither can call
        the other. Gives those for whom that changed.
        """
        changed = []
        listening = sum([shown.listens for shown in self.followers])
        for shown in self.followers:
            others = len(self.followers) - 1 if shown.listens else listening
            opened = shown.mute or not others
            if shown.open != opened:
                shown.open = opened
                changed.append(shown)
        return changed

    # What to show next

    def sent(self, shown: Shown, count: int, now: float, *, idle: bool) -> bool:
        """Counts what was sent to a follower. Tells whether it was sent all that it was shown, while this node idles:

        then it is shown twice as much at a time from now on.
        """
        if shown.sent < self.unit <= shown.sent + count:
            shown.sent_at = now
        shown.sent += count
        if not idle or shown.sent < self.unit * len(shown.pending) or shown.keeps:
            return False
        shown.window = min(2 * shown.window, self.count)
        return True

    def mute(self, shown: Shown, now: float) -> bool:
        """Whether a follower that took what it was shown does not say so: nothing can be shown to it by turns."""
        took = bool(shown.pending) and shown.sent >= self.unit and now - shown.sent_at > _MUTE_S
        return took and not shown.had and not shown.done

    def onward(self, shown: Shown, now: float) -> list[tuple[int, int]]:
        """Shows a follower as many units that nobody has as its window takes; gives what is new, as stretches."""
        if shown.open or shown.done:
            return []
        units = []
        while self._left and len(shown.pending) < shown.window and not shown.keeps:
            unit = self._untold_unit(shown)
            self._show(shown, unit, now)
            units.append(unit)
        return self._spans(units)

    def again(self, now: float) -> list[tuple[Shown, list[tuple[int, int]]]]:
        """Shows units for another time, this node being idle; gives to whom, and what.

        Nobody has them yet and whoever was shown them is slow; or only such have them as give nothing; or the budget lasts;
        or a follower does not get on. While there are units that nobody was shown, only who keeps something and stands still is
        shown some of those.
        """
        takes_s = self._takes_s or _TAKES_S
        patience = max(OVERDUE_S, OVERDUE_TIMES * takes_s)
        stall_s = max(STALL_S, STALL_TIMES * takes_s)
        if self._left:
            return self._forgiven(now, stall_s)
        lost = self._lost(now, patience)
        told = []
        for shown in sorted(self.followers, key=lambda one: one.stingy):
            if shown.open or shown.done:
                continue
            stalled = now - shown.gained_at > stall_s
            if shown.pending and not (stalled and now - max(shown.pending.values()) > stall_s):
                continue
            units = self._few(shown, lost if not shown.stingy else set(), now, patience, stalled=stalled)
            if units:
                told.append((shown, self._spans(units)))
        return told

    def _forgiven(self, now: float, stall_s: float) -> list[tuple[Shown, list[tuple[int, int]]]]:
        """Shows more to followers to whom nothing came for long, though there are units that nobody was shown.

        Those that keep what they have: no other one may reach them. Where two followers each lead a part of the swarm that
        cannot reach the other, both would keep what they have for ever. And those that do not ask for what they were shown:
        no job may begin in it, or they make jobs less far ahead than this shows units. They are shown what they lack first,
        and from then on units that lie nearer to each other.
        """
        told = []
        for shown in self.followers:
            shown_at = max(shown.pending.values(), default=shown.gained_at)
            if shown.open or shown.done or shown.asks or now - shown_at <= stall_s:
                continue
            stalled = now - shown.gained_at > stall_s
            units: list[int] = []
            if shown.pending and (stalled or not shown.sent):
                shown.spread = shown.spread_most = shown.spread // _NEARER or 1
                shown.pending.clear()  # it may ask for them later; until then others are shown
                shown.sent = 0
                if stalled:
                    units = self._first(shown, now, stall_s)
            elif shown.keeps and not shown.pending and stalled:
                for unit in shown.kept:
                    del self._keepers[unit]
                shown.kept.clear()
                shown.stingy = False
            spans = Stretches([*self._spans(units), *self.onward(shown, now)])
            if spans:
                told.append((shown, list(spans)))
        return told

    def _first(self, shown: Shown, now: float, stall_s: float) -> list[int]:
        """Shows a follower the first units that it lacks and nobody else was shown lately; gives them."""
        self._unhave(shown)
        units: list[int] = []
        for unit, state in enumerate(shown.state):
            if len(units) < shown.window and state == _NOTHING and not self._shown_lately(unit, now, stall_s):
                self._show(shown, unit, now)
                units.append(unit)
        return units

    def _lost(self, now: float, patience: float) -> set[int]:
        """Gives the units that nobody has who gives; and finds out who does not."""
        stingy = []
        for shown in self.followers:
            if not shown.gave and not shown.stingy and shown.kept:
                shown.stingy = now - min(shown.kept.values()) > patience
            if shown.stingy:
                stingy.append(shown.state)
        had = self._had
        if not stingy:
            return {unit for unit, count in enumerate(had) if not count}
        return {unit for unit, count in enumerate(had) if count <= sum(state[unit] == _HAS for state in stingy)}

    def _few(self, shown: Shown, lost: set[int], now: float, patience: float, *, stalled: bool) -> list[int]:
        """Shows some units with the fewest copies that a follower lacks; gives them."""
        spend = self._extra < EXTRA_PART * self.count
        if not (stalled or lost or spend):
            return []
        if stalled:
            self._unhave(shown)
        lacking = [unit for unit, state in enumerate(shown.state) if state == _NOTHING and (stalled or spend or unit in lost)]
        self._rng.shuffle(lacking)  # followers that lack the same are shown different units
        lacking.sort(key=lambda unit: (unit not in lost, self._had[unit], self._copies[unit]))
        units: list[int] = []
        for unit in lacking:
            needed = stalled or unit in lost
            if len(units) == shown.window or not (needed or self._extra < EXTRA_PART * self.count):
                break
            if self._shown_lately(unit, now, patience):
                continue
            self._extra += 1
            self._show(shown, unit, now)
            units.append(unit)
        return units

    def _unhave(self, shown: Shown) -> None:
        """Takes back that a follower has units of which it lacks something after all."""
        for unit, state in enumerate(shown.state):
            if state == _HAS and self._holed(shown, unit):
                shown.state[unit], shown.stale = _NOTHING, True
                self._had[unit] -= 1
                self._fewer(unit)
                if shown.kept.pop(unit, None) is not None:
                    del self._keepers[unit]

    def _shown_lately(self, unit: int, now: float, patience: float) -> bool:
        """Whether somebody was shown a unit a moment ago, and is to bring it first."""
        return any(unit in other.pending and now - other.pending[unit] < patience for other in self.followers)

    def _untold_unit(self, shown: Shown) -> int:
        """Gives a unit that nobody was shown: behind the last one of this follower if it can be, so that it gets long runs."""
        behind = shown.last + 1
        if 0 <= behind < self.count and self._untold[behind]:
            return behind
        first = self._untold.find(1)
        found = self._untold.find(1, first + self._rng.randrange(shown.spread))
        return found if found >= 0 else first

    def _show(self, shown: Shown, unit: int, now: float) -> None:
        shown.state[unit] = _SHOWN
        shown.pending[unit] = now
        shown.last = unit
        shown.spans.add(unit * self.unit, min((unit + 1) * self.unit, self.size))
        self._more(unit)

    def _spans(self, units: Sequence[int]) -> list[tuple[int, int]]:
        return list(Stretches((unit * self.unit, min((unit + 1) * self.unit, self.size)) for unit in units))
