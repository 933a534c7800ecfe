"""What must hold at the end of every run, whatever went wrong in it (specs/0030 §5)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.errors import VerifyFailed
from wherry.testing.fanout.plan import BLOCK_BYTES
from wherry.transfer.flights import WASTE_MIN, WASTE_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wherry.testing.fanout.node import Node
    from wherry.testing.fanout.world import World

_WRONG_MAX: Final = 20  # blocks that one node takes from one liar until it is rid of it: as many as it asked it for at once

_LATE_TIMES: Final = 2  # times what the scheduler allows: what was taken back too late counts when it comes
_SERVING_TIMES: Final = 4  # times its slots: the answers that a node may have under way, slow ones included


class Broken(VerifyFailed):
    """An invariant of the simulation does not hold."""


def check(world: World) -> None:
    """Looks at a world that has come to its end. Raises Broken with all that does not hold."""
    _raise(world, [*_ended(world), *_right(world), *_capped(world), *_wasted(world), *_found_out(world), *_known(world)])


def check_emptied(node: Node) -> None:
    """Looks at a node whose peers are all gone. Raises Broken if its swarm remembers one."""
    _raise(node.world, [f"node {node.number} remembers {what} of peers that are gone" for what in remembered(node)])


def _raise(world: World, found: list[str]) -> None:
    if found:
        more = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        raise Broken(
            f"{'; '.join(found[:5])}{more}",
            hint=f"the seed {world.plan.seed} gives the same run again, trace {world.clock.trace}",
        )


def _ended(world: World) -> Iterator[str]:
    """Each node has everything, or an error that is true."""
    for node in world.getters:
        if node.finished_at is None and not node.error:
            yield f"node {node.number} hangs at {world.clock.now:.0f} s, {node.left} blocks short"
        elif node.dishonest:
            yield f"node {node.number} gave up ({node.error}), and {node.dishonest}"
        elif node.finished_at is not None and not all(node.has):
            yield f"node {node.number} says that it is complete, and lacks {node.has.count(0)} blocks"


def _right(world: World) -> Iterator[str]:
    """Each block that a node has is the right one."""
    for node in world.getters:
        if 2 in node.has:
            yield f"node {node.number} took {node.has.count(2)} wrong blocks"


def _capped(world: World) -> Iterator[str]:
    """No node has more connections or followers than its options say, and none sent more than its link bears."""
    for node in world.nodes:
        if not node.lives:
            continue
        options = node.swarm.options
        if node.peak > options.peers:
            yield f"node {node.number} had {node.peak} connections of {options.peers}"
        if node.followers_peak > (options.followers or options.peers):
            yield f"node {node.number} had {node.followers_peak} followers of {options.followers or options.peers}"
        most = _SERVING_TIMES * max(options.slots, options.slots_quick)
        if node.serving_peak > most:
            yield f"node {node.number} answered {node.serving_peak} requests at a time, {most} are the most"
        if node.uplink.moved > node.uplink.rate * world.clock.now + BLOCK_BYTES:
            yield f"node {node.number} sent {node.uplink.moved:.0f} bytes in {world.clock.now:.1f} s"
        if node.freeloads and node.sent:
            yield f"node {node.number} gave something, and was to give nothing"


def _wasted(world: World) -> Iterator[str]:
    """What came twice is a small share of what came, and what liars sent a few blocks each."""
    for node in world.getters:
        most = _LATE_TIMES * max(WASTE_MIN, WASTE_SHARE * world.plan.length) * max(1, node.lives)
        if node.twice > most:
            yield f"node {node.number} got {node.twice} bytes twice, {most:.0f} are the most"
        if node.wrong > _WRONG_MAX * BLOCK_BYTES * max(1, node.lives) * len(world.liars):
            yield f"node {node.number} got {node.wrong} wrong bytes of {len(world.liars)} liars"


def _found_out(world: World) -> Iterator[str]:
    """Whoever took a wrong block from somebody knows who lies, and nobody who is honest is taken for a liar."""
    liars = {liar.id for liar in world.liars}
    for node in world.getters:
        if node.wrong and not node.banned:
            yield f"node {node.number} got {node.wrong} wrong bytes, and blames nobody"
        if node.banned - liars:
            yield f"node {node.number} blames {len(node.banned - liars)} honest nodes"
        for end in node.ends:
            if end.info.id in node.banned and not end.closing:
                yield f"node {node.number} still speaks with a liar that it found out"


def _known(world: World) -> Iterator[str]:
    """A swarm knows those peers that are connected, and no others."""
    for node in world.nodes:
        if node.up and {peer.info.id for peer in node.swarm.stats().peers} != {end.info.id for end in node.ends}:
            yield f"node {node.number} has {len(node.ends)} connections, its swarm {len(node.swarm.stats().peers)}"


def remembered(node: Node) -> list[str]:
    """Names what the swarm of a node holds of peers, when all are gone."""
    swarm = node.swarm
    found = [] if not swarm._neighbours else ["neighbours"]
    for dataset in swarm._shared:
        tables = {
            "followers": dataset.followers, "maps": dataset.maps, "introductions": dataset.met, "gossip": dataset.told,
            "what was shown": dataset.shown, "what was revealed": dataset.reveal and dataset.reveal.followers,
        }  # fmt: skip
        found += [name for name, table in tables.items() if table]
    uploads = swarm._service._uploads
    if uploads.waiting or uploads.serving or any(one.young for one in uploads._classes.values()):
        found.append("requests")
    return found
