"""A rate for background traffic that gives way to all other traffic: LEDBAT (RFC 6817; specs/0026 §4).

A queue somewhere on the way makes round trips longer. The shortest one of the last minutes is what the way takes when it is
empty; what a round trip takes longer than that is the queue. The window grows while the queue is under the target and shrinks
above it, each in proportion, so that background traffic fills an idle link and keeps 100 ms away from filling its queue. Where
something is lost the window is halved. RFC 6817 speaks of one-way delays; a round trip also counts the queue of the way back,
which errs on the side of giving way.

A window that is sent once each round trip is a rate, and that is what the bucket of the peer is given. Pure: times are the
caller's.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

TARGET_S: Final = 0.1  # RFC 6817 §2.5: MUST be 100 ms or less
GAIN: Final = 1.0  # §2.5: MUST be 1 or less; the window grows no faster than TCP's
SEGMENT_BYTES: Final = 1448  # of Ethernet
WINDOW_MIN: Final = 2 * SEGMENT_BYTES  # §2.5: MIN_CWND is 2
BASE_MINUTES: Final = 10  # §2.5: BASE_HISTORY: routes change, and then the shortest of long ago tells nothing
CURRENT_SAMPLES: Final = 4  # §2.5: of so many the shortest counts, for one packet may be late for its own reasons
ROUND_TRIP_MIN_S: Final = 0.001  # on one machine; a shorter one is no link that needs anybody to give way

_WINDOW_MAX: Final = 1 << 30


class Ledbat:
    """The rate to one peer."""

    __slots__ = ("_base", "_current", "_halved", "_last", "_minute", "_starting", "_window", "rate")

    def __init__(self, now: float) -> None:
        self._base: deque[float] = deque(maxlen=BASE_MINUTES)  # the shortest round trip of each minute
        self._minute = -math.inf
        self._current: deque[float] = deque(maxlen=CURRENT_SAMPLES)
        self._window = float(WINDOW_MIN)
        self._starting = True  # it doubles each round trip until a queue or a loss is seen, as TCP does (§2.4.2)
        self._halved = -math.inf
        self._last = now
        self.rate: float | None = None  # bytes a second; None until there is a sample

    def sampled(self, delay_s: float, gone: int, now: float, *, lost: bool) -> float:
        """Takes a round trip in which ``gone`` bytes went, and whether any were lost; gives the rate from now on."""
        delay_s = max(delay_s, ROUND_TRIP_MIN_S)
        self._remember(delay_s, now)
        current = min(self._current)
        queued_s = current - min(self._base)
        if lost:
            self._starting = False
            if now - self._halved >= delay_s:  # once a round trip: many losses of one queue are one sign
                self._window /= 2
                self._halved = now
        elif gone:
            used = gone / max(now - self._last, ROUND_TRIP_MIN_S) * current  # of the window, in one round trip
            self._grow(gone, (TARGET_S - queued_s) / TARGET_S, idle=2 * used < self._window)
        self._last = now
        self._window = min(max(self._window, WINDOW_MIN), _WINDOW_MAX)
        self.rate = self._window / current
        return self.rate

    def _grow(self, gone: int, off_target: float, *, idle: bool) -> None:
        if off_target < 0.5:
            self._starting = False
        if off_target > 0 and idle:
            return  # a window that is not used says nothing of the link (§2.4.1, max_allowed_cwnd)
        if self._starting:
            self._window += gone
            return
        grown = self._window + GAIN * max(off_target, -1.0) * gone * SEGMENT_BYTES / self._window
        self._window = max(grown, self._window / 2)

    def _remember(self, delay_s: float, now: float) -> None:
        self._current.append(delay_s)
        if now - self._minute >= 60.0 or not self._base:
            self._minute = now
            self._base.append(delay_s)
        else:
            self._base[-1] = min(self._base[-1], delay_s)
