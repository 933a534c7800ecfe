"""Who is connected to the daemon now, and how that goes (specs/0029 §8)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wherry.peer_results import ConnectedReport
from wherry.transfer.book import key_of_peer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from wherry.peer_results import PeerReport
    from wherry.swarm.stats import PeerStats
    from wherry.traffic import LevelReport, TrafficReport


def connected(
    peers: Iterable[PeerStats], remembered: Iterable[PeerReport], traffic: TrafficReport, now: float | None = None
) -> list[ConnectedReport]:
    """Puts together what the swarm, the memory and the link know of those who are connected, who gave most first."""
    now = time.monotonic() if now is None else now
    scores = {one.key: one.score for one in remembered}
    rates = _by_name(traffic)
    found = [_report(one, scores, rates.get(one.info.id or one.info.ip, ()), now) for one in peers]
    return sorted(found, key=lambda one: (-one.down_bytes, -one.up_bytes, one.key))


def _by_name(traffic: TrafficReport) -> dict[str, list[LevelReport]]:
    found: dict[str, list[LevelReport]] = {}
    for transfer in traffic.transfers:
        for peer in transfer.peers:
            found.setdefault(peer.name, []).append(peer)
    return found


def _report(peer: PeerStats, scores: Mapping[str, float], levels: Iterable[LevelReport], now: float) -> ConnectedReport:
    info, levels = peer.info, list(levels)
    key = key_of_peer(info)
    return ConnectedReport(
        key=key, address=info.address, ip=info.ip, incoming=info.incoming, seconds=max(0.0, now - peer.since),
        score=scores.get(key), up_bytes=peer.uploaded, down_bytes=peer.downloaded,
        up_rate=sum([one.up.rate for one in levels]), down_rate=sum([one.down.rate for one in levels]),
        limit_up=min([one.up.limit for one in levels if one.up.limit is not None], default=None),
        limit_down=min([one.down.limit for one in levels if one.down.limit is not None], default=None),
        choking=peer.choking, choked=peer.choked, interested=peer.interested, waiting=peer.waiting, serving=peer.serving,
        datasets=len(peer.has),
    )  # fmt: skip
