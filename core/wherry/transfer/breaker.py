"""Circuit breakers: a peer that fails again and again is left alone for a while, by all transfers of a process (specs/0029 §6).

    closed --- failures within a window ---> open --- its time is over ---> half-open --- the probe does well ---> closed
                                              ^                                 |
                                              '------- the probe fails ---------'      (and stays open for twice as long)

Each transfer rests a source that fails by itself (specs/0013 §3); but a daemon with a thousand transfers would call a dead
peer a thousand times as often. Pure: events and times in, seconds to wait out. For one event loop.

The pattern is that of Nygard, "Release It!" (2007); the time, full jitter, that of Brooker, "Exponential Backoff And Jitter"
(AWS, 2015).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from wherry.limits import BREAKERS_MAX, CONNECT_S, IDLE_S

if TYPE_CHECKING:
    import random

FAILURES: Final = 5  # within WINDOW_S open it: about what one transfer meets in its first five seconds
WINDOW_S: Final = 60.0
OPEN_FIRST_S: Final = 2.0
OPEN_MAX_S: Final = 20.0  # a peer that is back is found within a third of the time that a get waits for it (WAIT_S)
PROBE_S: Final = CONNECT_S + IDLE_S  # a probe that says nothing for so long has failed: its transfer may be gone
_AGAIN_S: Final = 0.5  # the others look again so often while a probe is under way
_LEAST: Final = 0.1  # of the open time that jitter leaves: no time at all would be no breaker

State = Literal["closed", "open", "half-open"]


@dataclass(slots=True, eq=False)
class Breaker:
    """That of one peer."""

    rng: random.Random
    times: int = 0  # that it opened since the peer last did well
    _failures: deque[float] = field(default_factory=lambda: deque(maxlen=FAILURES))
    _until: float = 0.0  # when the time of the open one, or of the probe, is over
    _state: State = "closed"

    def state(self, now: float) -> State:
        """Tells what it is now: an open one whose time is over may be probed."""
        return "half-open" if self._state == "open" and now >= self._until else self._state

    def ask(self, now: float) -> float:
        """Gives 0.0 if the peer may be called now, and else the seconds after which to ask again.

        Where it is half-open, who gets 0.0 probes, and says what came of it by `succeeded`, `failed` or `dropped`.
        """
        if self._state == "closed":
            return 0.0
        if now < self._until:
            left = self._until - now
            return left if self._state == "open" else min(_AGAIN_S, left)
        if self._state == "half-open":  # nothing was heard of the probe
            self._open(now)
            return self._until - now
        self._state, self._until = "half-open", now + PROBE_S
        return 0.0

    def failed(self, now: float) -> None:
        """A connection could not be made, or was lost before it was of use, or a request failed."""
        if self._state == "half-open":
            self._open(now)
            return
        self._failures.append(now)
        recent = len(self._failures) == FAILURES and now - self._failures[0] <= WINDOW_S
        if self._state == "closed" and recent:
            self._open(now)

    def succeeded(self, now: float) -> None:
        """The peer did what it was asked."""
        del now
        self._state, self.times = "closed", 0
        self._failures.clear()

    def dropped(self, now: float) -> None:
        """Whoever called it was stopped before anything came of it: another may probe."""
        if self._state == "half-open":
            self._state, self._until = "open", now

    def _open(self, now: float) -> None:
        limit = min(OPEN_MAX_S, OPEN_FIRST_S * 2 ** min(self.times, 10))
        self._state, self.times = "open", self.times + 1
        self._until = now + max(_LEAST * limit, self.rng.uniform(0.0, limit))
        self._failures.clear()

    @property
    def is_blank(self) -> bool:
        """Whether it knows nothing: forgetting it changes nothing."""
        return self._state == "closed" and not self.times and not self._failures


class Breakers:
    """Those of all peers that a process calls, by where they are dialled."""

    def __init__(self, rng: random.Random, most: int = BREAKERS_MAX) -> None:
        """``most``: beyond so many, those that were asked longest ago are forgotten."""
        self._rng = rng
        self._most = most
        self._breakers: OrderedDict[str, Breaker] = OrderedDict()

    def of(self, key: str) -> Breaker:
        """Gives the breaker of a peer (wherry.access.place_of). Hold it no longer than a call."""
        breaker = self._breakers.get(key)
        if breaker is None:
            breaker = self._breakers[key] = Breaker(self._rng)
            if len(self._breakers) > self._most:
                self._shrink()
        self._breakers.move_to_end(key)
        return breaker

    def state(self, key: str, now: float) -> State:
        """Tells the state of one, without making it."""
        breaker = self._breakers.get(key)
        return "closed" if breaker is None else breaker.state(now)

    def _shrink(self) -> None:
        blank = [key for key, breaker in self._breakers.items() if breaker.is_blank]
        for key in blank[:-1] or list(self._breakers)[:1]:  # the last one is who is asked for now
            del self._breakers[key]

    def __len__(self) -> int:
        return len(self._breakers)
