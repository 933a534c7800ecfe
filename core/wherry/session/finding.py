"""The verb that asks who may have something: it fetches nothing, and connects to none of those who are named."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from wherry.results import FindResult, HintReport
from wherry.session.parts import Parts
from wherry.session.telling import told

if TYPE_CHECKING:
    from wherry.observe import Observe


class Finding(Parts):
    """Find."""

    @told
    async def find(self, what: str, *, observe: Observe | None = None) -> FindResult:
        """Asks every locator in use for peers that may have ``CID[/PATH]`` or a ticket's CID; gives what each says.

        Takes as long as the slowest locator is given, five seconds at the most. What a locator fails with is a Note.
        """
        cid, _, _ = self._parse(what)
        async with aclosing(self._finder(observe).hints(cid)) as hints:
            found = [
                HintReport(locator=hint.locator, address=hint.address, reach=hint.reach, fault=hint.fault or None)
                async for hint in hints
            ]
        return FindResult(
            cid=str(cid), hints=sorted(found, key=lambda hint: self._wiring.chosen("locator").index(hint.locator))
        )
