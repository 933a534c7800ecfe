"""The verbs about peers: what is remembered of them, who is kept out (specs/0029)."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from wherry.errors import NotFound, UsageError
from wherry.offload import in_thread
from wherry.peer_results import PeerReport, RuleReport
from wherry.session.parts import Parts

if TYPE_CHECKING:
    from wherry.acquaintance import Acquaintance
    from wherry.transfer.standing import Standing


class Peering(Parts):
    """Peers. A running session, and every other process on the home, keeps to a new rule within some seconds."""

    async def peers(self) -> list[PeerReport]:
        """Lists the peers that are remembered, the best first."""
        found = await in_thread(self._wiring.circle.book.peers)
        best = max((standing.rate for _, standing in found), default=0.0)
        reports = [_report(peer, standing, best) for peer, standing in found]
        return sorted(reports, key=lambda one: (-one.score, one.key))

    async def peer(self, name: str) -> PeerReport:
        """Tells of one peer, by its key or address, or the beginning of either. Raises NotFound, UsageError."""
        if not name:
            raise UsageError(
                "a peer is named by its key or address, or the beginning of either", hint="`wherry peers` lists them"
            )
        found = [one for one in await self.peers() if name in {one.key, one.address}]
        found = found or [one for one in await self.peers() if one.key.startswith(name) or one.address.startswith(name)]
        if len(found) != 1:
            what = "is no peer that is remembered" if not found else f"may be any of {len(found)} peers"
            raise NotFound(f"{name!r} {what}", hint="`wherry peers` lists them")
        return found[0]

    async def rules(self) -> list[RuleReport]:
        """Lists who is banned, and who is let in all the same."""
        held = await in_thread(self._wiring.circle.door.rules)
        return [
            RuleReport(
                kind=rule.subject.kind, what=rule.subject.text, allow=rule.allow,
                left_s=None if math.isinf(left) else left, why=rule.why, by=rule.by,
            )
            for rule, left in held
        ]  # fmt: skip

    async def ban(self, what: str, *, lasts_s: float | None = None, why: str = "") -> None:
        """Keeps out a peer id, an IP address or network, or an address; for good, or for ``lasts_s``. Raises UsageError."""
        await self._rule(what, allow=False, lasts_s=lasts_s, why=why)

    async def allow(self, what: str, *, lasts_s: float | None = None, why: str = "") -> None:
        """Lets in whom another ban would keep out. Raises UsageError."""
        await self._rule(what, allow=True, lasts_s=lasts_s, why=why)

    async def unban(self, what: str) -> None:
        """Takes a rule back. Raises NotFound if there is none about just that, UsageError."""
        from wherry.access import subject_of

        subject = subject_of(what)
        if not await in_thread(lambda: self._wiring.circle.door.drop(subject)):
            raise NotFound(f"there is no rule about {subject.text!r}", hint="`wherry peers bans` lists the rules")

    async def forget_peers(self, names: list[str] | None = None) -> int:
        """Forgets what is remembered of some peers, by their keys, or of all; gives how many were known."""
        return await in_thread(lambda: self._wiring.circle.book.forget(names))

    async def _rule(self, what: str, *, allow: bool, lasts_s: float | None, why: str) -> None:
        from wherry.access import subject_of

        subject = subject_of(what)
        await in_thread(lambda: self._wiring.circle.door.put(subject, allow=allow, lasts_s=lasts_s, why=why))


def _report(peer: Acquaintance, standing: Standing, best: float) -> PeerReport:
    terms = standing.terms(time.monotonic(), best)
    return PeerReport(
        key=peer.key, proven=peer.proven, address=peer.address, first=peer.first, last=peer.last, score=terms.score,
        reliability=terms.reliability, goodput=terms.goodput, latency=terms.latency, integrity=terms.integrity,
        useful=terms.useful, failed=terms.failed, wrong=terms.wrong, rejected=peer.rejected, rate=standing.rate,
        latency_s=standing.latency_s, down_bytes=peer.down, up_bytes=peer.up,
    )  # fmt: skip
