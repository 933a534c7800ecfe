"""What this node remembers of its peers, for all transfers of a process and the next ones (specs/0029 §2-3).

`standing` and `keep` answer from memory; `flush` brings what is new to the disk, in one transaction, on a thread that is not
the event loop's. So a kill loses what the last seconds saw, and nothing else: who was proven to lie is banned, which is kept
elsewhere (wherry.transfer.door).

Two memories, for T4 of specs/0001: what is good of a peer, and all of one that proved its key, goes to the disk. What is bad
of one that proved nothing fades within minutes, in this process alone: on a plain connection anybody on the way could have
done it.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final, NamedTuple
from weakref import WeakValueDictionary

from wherry.access import around, host_of, is_proven, key_of, place_of
from wherry.acquaintance import Acquaintance, News, faded, surplus, told
from wherry.errors import LocalError, StoreError
from wherry.limits import PEERS_MAX, PEERS_NETWORK_MAX
from wherry.store.peers import open_or_anew
from wherry.transfer.standing import HALF_LIFE_S, Past, Standing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from wherry.abc.exchange import PeerInfo

PENALTY_S: Final = 600.0  # what is held against a peer that proved nothing is forgotten after so long (T4)


class _Penalty(NamedTuple):
    """What is held against a peer that proved nothing: jobs, as of a time of the steady clock."""

    failed: float
    wrong: float
    at: float
    since: float  # the last of them

    def faded(self, now: float) -> _Penalty:
        """Gives what is left of it."""
        share = math.exp2((self.at - now) / HALF_LIFE_S) if now - self.since < PENALTY_S else 0.0
        return self._replace(failed=self.failed * share, wrong=self.wrong * share, at=now)


def key_of_peer(info: PeerInfo) -> str:
    """Names a connected peer. What an incoming one that proves nothing says of where it can be dialled is not believed."""
    return key_of(info.scheme, peer_id=info.id, address="" if info.incoming else info.address, ip=info.ip)


class Book:
    """The peers of one home. Safe for threads; `standing` gives objects that are for one thread, the loop's."""

    def __init__(
        self,
        home: Path,
        *,
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        """Reads what is remembered, and begins anew if that is damaged. ``steady`` is the clock of the standings."""
        self._home = home
        self._wall = wall
        self._steady = steady
        self._lock = threading.Lock()
        self._writing = threading.Lock()  # one flush at a time
        self._db, rows = open_or_anew(home)
        self._peers: OrderedDict[str, Acquaintance] = OrderedDict((peer.key, peer) for peer in rows)
        self._crowds: dict[str, int] = {}
        for peer in rows:
            self._crowd(peer.network, 1)
        self._news: dict[str, tuple[Acquaintance, News]] = {}  # not on disk yet
        self._penalties: OrderedDict[str, _Penalty] = OrderedDict()
        self._live: WeakValueDictionary[str, Standing] = WeakValueDictionary()

    # For who fetches

    def standing(self, key: str) -> Standing:
        """Makes the standing of a peer that is met, with what is remembered of it. For the thread of its loop."""
        standing = self._begun(key)
        if key:
            with self._lock:
                self._live[key] = standing
        return standing

    def _begun(self, key: str) -> Standing:
        standing = Standing()
        now = self._steady()
        with self._lock:
            if (peer := self._peers.get(key)) is not None:
                peer = faded(peer, self._wall())
                standing.rate, standing.latency_s = peer.rate, peer.latency_s
                standing.past = Past(peer.useful, peer.failed, peer.wrong).weighed()
            if (penalty := self._penalties.get(key)) is not None:
                penalty = penalty.faded(now)
                standing.blamed(now, penalty.failed, penalty.wrong)
        return standing

    def keep(self, key: str, standing: Standing, *, address: str = "", ip: str = "") -> None:
        """Remembers what ``standing`` saw since it was kept last: call it now and then, and when the peer is left.

        ``address`` is where the peer was dialled, ``ip`` where it is; they are shown, and bound how many of one network are
        remembered. Costs microseconds.
        """
        self._remember(key, standing.news(), address, ip)

    def gave(self, key: str, count: int, *, address: str = "", ip: str = "") -> None:
        """Remembers that a peer was given ``count`` bytes of payload."""
        self._remember(key, News(up=count), address, ip)

    def _remember(self, key: str, news: News, address: str, ip: str) -> None:
        if not key or news == News():
            return
        proven, now = is_proven(key), self._wall()
        if not proven and (news.failed or news.wrong):
            self._blame(key, news.failed, news.wrong)
            news = news._replace(failed=0.0, wrong=0.0, rejected=0)
            if news == News():
                return
        with self._lock:
            peer = self._peers.get(key)
            place = place_of(address) or (key if not proven else peer.address if peer is not None else "")
            network = around(ip or host_of(place)) if ip or place else ""
            fresh = Acquaintance(key, proven, place, network, now, now)
            if peer is None:
                self._crowd(network, 1)
            elif peer.network != network:
                self._crowd(peer.network, -1)
                self._crowd(network, 1)
            self._peers[key] = told((peer or fresh)._replace(address=place, network=network), news, now)
            earlier = self._news.get(key)
            self._news[key] = fresh, news if earlier is None else earlier[1].plus(news)
            if len(self._peers) > PEERS_MAX or self._crowds.get(network, 0) > PEERS_NETWORK_MAX:
                self._shrink(network)

    def _blame(self, key: str, failed: float, wrong: float) -> None:
        now = self._steady()
        with self._lock:
            old = self._penalties.pop(key, _Penalty(0.0, 0.0, now, now)).faded(now)
            self._penalties[key] = _Penalty(old.failed + failed, old.wrong + wrong, now, now)
            while len(self._penalties) > PEERS_MAX or now - next(iter(self._penalties.values())).since >= PENALTY_S:
                self._penalties.popitem(last=False)

    def _shrink(self, network: str) -> None:
        if len(self._peers) > PEERS_MAX:
            gone = surplus(self._peers)
        else:
            gone = surplus({key: peer for key, peer in self._peers.items() if peer.network == network})
        for key in gone:
            self._crowd(self._peers.pop(key).network, -1)
            self._news.pop(key, None)

    def _crowd(self, network: str, more: int) -> None:
        if network:
            self._crowds[network] = count = self._crowds.get(network, 0) + more
            if count <= 0:
                del self._crowds[network]

    # For people

    def peers(self) -> list[tuple[Acquaintance, Standing]]:
        """Lists everybody, with the standing of whom a transfer is connected to, or else the one that it would begin with."""
        with self._lock:
            known = {key: faded(peer, self._wall())._replace(last=peer.last) for key, peer in self._peers.items()}
            live = dict(self._live)
        for key in live.keys() - known.keys():
            now = self._wall()
            known[key] = Acquaintance(key, is_proven(key), "" if is_proven(key) else key, "", now, now)
        return [(peer, live.get(key) or self._begun(key)) for key, peer in known.items()]

    def forget(self, keys: Sequence[str] | None = None) -> int:
        """Forgets some peers, or all, on disk too; gives how many were known. Raises StoreError and its kinds."""
        with self._writing:
            with self._lock:
                gone = list(self._peers) if keys is None else [key for key in keys if key in self._peers]
                for key in gone:
                    self._crowd(self._peers.pop(key).network, -1)
                    self._news.pop(key, None)
                for key in list(self._penalties) if keys is None else keys:
                    self._penalties.pop(key, None)
            if self._db is not None:
                self._db.forget(keys)
        return len(gone)

    # To the disk

    def flush(self) -> None:
        """Writes what is new. Blocks; any thread. A disk that fails is no concern of a transfer's: it is tried again later."""
        with self._writing:
            with self._lock:
                news, self._news = self._news, {}
            if not news or self._db is None:
                return
            try:
                found = self._db.add(news, self._wall())
            except (StoreError, LocalError):
                with self._lock:
                    for key, (fresh, done) in news.items():
                        later = self._news.get(key)
                        self._news[key] = fresh, done if later is None else done.plus(later[1])
                return
            with self._lock:
                for key, peer in found.items():
                    if key in self._peers and peer is not None and key not in self._news:
                        self._peers[key] = peer  # with what other processes saw

    def close(self) -> None:
        """Writes what is new, and closes the file; idempotent."""
        self.flush()
        if self._db is not None:
            self._db.close()
            self._db = None
