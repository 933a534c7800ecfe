"""A simulated node: its link, its swarm, and what it is like (specs/0030 §2)."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from wherry.abc.exchange import HaveMap
from wherry.abc.transport import BlockSource
from wherry.stretches import Stretches
from wherry.swarm.options import SwarmOptions
from wherry.testing.fanout.getting import Getting
from wherry.testing.fanout.pipe import Downlink, Uplink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.exchange import PeerInfo, PeerLink
    from wherry.abc.transport import Held
    from wherry.cid import CID
    from wherry.swarm.swarm import Entry, Swarm
    from wherry.testing.fanout.link import End
    from wherry.testing.fanout.world import World


class _Symbols(BlockSource):
    """Blocks are numbers here: a node answers from what it marked (`Node.gives`)."""

    def find(self, cids: Sequence[CID]) -> list[Held | None]:
        """See `BlockSource.find`."""
        return [None] * len(cids)


class Node:
    """One machine. It lives from `start` to `stop`, and may live again with what it had."""

    def __init__(
        self, world: World, number: int, *, rate: float, whole: bool, lies: bool = False, freeloads: bool = False
    ) -> None:
        self.world = world
        self.clock = world.clock
        self.number = number
        self.id = f"sim-node-{number:016d}"
        self.ip = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self.address = f"tcps://{self.ip}:4290"
        self.lies = lies
        self.freeloads = freeloads
        self.uplink = Uplink(world.clock, rate)
        self.downlink = Downlink(rate)
        self.half_s = world.rng.uniform(0.25, 0.75) * world.plan.latency_s  # to the middle of the network
        self.has = bytearray(b"\1" if whole else b"\0") * world.plan.blocks  # 1: it has the right block; 2: a wrong one
        self.left = 0 if whole else world.plan.blocks
        self.up = False
        self.lives = 0
        self.ends: dict[End, None] = {}  # open connections
        self.getting: Getting | None = None
        self.entry: Entry | None = None
        self.banned: set[str] = set()  # proven senders of wrong bytes
        self.sent = 0  # bytes of blocks, given to others
        self.got = 0  # bytes of blocks, right and new
        self.twice = 0  # bytes that came and that it had
        self.cut = 0  # bytes that it sent in vain, or that came when the connection had ended
        self.wrong = 0  # bytes that were not right
        self.told = 0  # bytes of messages besides blocks
        self.heard_at = 0.0
        self.peak = 0  # connections, at most
        self.followers_peak = 0
        self.serving = 0  # answers under way
        self.serving_peak = 0
        self.began_at = 0.0
        self.finished_at: float | None = 0.0 if whole else None
        self.away_s = 0.0  # that it was not there
        self.stall_s = 0.0  # the longest time in which nothing came
        self.moved_at = 0.0
        self.error = ""  # with which its get ended
        self.dishonest = ""  # why that was not true
        self.swarm: Swarm

    @property
    def complete(self) -> bool:
        """Whether it has every block."""
        return not self.left

    def gives(self, block: int) -> bool:
        """Whether it can answer with a block."""
        return bool(self.has[block])

    def start(self) -> None:
        """Begins, or comes back."""
        world, plan = self.world, self.world.plan
        self.up = True
        self.lives += 1
        rng = random.Random(f"{plan.seed} {self.number} {self.lives}")
        origin = self.number == 0
        options = SwarmOptions(
            peers=256 if origin else max(8, 3 * plan.degree), followers=plan.followers if origin else 0, reveal=not self.lies
        )
        self.swarm = world.make_swarm(
            _Symbols(), lambda: [self.address], self._held, clock=lambda: world.clock.now, rng=rng, options=options,
            judge=self._judge,
        )  # fmt: skip
        if self.lives == 1:
            self.began_at = self.clock.now
        self.moved_at = self.clock.now
        if self.left:
            self.getting = Getting(self, rng)
            have = Stretches(plan.span(block) for block, mark in enumerate(self.has) if mark)
            self.entry = self.swarm.enter(world.root, plan.length, HaveMap(have), self.getting)
            self.getting.begin()
        self.clock.after(rng.uniform(0.0, plan.tick_s), self._tick, self.lives)

    def _tick(self, life: int) -> None:
        if self.up and self.lives == life:
            self.swarm.tick()
            for dataset in self.swarm._shared:
                self.followers_peak = max(self.followers_peak, len(dataset.followers))
            self.clock.after(self.world.plan.tick_s, self._tick, life)

    def stop(self, reason: str, *, silent: bool = False) -> None:
        """Ends all that this node does. Others learn of it when their packets come back; of one that is silent, late."""
        self.up = False
        getting, self.getting = self.getting, None
        if getting is not None:
            getting.over = True
        entry, self.entry = self.entry, None
        if entry is not None:
            entry.leave()
        for end in list(self.ends):
            if silent:
                end.other.latency_s = self.world.idle_s
                end.latency_s = self.world.idle_s
            end.end(reason)

    def met(self, end: End) -> None:
        """A connection was made."""
        self.ends[end] = None
        self.peak = max(self.peak, len(self.ends))
        if self.freeloads:
            end.choke(on=True)

    def finished(self) -> None:
        """It has everything, and goes on as a seed."""
        self.finished_at = self.clock.now
        entry, self.entry, self.getting = self.entry, None, None
        if entry is not None:
            entry.completed()
            entry.leave()
        self.world.finished(self)

    def gave_up(self, kind: str) -> None:
        """Its get ended with an error."""
        self.error = kind
        self.dishonest = self.world.hope_of(self)
        self.finished_at = None
        self.world.finished(self)
        self.stop(f"gave up: {kind}")

    def linked(self, address: str) -> bool:
        """Whether it speaks with the node at an address."""
        return any(end.info.address == address for end in self.ends)

    def end_of(self, link: PeerLink) -> End | None:
        """Gives the connection that the swarm knows as ``link``, while it is open."""
        return next((end for end in self.ends if end is link), None)

    def _held(self, root: CID) -> tuple[int, bool] | None:
        return (self.world.plan.length, True) if root == self.world.root and self.complete else None

    def _judge(self, info: PeerInfo) -> str:
        return "it sent wrong bytes" if info.id in self.banned else ""
