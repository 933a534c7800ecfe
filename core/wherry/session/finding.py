"""The verb that asks who may have something. It fetches nothing; it connects to those who are named only if it is told to."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from wherry.errors import WherryError
from wherry.limits import CONNECT_S, LOCATE_ADDRESSES_MAX
from wherry.results import FindResult, HintReport
from wherry.session.parts import Parts
from wherry.session.telling import told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wherry.cid import CID
    from wherry.observe import Observe
    from wherry.transfer.fetch import Connect
    from wherry.transfer.locate import Hint

_PROBES: Final = 8  # at a time


class Finding(Parts):
    """Find."""

    @told
    async def find(self, what: str | CID, *, probe: bool = False, observe: Observe | None = None) -> FindResult:
        """Asks every locator in use for peers that may have ``CID[/PATH]``, a ticket's CID, or what a name leads to.

        Gives what each says, also what cannot be dialled, with the reason.
        Takes as long as the slowest locator is given: five seconds, unless one needs longer. What one fails with is a Note.
        ``probe``: the first twenty that would be asked are connected to, as the address policy and the dial budget allow, and
        each is given ten seconds; nothing is asked of them.
        """
        cid = self._parse(await self._unnamed(what, (), observe)).cid
        finder = self._finder(observe)
        usable: dict[str, None] = {}

        async def hints() -> AsyncIterator[Hint]:
            async with aclosing(finder.hints(cid)) as found:
                async for hint in found:
                    if not hint.fault and finder.keep(hint):
                        usable[hint.address] = None
                    yield hint

        reports = [_report(hint) async for hint in hints()]
        if probe:
            seen = await _probed(list(usable)[:LOCATE_ADDRESSES_MAX], finder.connecting(self._wiring.connect))
            reports = [_with(report, seen) for report in reports]
        order = self._wiring.chosen("locator")
        return FindResult(cid=str(cid), hints=sorted(reports, key=lambda report: order.index(report.locator)))


def _report(hint: Hint) -> HintReport:
    return HintReport(
        locator=hint.locator, address=hint.address, reach=hint.reach, fault=hint.fault or None,
        peer=hint.peer or None, protocols=list(hint.protocols), complete=hint.complete,
    )  # fmt: skip


def _with(report: HintReport, seen: dict[str, str]) -> HintReport:
    if report.fault is not None or report.address not in seen:
        return report
    why = seen[report.address]
    return replace(report, answers=not why, detail=why or None)


async def _probed(addresses: list[str], connect: Connect) -> dict[str, str]:
    """Connects to each; gives why it does not answer, "" for one that does."""
    room = asyncio.Semaphore(_PROBES)

    async def reach(address: str) -> str:
        try:
            async with room, asyncio.timeout(CONNECT_S), connect(address):
                return ""
        except TimeoutError:
            return f"not reached within {CONNECT_S:.0f} s"
        except WherryError as problem:
            return problem.message

    return dict(zip(addresses, await asyncio.gather(*map(reach, addresses)), strict=True))
