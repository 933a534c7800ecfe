"""What the scheduler knows of a source, and of a job that waits or is under way (specs/0013)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import count
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from wherry.abc.policy import PeerView
from wherry.transfer.standing import Standing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from wherry.abc.exchange import HaveMap

_PARALLEL: Final = 4  # jobs at a time of a source that does not say
_LN2: Final = math.log(2.0)
_VAIN_MAX: Final = 10  # times that a source may fail with a job, however well it does others

J = TypeVar("J")

_NOTHING: Final[Mapping[int, int]] = MappingProxyType({})


def _nothing() -> Mapping[int, int]:
    return _NOTHING


class Meter:
    """Bytes a second, lately: what came counts half after each HALF_S. Pure; for one thread."""

    HALF_S: Final = 1.0

    __slots__ = ("_bytes", "at")

    def __init__(self) -> None:
        self._bytes = 0.0
        self.at = 0.0  # when something came last

    def add(self, now: float, count: int) -> None:
        """Counts what came."""
        self._bytes = self._bytes * math.exp2((self.at - now) / self.HALF_S) + count
        self.at = now

    def rate(self, now: float) -> float:
        """Gives the rate."""
        return self._bytes * math.exp2((self.at - now) / self.HALF_S) * _LN2 / self.HALF_S


@dataclass(slots=True, eq=False)
class Source:
    """What the scheduler knows of one source."""

    address: str
    alive: bool = False  # connected
    reached: bool = False  # was connected at some time
    whom: str = ""  # whom limits of a peer are for: its proven id, or its IP address; "": not known, its address tells
    denied: bool = False  # must not be asked again
    hint: str = ""  # what may be done about that
    failures: int = 0  # one after the other
    doubts: int = 0  # the same for policies: a connection that was made makes one of those before it
    rest_until: float = 0.0
    refused_until: float = 0.0  # it choked us while it was asked, and is not asked again before
    since: float = 0.0  # when it was first asked for, or when it failed first since it was last of use
    busy: bool = False  # it said why it left: it has too much to do
    busy_until: float = 0.0  # it is left alone until then, while others are there
    proven: bool = False  # was of use since its last failure
    leaving: bool = False  # the job that it was given last waits for leave to be asked for
    working: int = 0  # jobs that it is asked for now
    reason: str = "does not answer"  # why it is of no use now: of one that was never reached, as long as it says nothing
    cause: str = ""  # of its last failure, since it was of use
    said_at: float = float("-inf")  # when the user was told last that it fails
    causes: frozenset[str] = frozenset()  # of that, which were told
    silence_s: float = 0.0  # before one of them is told again; 0: it was told once
    ailing: bool = False  # the user was told that it fails, and not yet that it is back
    parallel: int = _PARALLEL  # jobs that it takes at a time
    jobs: int = 0  # that it was given
    blocks: int = 0
    bytes: int = 0
    errors: int = 0
    plain: bool = False  # it holds plain files, and can have no manifest
    local: bool = False  # on this machine or on a private network, as far as its address tells
    standing: Standing = field(default_factory=Standing)
    met: bool = False  # what earlier runs saw of it is in its standing
    linked: bool = False  # its transport exchanges: it may tell what it has, choke us, and be asked for a few jobs ahead
    hedge_at: float = 0.0  # when it may be asked next for what another is late with
    linked_at: float = float("-inf")  # when its connection was made
    have: HaveMap | None = None  # what it says that it has; None: it does not say, and may be asked for anything
    grew: float = 0.0  # when that grew last, or became of another kind
    told: int = 0  # bytes of it
    choked: bool = False  # it answers nothing until further notice
    meter: Meter = field(default_factory=Meter)
    number: int = field(default_factory=count().__next__, init=False)  # by which others note what it did: id() is used again

    @property
    def answers(self) -> bool:
        """Whether it is there, not failing, and answers us."""
        return self.alive and not self.failures and not self.choked

    def says(self, have: HaveMap | None, now: float) -> None:
        """Takes what it says to have. What it said before, and says again, is no growth."""
        before, self.have = self.have, have
        total = have.spans.total if have is not None else 0
        if total > self.told or _kind(before) != _kind(have):
            self.grew = now
        self.told = total

    @property
    def mapped(self) -> bool:
        """Whether it is to be asked only for what its have-map shows."""
        return self.have is not None and (self.have.choosy or not self.have.complete)

    @property
    def partial(self) -> bool:
        """Whether it says that it has only a part."""
        return self.have is not None and not self.have.complete

    def view(self, now: float, slots: int, best_rate: float) -> PeerView:
        """Gives what a policy sees of it."""
        return PeerView(
            self.address, self.local, slots, self.working, self.standing.rate, self.standing.latency_s,
            self.standing.score(now, best_rate), self.bytes, self.jobs, self.doubts, self.standing.rejected,
        )  # fmt: skip


def _kind(have: HaveMap | None) -> tuple[bool, bool] | None:
    return None if have is None else (have.complete, have.choosy)


@dataclass(slots=True, eq=False)
class Task(Generic[J]):
    """A job and what the sources said of it.

    Nothing, nearly always, and jobs are many: so what they said is one object for all, and is replaced where it changes.
    Sets and dicts of its own took half a KiB a job, of which each of a thousand transfers may have a dozen.
    """

    job: J
    urgent: bool = False
    absent: frozenset[int] = frozenset()  # numbers of the sources that do not have it
    bad: Mapping[int, int] = field(default_factory=_nothing)  # number of a source -> times it sent it wrong
    failed: Mapping[int, int] = field(default_factory=_nothing)  # the same -> times it failed with it, wrong ones included
    size: int = 0  # bytes of it, as far as they are known
    put: float = 0.0  # when it was put
    spans: Sequence[tuple[int, int]] = ()  # where it lies in the dataset's stretch of bytes; (): not known, or nowhere
    copies: int = 0  # sources with a map that offer it, while it waits
    rank: float = 0.0  # by chance: who fetches the same dataset begins elsewhere
    over: bool = False  # done: nobody need bring it any more
    deadline: float = math.inf  # when somebody who reads along needs it, of an urgent one; infinite: a walk waits for it
    lacks: Mapping[int, float] = field(default_factory=_nothing)  # number of a partial source -> what it had when it lacked it
    vain: Mapping[int, float] = field(default_factory=_nothing)  # number of a source -> since when it fails with this alone

    def part(self, job: J, spans: Sequence[tuple[int, int]] = ()) -> Task[J]:
        """Gives a task for a part of the job; what the sources said holds for it too."""
        task = Task(job, self.urgent, self.absent, self.bad, self.failed, self.size, self.put)
        task.spans, task.rank, task.lacks, task.deadline, task.vain = spans, self.rank, self.lacks, self.deadline, self.vain
        return task

    def fails(self, source: Source, now: float, wait_s: float, *, vain: bool) -> None:
        """Counts a failure of a source with it; ``vain``: nothing of it was done.

        One that gets on with other jobs and fails with this one again and again, for as long as a source is waited for, is as
        good as one that does not have it: else the others would keep hope alive for ever.
        """
        who = source.number
        self.failed = {**self.failed, who: self.failed.get(who, 0) + 1}
        if vain and source.proven:
            self.vain = {who: now, **self.vain}
            if self.failed[who] >= _VAIN_MAX and now - self.vain[who] >= wait_s:
                self.absent |= {who}

    @property
    def for_all(self) -> bool:
        """Whether no source has said or shown anything against it."""
        return not self.absent and not self.failed and not self.lacks
