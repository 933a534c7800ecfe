"""What has been told of who has what: maps that stay small, and news that goes out in batches (specs/0025 §2). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.abc.exchange import HaveMap
from wherry.limits import HAVE_SPANS_MAX
from wherry.stretches import Stretches

if TYPE_CHECKING:
    from collections.abc import Sequence

TELL_S: Final = 0.1  # small news wait so long for more of their kind
TELL_LATEST_S: Final = 1.0  # and at most so long
_TELL_PART: Final = 256  # what is less than this part of a dataset may wait until then: messages do not grow with its size
_TELL_BYTES: Final = 16_384  # of news for each follower, that are told at once: a message and its packet are 1 % of them
_FRESH_MAX: Final = 256  # stretches of news; more of them are told at once


def coarsened(spans: Stretches, most: int = HAVE_SPANS_MAX) -> Stretches:
    """Gives ``spans`` with at most ``most`` stretches: the shortest are forgotten. The same object if it fits."""
    if len(spans) <= most:
        return spans
    longest = sorted(spans, key=lambda pair: pair[0] - pair[1])[: most // 2]  # half: so that it is not done again at once
    return Stretches(sorted(longest))


def lacks(theirs: HaveMap | None, ours: HaveMap) -> bool:
    """Tells whether a peer that said ``theirs`` (None: nothing) lacks something of ``ours``."""
    if theirs is None:
        return ours.complete or len(ours.spans) > 0
    if theirs.complete:
        return False
    if ours.complete:
        return True
    return any(not theirs.spans.covers(start, end) for start, end in ours.spans)


class News:
    """What this node has of one dataset, and what of it was not told yet."""

    __slots__ = ("_bytes", "_fresh", "_told_at", "complete", "size", "spans")

    def __init__(self, size: int, have: HaveMap) -> None:
        self.size = size
        self.spans = coarsened(have.spans.copy())
        self.complete = have.complete
        self._fresh: list[tuple[int, int]] = []
        self._bytes = 0
        self._told_at = float("-inf")

    @property
    def map(self) -> HaveMap:
        """All that this node has; its spans go on growing."""
        return HaveMap(self.spans, self.complete)

    def gained(self, start: int, end: int) -> None:
        """Takes a new stretch."""
        self.spans.add(start, end)
        if len(self.spans) > HAVE_SPANS_MAX:
            self.spans = coarsened(self.spans)
        if self._fresh and self._fresh[-1][1] == start:
            start = self._fresh.pop()[0]
        self._fresh.append((start, end))
        self._bytes += end - start

    def due(self, now: float, followers: int) -> Sequence[tuple[int, int]]:
        """Gives the news, if it is time to tell them to so many ``followers``, and takes them for told.

        What is a good part of the dataset, and much beside the messages that tell it, does not wait: whoever lacks it would
        ask nobody meanwhile, which is felt where a swarm begins.
        """
        if not self._fresh:
            return ()
        waited = now - self._told_at
        much = self._bytes * _TELL_PART >= self.size
        if waited < TELL_S and not (much and self._bytes >= followers * _TELL_BYTES):
            return ()
        if waited < TELL_LATEST_S and not much and len(self._fresh) < _FRESH_MAX:
            return ()
        fresh, self._fresh, self._bytes, self._told_at = self._fresh, [], 0, now
        return list(Stretches(fresh)) if len(fresh) > 1 else fresh

    def flush(self) -> None:
        """Forgets the news: everything was told, or is told now in another way."""
        self._fresh.clear()
        self._bytes = 0

    def kept(self, have: HaveMap) -> None:
        """No more than ``have`` is here for good."""
        self.spans, self.complete = coarsened(have.spans.copy()), have.complete
        self.flush()

    def emptied(self) -> None:
        """Nothing is here any more."""
        self.spans, self.complete = Stretches(), False
        self.flush()
