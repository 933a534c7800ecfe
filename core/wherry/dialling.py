"""How often strangers can make this node dial: the budget for addresses that others named (specs/0028 §7).

A tracker that is asked by a thousand nodes, and names to each a thousand addresses of one victim, would turn them into a
weapon. So a network is dialled twice a minute, unless what is there answers as a peer does: then the dial is given back,
and a rack full of peers is reached as fast as they answer.

Pure: time is given, nothing is resolved or connected here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from wherry.limits import DIAL_NETWORKS_MAX, DIAL_WINDOW_S, DIALS_PER_NETWORK

if TYPE_CHECKING:
    from collections.abc import Collection

_LEAST_S: Final = 1e-6


class DialBudget:
    """Counts dials by network, as `wherry.dial.network_of` names them. One for a process; for one thread."""

    def __init__(
        self, *, dials: int = DIALS_PER_NETWORK, window_s: float = DIAL_WINDOW_S, networks_max: int = DIAL_NETWORKS_MAX
    ) -> None:
        """Allows ``dials`` that nobody answered to a network, in any ``window_s`` seconds."""
        self._dials = dials
        self._window_s = window_s
        self._networks_max = networks_max
        self._made: dict[str, deque[float]] = {}  # times of dials that are not answered, the oldest first

    def take(self, networks: Collection[str], now: float) -> float:
        """Takes a dial to each of ``networks`` (a name may lead to several) and gives 0.0; or takes nothing.

        Then it gives the seconds after which it is worth to try again. ``now`` is of any clock that does not go back.
        """
        wait = max((self._wait(network, now) for network in networks), default=0.0)
        if wait > 0.0:
            return wait
        if len(self._made) + len(networks) > self._networks_max:
            self._forget(now)
            if len(self._made) + len(networks) > self._networks_max:  # as many strangers' networks in a minute are no search
                return self._window_s
        for network in networks:
            self._made.setdefault(network, deque()).append(now)
        return 0.0

    def answered(self, networks: Collection[str]) -> None:
        """Gives back what `take` took: a peer answered there."""
        for network in networks:
            times = self._made.get(network)
            if times:
                times.pop()
            if not times:
                self._made.pop(network, None)

    def _wait(self, network: str, now: float) -> float:
        times = self._made.get(network)
        if times is None:
            return 0.0
        while times and times[0] <= now - self._window_s:
            times.popleft()
        if len(times) < self._dials:
            return 0.0
        return min(max(times[0] + self._window_s - now, _LEAST_S), self._window_s)  # whatever the sum is rounded to

    def _forget(self, now: float) -> None:
        for network in [name for name, times in self._made.items() if not times or times[-1] <= now - self._window_s]:
            del self._made[network]
