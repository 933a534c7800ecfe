"""Asks a policy, believes nothing that it says, and does without it once it breaks its contract (specs/0013 §3).

A policy may be anybody's. What it plans is checked against the view before it is used; one that raises, answers with
nonsense, lets a job wait for nobody, or takes too much of the loop's time is left out for the rest of the run, which is said
once. A call that never returns cannot be ended from here: a policy runs on the loop, as any plugin's code does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.limits import POLICY_IDLE_S

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

    from wherry.abc.policy import Policy, SwarmView

SPENT_S: Final = 1.0  # that much a policy may take in any case: a machine may be busy
SPENT_SHARE: Final = 0.1  # of the time since the run began


class Choice:
    """A policy within its fence. For one thread; times are seconds of one steady clock, which is ``clock``."""

    def __init__(
        self,
        policy: Policy,
        rng: random.Random,
        clock: Callable[[], float],
        complain: Callable[[str], None],
        what: str = "the policy",
    ) -> None:
        """``complain`` is told, once, why the policy is left out; ``what`` is what the user knows it by."""
        self.out = False
        self._policy = policy
        self._rng = rng
        self._clock = clock
        self._complain = complain
        self._what = what
        self._began = clock()
        self._spent_s = 0.0
        self._idle_since: float | None = None

    def plan(self, view: SwarmView) -> list[tuple[int, int]] | None:
        """Gives what the policy plans, checked, as pairs of job and peer; None: it is left out from now on."""
        before = self._clock()
        try:
            planned = self._policy.plan(view, self._rng)
            pairs, fault = _checked(view, planned)
        except Exception as problem:  # noqa: BLE001 - whatever a stranger's policy raises, the transfer goes on without it
            pairs, fault = [], f"raised {type(problem).__name__}: {problem}"
        now = self._clock()
        self._spent_s += now - before
        if not fault and self._spent_s > SPENT_S and self._spent_s > SPENT_SHARE * (now - self._began):
            fault = f"took {self._spent_s:.1f} s of {now - self._began:.1f} s"
        if not fault:
            fault = self._idle(view, pairs)
        if fault:
            self.out = True
            self._complain(f"{self._what} {fault[:200]}; it is left out for the rest of this run")
            return None
        return pairs

    def _idle(self, view: SwarmView, pairs: Sequence[tuple[int, int]]) -> str:
        """Tells of a job that has waited too long for nobody."""
        job = lonely(view, pairs)
        if job is None:
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = view.now
        elif view.now - self._idle_since >= POLICY_IDLE_S:
            return f"gives a job to nobody for {view.now - self._idle_since:.1f} s while peers could have it"
        return ""


def _checked(view: SwarmView, planned: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], str]:
    """Gives the pairs if the view allows each of them, or what is wrong. Raises whatever a strange answer raises."""
    pairs: list[tuple[int, int]] = []
    left: dict[int, int] = {}
    given: set[int] = set()
    jobs, peers = view.jobs, view.peers
    for job, peer in planned:
        if type(job) is not int or type(peer) is not int or not (0 <= job < len(jobs) and 0 <= peer < len(peers)):
            return [], f"plans a job or peer that there is not ({str(job)[:20]}, {str(peer)[:20]})"
        slots = left.get(peer, peers[peer].slots)
        if job in given or slots < 1 or peer not in jobs[job].peers:
            why = "a job twice" if job in given else "more than a peer has slots for" if slots < 1 else "a job to a wrong peer"
            return [], f"gives {why}"
        left[peer] = slots - 1
        given.add(job)
        pairs.append((job, peer))  # each at most once, so an endless answer ends here
    return pairs, ""


def lonely(view: SwarmView, pairs: Sequence[tuple[int, int]]) -> int | None:
    """Finds a job that a peer with slots could have, that is given to nobody, and that waits for nobody who works."""
    if len(pairs) == len(view.jobs):
        return None
    slots = [peer.slots for peer in view.peers]
    works = [peer.working > 0 for peer in view.peers]
    given = set()
    for job, peer in pairs:
        slots[peer] -= 1
        works[peer] = True
        given.add(job)
    if not any(slots):
        return None
    for number, waiting in enumerate(view.jobs):
        able = waiting.peers
        if number not in given and any(slots[peer] for peer in able) and not any(works[peer] for peer in able):
            return number
    return None
