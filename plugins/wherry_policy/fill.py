"""What all policies here have in common: going through the jobs in order, each to the best peer that is left.

A heap keeps this near-linear: a view may have a thousand peers, and a plan is made about once a job. A job that few peers
may be asked for looks at those alone.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import TYPE_CHECKING, Final, TypeAlias

from wherry.abc.policy import Assignment

if TYPE_CHECKING:
    from collections.abc import Callable

    from wherry.abc.policy import JobView, SwarmView

    Rank: TypeAlias = float | tuple[float, ...]

_FEW: Final = 8  # a job's peers are few if they are less than a part in so many


class Filling:
    """Gives the jobs of one view, in order, each to the peer with the least rank that it may be given to."""

    def __init__(
        self,
        view: SwarmView,
        rank: Callable[[int, int], Rank],
        *,
        spares: Callable[[JobView, int], bool] | None = None,
        ahead: bool = False,
    ) -> None:
        """``rank`` of a peer that was given so many jobs of this plan.

        ``spares`` tells that a job should rather wait than go to a peer. With ``ahead``, jobs are also laid into slots that
        are not free yet; such a job waits.
        """
        self._view = view
        self._rank = rank
        self._spares = spares
        self._ahead = ahead
        self._given = [0] * len(view.peers)
        self._ranks: list[Rank | None] = [None] * len(view.peers)
        self._heap: list[tuple[Rank, int]] = []
        for peer in range(len(view.peers)):
            if self._open(peer):
                self._ranks[peer] = first = rank(peer, 0)
                self._heap.append((first, peer))
        heapify(self._heap)

    def plan(self) -> list[Assignment]:
        """Goes through all jobs."""
        planned: list[Assignment] = []
        for number, job in enumerate(self._view.jobs):
            if len(job.peers) * _FEW < len(self._view.peers):
                peer = self._best_of(job)
            elif self._heap:
                peer = self._best(job)
            else:
                break
            if peer is None:
                continue
            if self._given[peer] < self._view.peers[peer].slots:
                planned.append(Assignment(number, peer))
            self._given[peer] += 1
            self._ranks[peer] = rank = self._rank(peer, self._given[peer]) if self._open(peer) else None
            if rank is not None:
                heappush(self._heap, (rank, peer))
        return planned

    def _open(self, peer: int) -> bool:
        view = self._view.peers[peer]
        return self._given[peer] < view.slots or (self._ahead and view.slots + view.working > 0 and not view.failures)

    def _suits(self, job: JobView, peer: int) -> bool:
        return peer in job.peers and (self._spares is None or not self._spares(job, peer))

    def _best(self, job: JobView) -> int | None:
        aside: list[tuple[Rank, int]] = []
        found: int | None = None
        while self._heap and found is None:
            rank, peer = heappop(self._heap)
            if rank != self._ranks[peer]:
                continue  # its rank has changed since; the entry with the new one is in the heap
            if self._suits(job, peer):
                found = peer
            else:
                aside.append((rank, peer))
        for entry in aside:
            heappush(self._heap, entry)
        return found

    def _best_of(self, job: JobView) -> int | None:
        able = [(rank, peer) for peer in job.peers if (rank := self._ranks[peer]) is not None and self._suits(job, peer)]
        return min(able)[1] if able else None
