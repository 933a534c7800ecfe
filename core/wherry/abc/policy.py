"""The contract of a policy: which peer is asked for which job next (specs/0006 §9, specs/0017).

Written for implementers. A policy is a pure function: what it needs to know is in the view, chance comes from ``rng``, and
the same view and seed give the same plan. Core checks every assignment, so a policy decides how fast a transfer is, never
whether its bytes are right; peers that core has banned or that rest after a failure have no slots in the view.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from random import Random


class PeerView(NamedTuple):
    """What is known of one peer. Fields may be added behind these, with defaults."""

    address: str
    local: bool  # on this machine or on a private network
    slots: int  # jobs that it may be given now; 0: busy, resting
    working: int  # jobs that it is asked for now
    rate: float  # payload bytes a second that one job of its got lately; 0.0: not known yet
    latency_s: float  # from asking to the first bytes, lately; 0.0: not known yet
    score: float  # reputation, 0.0 (useless) to 1.0 (flawless), 0.5 for a newcomer (specs/0017 §3)
    bytes: int = 0  # verified payload that it gave
    jobs: int = 0  # jobs that it was given so far
    failures: int = 0  # one after the other; of those before its connection was made again, one
    rejected: int = 0  # blocks that did not verify


class JobView(NamedTuple):
    """One job (a batch of wants) that waits and may be given to a peer with slots."""

    bytes: int  # of wants whose size is known
    urgent: bool  # the walk waits for it
    age_s: float  # since it was put
    peers: frozenset[int]  # which of the view's peers may be asked for it, busy ones too


class SwarmView(NamedTuple):
    """A snapshot. Jobs are in the order in which they are wanted; urgent ones come first."""

    now: float  # seconds of a steady clock
    peers: Sequence[PeerView]  # those that are connected
    jobs: Sequence[JobView]  # at most POLICY_JOBS_MAX of them
    more: bool = True  # more jobs will come; False: these and those under way are the last


class Assignment(NamedTuple):
    """Give this job to this peer: indexes into the view."""

    job: int
    peer: int


class Policy(ABC):
    """Chooses. Synchronous and fast: it runs on the event loop, up to once a job; not where nothing is to be chosen."""

    @abstractmethod
    def plan(self, view: SwarmView, rng: Random) -> Sequence[Assignment]:
        """Gives jobs to peers that have slots: each job at most once, no peer more than its slots, to its ``peers`` only.

        A job that a peer with slots may be asked for must be given to one, unless another peer that may be asked for it
        works, or is given a job, and is worth waiting for. The view must not be changed, and nothing kept between calls.

        Core leaves out, for the rest of the run, a policy that raises, gives what the view does not allow, lets a job wait
        for nobody longer than POLICY_IDLE_S, or spends more than a tenth of the time; it says so once, and chooses itself.
        """
