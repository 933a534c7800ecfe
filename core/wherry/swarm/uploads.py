"""Which waiting request is answered next: slots, turns, and what was sent least (specs/0025 §4). Pure: times come in.

A few requests are answered at a time, so that each is done soon and its block can travel on, and never so few that the link
idles: an answer that is under way for long (its peer is slow) does not keep others waiting.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Generic, NamedTuple, TypeVar

from wherry.cid import RAW
from wherry.flow import NORMAL
from wherry.limits import SWARM_REQUESTS_MAX

if TYPE_CHECKING:
    from wherry.cid import CID
    from wherry.swarm.options import SwarmOptions

PATIENCE_S: Final = 2.0  # an answer that takes longer holds no slot: its peer is slow, and others wait
_USUAL: Final = 2.0  # and not before it takes so many times what answers usually do: on a slow link all of them take long
REPEAT_S: Final = 5.0  # a request for what was sent before waits behind others for so long, then it has its turn
QUICK_S: Final = 0.1  # answers of less time than this are too quick for a few slots: the link would wait for the loop
_NARROW: Final = 4  # times the slots: so many answers are given by few at a time before there are more
_SENT_MAX: Final = 65_536  # blocks whose number of copies is known: 5 MB at the most, and 64 GiB of 1 MiB blocks
_NEW: Final = 0.2  # weight of the newest duration in the average
_LOOK: Final = 16  # waiting requests of one peer that are looked at for the best one

P = TypeVar("P")


class Waiting(NamedTuple):
    """A request that was not answered yet."""

    cid: CID  # the first block that it names
    since: float


@dataclass(slots=True)
class Line(Generic[P]):
    """The requests of one peer."""

    peer: P
    waiting: dict[int, Waiting] = field(default_factory=dict)
    serving: dict[int, float] = field(default_factory=dict)  # request -> when its answer began
    urgency: int = NORMAL  # the class that it is served in; stays as long as it waits or is served


class _Class:
    """The slots of one class of traffic: none waits for those of another one, which may be slower by its share."""

    __slots__ = ("lines", "serving", "young")

    def __init__(self) -> None:
        self.lines = 0  # with waiting requests
        self.serving = 0
        self.young: dict[tuple[int, int], float] = {}  # (line, request) -> since; answers that count for slots, oldest first


class Uploads(Generic[P]):
    """The requests of all peers. For one thread."""

    def __init__(self, options: SwarmOptions) -> None:
        self._options = options
        self._ring: OrderedDict[int, Line[P]] = OrderedDict()  # those with waiting requests, whose turn is next first
        self._classes: defaultdict[int, _Class] = defaultdict(_Class)
        self._sent: dict[CID, int] = {}  # block -> times that it was sent
        self._takes_s = 1.0  # an answer, lately
        self._given = 0  # answers, since nobody wanted any

    @property
    def idle(self) -> bool:
        """Whether nobody waits, and more could be answered."""
        return not self._ring and sum([len(one.young) for one in self._classes.values()]) < self.slots

    @property
    def waiting(self) -> int:
        """How many peers have requests that wait."""
        return len(self._ring)

    @property
    def serving(self) -> int:
        """How many answers are under way."""
        return sum([one.serving for one in self._classes.values()])

    @property
    def slots(self) -> int:
        """How many requests of a class are answered at a time now.

        Few at first, when hardly anybody has anything: each block is soon whole, and travels on. Then more, since some peers
        are slow to take what they asked for: their downlinks are full as well.
        """
        options = self._options
        slots = options.slots if self._given < _NARROW * options.slots else max(options.slots, options.slots_wide)
        if self._takes_s >= QUICK_S:
            return slots
        return max(slots, min(options.slots_quick, round(options.slots * QUICK_S / max(self._takes_s, 1e-4))))

    def asked(self, line: Line[P], request: int, cid: CID, now: float) -> bool:
        """Takes a request. False: the peer has too many of them waiting."""
        if len(line.waiting) >= SWARM_REQUESTS_MAX:
            return False
        line.waiting[request] = Waiting(cid, now)
        self._join(line)
        return True

    def _join(self, line: Line[P]) -> None:
        if id(line) not in self._ring:
            self._ring[id(line)] = line
            self._classes[line.urgency].lines += 1

    def _leave(self, line: Line[P]) -> None:
        if self._ring.pop(id(line), None) is not None:
            self._classes[line.urgency].lines -= 1

    def cancelled(self, line: Line[P], request: int) -> None:
        """Forgets a request that waits; one that is being answered goes on until `answered`."""
        if line.waiting.pop(request, None) is not None and not line.waiting:
            self._leave(line)

    def dropped(self, line: Line[P]) -> None:
        """Forgets all waiting requests of a peer."""
        line.waiting.clear()
        self._leave(line)

    def gone(self, line: Line[P]) -> None:
        """Forgets a peer."""
        self.dropped(line)
        its = self._classes[line.urgency]
        for request in line.serving:
            its.young.pop((id(line), request), None)
        its.serving -= len(line.serving)
        line.serving.clear()

    def answered(self, line: Line[P], request: int, sent: int, now: float) -> None:
        """An answer is over."""
        began = line.serving.pop(request, None)
        if began is None:
            return
        its = self._classes[line.urgency]
        its.serving -= 1
        its.young.pop((id(line), request), None)
        if sent:
            self._given += 1
            self._takes_s += _NEW * (now - began - self._takes_s)
        if not self._ring and not self.serving:
            self._given = 0

    def next(self, now: float, *, spare: bool) -> tuple[Line[P], int] | None:
        """Gives the request to answer now, and counts it as being answered; None: none, or no slot of its class is free.

        ``spare``: blocks that were never sent go before those that were, whoever asks (for a node that has everything,
        and wants to send each block about once).
        """
        open_to = {urgency: self._own(one) for urgency, one in self._classes.items() if one.lines and not self._full(one, now)}
        if not open_to:
            return None
        second: tuple[Line[P], int] | None = None
        for line in self._ring.values():
            if len(line.serving) >= open_to.get(line.urgency, 0):
                continue
            request, repeated = self._best(line, now)
            if not (spare and repeated):
                return self._begin(line, request, now)
            second = second or (line, request)
        return self._begin(*second, now) if second is not None else None

    def _full(self, one: _Class, now: float) -> bool:
        patience = max(PATIENCE_S, _USUAL * self._takes_s)
        while one.young:
            key, since = next(iter(one.young.items()))
            if now - since <= patience:
                break
            del one.young[key]
        slots = self.slots
        return len(one.young) >= slots or one.serving >= 4 * max(slots, self._options.slots)

    def _own(self, one: _Class) -> int:
        """How many answers one peer may have under way: all slots where it is alone, half of them where others wait."""
        slots = self.slots
        return slots if one.lines == 1 else max(1, slots // 2)

    def _best(self, line: Line[P], now: float) -> tuple[int, bool]:
        """Gives the request of this peer to answer first: a manifest node, else what was sent least, else the oldest."""
        best, fewest = -1, -1
        for looked, (request, (cid, since)) in enumerate(line.waiting.items()):
            if cid.codec != RAW:
                return request, False  # somebody's walk waits for it
            times = 0 if now - since > REPEAT_S else self._sent.get(cid, 0)
            if fewest < 0 or times < fewest:
                best, fewest = request, times
            if looked >= _LOOK:
                break
        return best, fewest > 0

    def _begin(self, line: Line[P], request: int, now: float) -> tuple[Line[P], int]:
        cid = line.waiting.pop(request).cid
        self._leave(line)
        if line.waiting:
            self._join(line)  # behind all others
        line.serving[request] = now
        its = self._classes[line.urgency]
        its.serving += 1
        its.young[id(line), request] = now
        times = self._sent.pop(cid, 0)
        if len(self._sent) >= _SENT_MAX:
            del self._sent[next(iter(self._sent))]
        self._sent[cid] = times + 1
        return line, request
