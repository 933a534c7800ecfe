"""Renews the names that this home publishes, and hands their records over again, while a node serves (specs/0034 §8)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from wherry.errors import WherryError
from wherry.observe import Note
from wherry.offload import in_thread, settled
from wherry.session.names import ask, hand_over
from wherry.session.naming import WRONG_CLOCK, report
from wherry.store.namekeys import NameKeys
from wherry.store.names import NameBook
from wherry.units import format_duration

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.ipns.name import Name
    from wherry.observe import Observe
    from wherry.results import NameReport
    from wherry.session.parts import Parts
    from wherry.store.names import Known

LOOK_S: Final = 10.0  # between two looks: another process may have published, or this machine have slept
HAND_OVER_S: Final = 4 * 3600.0  # carriers forget, and are given the same record again
_JUMP_S: Final = 300.0  # so far the clock may be put forward or back, all in all, while a node serves
_SETTLED_S: Final = 3600.0  # a clock that was put elsewhere and has gone on for so long is taken for right
_AGAIN_S: Final = (60.0, 3600.0)  # after carriers took nothing: doubled each time, from this to that


@dataclass(slots=True)
class _Told:
    """What became of one name so far. Times are in seconds that pass whatever the clock says."""

    record: bytes = b""  # that the carriers have
    at: float = 0.0  # since when
    gave: tuple[str, ...] = ()  # who took it
    failures: int = 0  # in a row
    again_at: float = 0.0
    problem: str = ""


class _Jumps:
    """Whether the clock was put forward or back lately. What it says then is not signed: nobody can take a signature back.

    It cannot be told which of the two times is right. A wrong clock is put right as a rule, and one that was wrong from the
    start, or stood still with its whole machine, jumps once and goes on: so a new time counts when it has gone on for a while.
    """

    def __init__(self, now: float, passed: float) -> None:
        self._passed = self._since = passed
        self._trusted = self._apart = now - passed

    def look(self, now: float, passed: float) -> bool:
        """Takes what the clock and the time that passed are now. Gives whether there was a jump since the last look."""
        apart, self._passed = now - passed, passed
        jumped = abs(apart - self._apart) > _JUMP_S
        if jumped or abs(apart - self._trusted) <= _JUMP_S:
            self._apart, self._since = apart, passed
        if passed - self._since >= _SETTLED_S:
            self._trusted = self._apart
        return jumped and self.by != 0.0

    @property
    def by(self) -> float:
        """How far the clock is from where it is expected, in seconds; 0: not far."""
        by = self._apart - self._trusted
        return by if abs(by) > _JUMP_S else 0.0

    def settles(self, lifetime_s: float) -> bool:
        """Tells whether a record that is valid for ``lifetime_s`` may be signed now; it is not to end before that."""
        return self.by == 0.0 or self._passed - self._since >= min(_SETTLED_S, lifetime_s / 3)


class Renewer:
    """What keeps a home's own names alive. For one event loop; time is the session's clock."""

    def __init__(self, parts: Parts, observe: Observe) -> None:
        self._parts = parts
        self._observe = observe
        self._book = NameBook(parts._store.state)
        self._keys = NameKeys(parts.home)
        self._told: dict[Name, _Told] = {}
        self._jumps = _Jumps(parts._clock(), parts._passed())
        self._warned: set[bytes] = set()  # records of which it is said that a wrong clock signed them
        self.reports: list[NameReport] = []  # as of the last look

    async def run(self) -> None:
        """Works until cancelled."""
        while True:
            try:
                await self.look()
            except WherryError as problem:  # state.db: it is said by whatever needs it next, too
                self._observe(Note("warning", f"names are not renewed now: {problem.message}"))
            await self._parts._sleep(LOOK_S)

    async def look(self) -> None:
        """Does what is due. Raises StoreError; what goes wrong with one name is said once, and tried again."""
        if self._jumps.look(self._parts._clock(), self._parts._passed()):
            self._observe(Note("warning", f"names are not renewed now: {self._jumped()}"))
        own = await in_thread(self._book.own)
        for known in own:
            told = self._told.setdefault(known.record.name, _Told())
            try:
                await self._keep(known, told)
            except WherryError as problem:
                self._failed(known.record.name, told, problem.message)
        self.reports = await in_thread(self._report)

    async def _keep(self, known: Known, told: _Told) -> None:
        """Renews one name and hands it over, if either is due."""
        now, passed, name = self._parts._clock(), self._parts._passed(), known.record.name
        sure = self._jumps.settles(known.lifetime_s)
        due = sure and known.renew_at is not None and known.renew_at <= now
        fresh = known.record.binary == told.record and passed < told.at + HAND_OVER_S
        if sure and known.too_long(now) and known.record.binary not in self._warned:
            self._warned.add(known.record.binary)
            self._observe(Note("warning", f"the name {name} was {WRONG_CLOCK}"))
        if (fresh and not due) or passed < told.again_at:
            return
        record = known.record
        if due:
            key = await in_thread(lambda: self._keys.get(known.key))
            await ask(self._parts, name, ())  # who has a newer record of this key is not to be written over
            renewed = await in_thread(lambda: self._book.renew(key, self._parts._clock()))
            if renewed is None and (why := await in_thread(lambda: self._why_not(known))):
                self._failed(name, told, why)
                return
            record = renewed if renewed is not None else record
        elif await in_thread(lambda: self._disputed(known)):
            return  # neither of the two is given on
        answers = await hand_over(self._parts, record)
        if answers.warnings and not answers.gave:
            self._failed(name, told, answers.warnings[0])
            return
        self._told[name] = _Told(record.binary, passed, tuple(answers.gave))

    def _report(self) -> list[NameReport]:
        found, now = [], self._parts._clock()
        for name, told in list(self._told.items()):
            known = self._book.known(name)
            if known is not None:
                # A name that is disputed leads nowhere from now on, however long it is until it would be renewed.
                problems = dict.fromkeys([told.problem, self._disputed(known), self._clock_problem(known, now)])
                found.append(report(known, known.record, list(told.gave), [problem for problem in problems if problem]))
        return found

    def _clock_problem(self, known: Known, now: float) -> str:
        if self._jumps.settles(known.lifetime_s):
            return WRONG_CLOCK if known.too_long(now) else ""
        return self._jumped() if known.renew_at is not None and known.renew_at <= now else ""

    def _jumped(self) -> str:
        by = self._jumps.by
        put = f"{'forward' if by > 0 else 'back'} by {format_duration(abs(by))}"
        until = f"it is right, or has gone on for {format_duration(_SETTLED_S)}"
        return f"the clock was put {put} while this runs: names wait until {until}"

    def _disputed(self, known: Known) -> str:
        """Says that there are two records of one number; "" if there are not."""
        name, number = known.record.name, known.record.sequence
        if not self._book.equivocated(name, number):
            return ""
        return f"two different records of {name} are signed with number {number}: publish it again"

    def _why_not(self, before: Known) -> str:
        """Tells why a name that was due was not renewed; "" if another process did it."""
        name, after = before.record.name, self._book.known(before.record.name)
        if after is not None and (why := self._disputed(after)):
            return why
        if after is None or not after.lifetime_s:
            number = after.record.sequence if after is not None else "?"
            return f"{name} was published elsewhere, with number {number}: this home does not renew it any more"
        return ""

    def _failed(self, name: Name, told: _Told, why: str) -> None:
        least, most = _AGAIN_S
        again_at = self._parts._passed() + min(most, least * 2.0 ** min(told.failures, 16))
        if told.problem != why:
            self._observe(Note("warning", f"the name {name} is not renewed or handed over now: {why}"))
        self._told[name] = replace(told, failures=told.failures + 1, again_at=again_at, problem=why)


@asynccontextmanager
async def renewing(parts: Parts, observe: Observe) -> AsyncIterator[Renewer]:
    """Renews while the context lasts. Raises what the body raises alone."""
    renewer = Renewer(parts, observe)
    task = asyncio.create_task(renewer.run())
    try:
        yield renewer
    finally:
        task.cancel()
        await settled([task])
