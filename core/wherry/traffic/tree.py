"""One direction of a node's link: who may move how many bytes now (specs/0026 §2). Pure: times are the caller's."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final
from weakref import WeakValueDictionary

from wherry.limits import FLOW_PEERS_ALL_MAX, FLOW_PEERS_MAX
from wherry.traffic.level import Branch, Joint, Leaf, Request, Transfer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wherry.traffic.level import Level

_FORGET_S: Final = 60.0  # a peer that moved nothing for so long has a full bucket again: forgetting it gives it nothing


class Tree:
    """The buckets of one direction. Whoever calls holds one lock: nothing here is safe for threads by itself."""

    def __init__(self, shares: Mapping[str, float], now: float) -> None:
        """``shares`` are the weights of the classes, by name."""
        self.node = Branch("", None, now)
        self.classes = {name: Branch(name, self.node, now) for name in shares}
        self.node.children.update(self.classes)
        self.share(shares)
        self.peer_rate: float | None = None  # of each peer
        self.peer_rates: Mapping[str, float] = {}  # of single ones, in its place
        self._peers: WeakValueDictionary[str, Joint] = WeakValueDictionary()  # of those that have a limit and a leaf
        self._leaves = 0

    def share(self, shares: Mapping[str, float]) -> None:
        """Sets the weights of the classes."""
        whole = sum(shares.values())
        for name, share in shares.items():
            self.classes[name].weight = share / whole

    def add(self, name: str, klass: str, now: float) -> Transfer:
        """Adds a transfer to a class."""
        above = self.classes[klass]
        transfer = Transfer(name, above, now)
        above.children[name] = transfer
        return transfer

    def remove(self, transfer: Transfer, now: float) -> list[Request]:
        """Forgets a transfer; gives the requests that waited there, for nothing limits them any more."""
        above = transfer.above
        if above is None or transfer.gone:
            return []
        del above.children[transfer.name]
        above.leave(transfer)
        transfer.gone = True
        done: list[Request] = []
        for leaf in transfer.leaves():
            self._leaves -= 1
            done += leaf.queue
            leaf.waits(-len(leaf.queue), now)
            leaf.queue.clear()
            leaf.seen()
        transfer.children.clear()
        for request in done:
            request.left = 0
        return done

    def move(self, transfer: Transfer, klass: str, now: float) -> None:
        """Puts a transfer into another class, with all who wait in it."""
        before, after = transfer.above, self.classes[klass]
        if before is None or before is after or transfer.gone:
            return
        transfer.tally(now)
        del before.children[transfer.name]
        before.leave(transfer)
        before.waiting -= transfer.waiting
        after.waiting += transfer.waiting
        transfer.above = after
        transfer.virtual = after.virtual_now
        after.children[transfer.name] = transfer
        if transfer.waiting:
            after.enter(transfer)
            self.node.enter(after)

    def leaf(self, transfer: Transfer, peer: str, now: float) -> Leaf:
        """Gives the leaf of a peer, made if it is not there; where there are too many, the transfer's own."""
        if transfer.gone:
            return Leaf("", transfer, now)
        found = transfer.children.get(peer)
        if isinstance(found, Leaf):
            found.used = now
            transfer.children[peer] = transfer.children.pop(peer)
            return found
        self._forget(transfer, now)
        if peer and (len(transfer.children) >= FLOW_PEERS_MAX or self._leaves >= FLOW_PEERS_ALL_MAX):
            return self.leaf(transfer, "", now)
        leaf = Leaf(peer, transfer, now)
        leaf.join(self._of_peer(peer, now))
        transfer.children[peer] = leaf
        self._leaves += 1
        return leaf

    def _forget(self, transfer: Transfer, now: float) -> None:
        """Frees the leaves that were not used for long; and one that waits for nothing, where there are too many."""
        while transfer.children:
            oldest = next(iter(transfer.children.values()))
            full = len(transfer.children) >= FLOW_PEERS_MAX or self._leaves >= FLOW_PEERS_ALL_MAX
            rests = isinstance(oldest, Leaf) and now - oldest.used > _FORGET_S
            if oldest.waiting or not (full or rests):
                return
            del transfer.children[oldest.name]
            transfer.leave(oldest)
            self._leaves -= 1

    # Taking leave

    def ask(self, request: Request, now: float) -> list[Request]:
        """Lets a request wait, and gives those that are complete at once: itself, perhaps."""
        leaf = request.leaf
        leaf.queue.append(request)
        leaf.seen()
        leaf.waits(1, now)
        for level in leaf.path():
            if level.above is not None and not level.ready:
                level.above.enter(level)
        return self.serve(now)

    def serve(self, now: float) -> list[Request]:
        """Gives what may be given by now, in turns; says which requests are complete."""
        done: list[Request] = []
        while (leaf := self.node.turn(now)) is not None:
            leaf.feed(now, done)
        return done

    def opens(self, now: float) -> float:
        """Gives the time at which `serve` is worth while again; infinite if nobody waits."""
        return self.node.opens(now) if self.node.waiting else math.inf

    def take(self, leaf: Leaf, most: int, now: float) -> int:
        """Takes up to ``most`` bytes for a leaf at once; 0 if there are too few to be worth it, or others wait for them."""
        least = min(most, leaf.quantum())
        allowed = float(most)
        for level in leaf.path():
            if level.bucket.rate is not None and level.waiting:
                return 0
        if leaf.peer is not None and leaf.peer.asking:
            return 0
        for bucket in leaf.buckets():
            if bucket.rate is not None:
                allowed = min(allowed, bucket.left(now), max(least, 2 * bucket.quantum))
        if allowed < least:
            return 0
        leaf.charge(int(allowed), now)
        return int(allowed)

    def cancel(self, request: Request, now: float) -> None:
        """Takes back a request, and what it was given."""
        if request.left:
            request.leaf.queue.remove(request)
            request.leaf.seen()
            request.leaf.waits(-1, now)
        request.leaf.refund(request.size - request.left, now, begun=request.left > 0)

    def change(self, level: Level, rate: float | None, now: float) -> None:
        """Sets the rate of one level while it runs; `serve` then, for somebody may wait no longer."""
        if level.bucket.rate != rate:
            level.bucket.change(rate, now)
            self.node.wake()

    def change_peers(self, rate: float | None, now: float, single: Mapping[str, float] | None = None) -> None:
        """Sets the rate of each peer, and those of ``single`` ones. It is one rate, in however many transfers a peer is."""
        single = {} if single is None else single
        if rate == self.peer_rate and single == self.peer_rates:
            return
        self.peer_rate, self.peer_rates = rate, single
        for klass in self.classes.values():
            for transfer in klass.children.values():
                for leaf in transfer.leaves() if isinstance(transfer, Transfer) else ():
                    leaf.join(self._of_peer(leaf.name, now))
        self.node.wake()

    def _of_peer(self, name: str, now: float) -> Joint | None:
        """Gives the bucket of a peer, at the rate that holds for it; None: there is none."""
        rate = self.peer_rates.get(name, self.peer_rate) if name else None
        if rate is None:
            return None
        found = self._peers.get(name)
        if found is None:
            found = self._peers[name] = Joint(rate, now)
        elif found.rate != rate:
            found.change(rate, now)
        return found

    def steer(self, leaf: Leaf, now: float) -> None:
        """Gives a peer's leaf the rate that the delay of its way allows, if that is known."""
        leaf.bucket.change(leaf.follow.rate if leaf.follow is not None else None, now)


__all__ = ("Branch", "Leaf", "Request", "Transfer", "Tree")
