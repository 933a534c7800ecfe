"""What is remembered of a peer from one run to the next, and how it fades (specs/0029 §2). Pure: times come in.

Times are seconds since 1970 of a clock that may be set. Where it went back, no time has passed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.access import is_proven
from wherry.limits import PEERS_MAX, PEERS_NETWORK_MAX

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

HALF_LIFE_S: Final = 3 * 86400.0  # of counts: what a peer did last week says something, what it did last month little
FIGURES_S: Final = 7 * 86400.0  # how long a rate and a latency are worth knowing after a peer was last of use
_SLACK: Final = 100  # of those that are too many, so many go at once: looking for them takes milliseconds


class Acquaintance(NamedTuple):
    """One peer. Counts are right as of ``last``."""

    key: str  # its proven id, or where it was dialled or came from (wherry.access.key_of)
    proven: bool
    address: str  # where it was dialled last, or came from
    network: str  # that of its address (wherry.access.around); "" if it has none
    first: float
    last: float
    useful_at: float = 0.0  # when it gave something that verified; 0.0: never
    useful: float = 0.0  # jobs
    failed: float = 0.0  # of a proven peer; what others fail with may be somebody else's doing, and is not kept
    wrong: float = 0.0  # the same
    rejected: int = 0  # blocks that did not verify, ever; of a proven peer
    rate: float = 0.0  # bytes a second of one job; 0.0: not known
    latency_s: float = 0.0
    down: int = 0  # payload bytes that it gave, and that it was given
    up: int = 0


class News(NamedTuple):
    """What a peer did since it was last told of. Adding them up is `plus`."""

    useful: float = 0.0
    failed: float = 0.0
    wrong: float = 0.0
    rejected: int = 0
    down: int = 0
    up: int = 0
    rate: float = 0.0  # 0.0: nothing new
    latency_s: float = 0.0

    def plus(self, later: News) -> News:
        """Gives the sum of what two tell."""
        return News(
            self.useful + later.useful, self.failed + later.failed, self.wrong + later.wrong, self.rejected + later.rejected,
            self.down + later.down, self.up + later.up, later.rate or self.rate, later.latency_s or self.latency_s,
        )  # fmt: skip


def faded(peer: Acquaintance, now: float) -> Acquaintance:
    """Gives what is left of it at ``now``."""
    share = math.exp2(-max(0.0, now - peer.last) / HALF_LIFE_S)
    known = now - peer.useful_at <= FIGURES_S
    return peer._replace(
        last=now, useful=peer.useful * share, failed=peer.failed * share, wrong=peer.wrong * share,
        rate=peer.rate if known else 0.0, latency_s=peer.latency_s if known else 0.0,
    )  # fmt: skip


def told(peer: Acquaintance, news: News, now: float) -> Acquaintance:
    """Gives what is to be remembered of a peer after ``news``. Nothing bad is, of one that is not proven (specs/0029 §3)."""
    peer = faded(peer, now)
    proven = peer.proven
    return peer._replace(
        first=min(peer.first, now),
        useful_at=now if news.useful else min(peer.useful_at, now),
        useful=peer.useful + news.useful,
        failed=peer.failed + news.failed if proven else 0.0,
        wrong=peer.wrong + news.wrong if proven else 0.0,
        rejected=peer.rejected + news.rejected if proven else 0,
        rate=news.rate or peer.rate,
        latency_s=news.latency_s or peer.latency_s,
        down=peer.down + news.down,
        up=peer.up + news.up,
    )


def is_sane(row: Sequence[object]) -> bool:
    """Tells whether what a database gave can be an acquaintance: texts, then numbers, finite and not negative."""
    key, _, address, network, *numbers = row
    return (
        all(isinstance(text, str) for text in (key, address, network))
        and all(isinstance(number, int | float) and 0 <= number < math.inf for number in numbers)
        and is_proven(str(key)) == bool(row[1])
    )


def surplus(peers: Mapping[str, Acquaintance], most: int = PEERS_MAX, of_network: int = PEERS_NETWORK_MAX) -> list[str]:
    """Names those to be forgotten, so that no network has too many and there are not too many in all.

    Those that never were of use go first, then those that were so longest ago.
    """
    by_network: defaultdict[str, list[Acquaintance]] = defaultdict(list)
    for peer in peers.values():
        by_network[peer.network].append(peer)
    gone: set[str] = set()
    for network, found in by_network.items():
        if network and len(found) > of_network:
            gone |= {peer.key for peer in sorted(found, key=_worth)[: len(found) - of_network]}
    left = [peer for peer in peers.values() if peer.key not in gone]
    if len(left) > most:
        gone |= {peer.key for peer in sorted(left, key=_worth)[: len(left) - most + min(_SLACK, most // 10)]}
    return sorted(gone)


def _worth(peer: Acquaintance) -> tuple[float, float, str]:
    return peer.useful_at, peer.last, peer.key
