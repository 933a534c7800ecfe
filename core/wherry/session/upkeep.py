"""The verbs about the home itself: what is wrong with it, and making it good again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import UsageError
from wherry.offload import in_thread
from wherry.session.parts import Parts
from wherry.session.telling import told

if TYPE_CHECKING:
    from wherry.cid import CID
    from wherry.observe import Observe
    from wherry.results import Check, RepairResult
    from wherry.store.state import RootRow


class Upkeep(Parts):
    """Roots, doctor and repair."""

    @told
    async def doctor(self) -> list[Check]:
        """Looks for what is wrong with this machine, home and configuration."""
        from wherry import health

        return await in_thread(lambda: health.examine(self._home, self._wiring, self._store))

    async def roots(self, cid: str | CID | None = None) -> list[RootRow]:
        """Lists what was added and fetched, or what of it is ``cid``, the newest first. Raises CIDError."""
        asked = self._parse(cid).cid if cid is not None else None
        return await in_thread(lambda: self._store.state.roots(asked))

    @told
    async def repair(self, *, drop_missing: bool = False, observe: Observe | None = None) -> RepairResult:
        """Makes the index again by reading everything that was added or fetched. Nothing of the user's is changed.

        What is not there now, or cannot be read, is kept in the list of roots and told in ``missing``; with
        ``drop_missing`` it is dropped. Until all was read, the index in force and the roots stay as they are.

        Needs the home alone: raises UsageError unless the session was opened for the verb "repair".
        """
        if self._set_aside is None:
            raise UsageError("repair needs the home alone", hint='open the session with verb="repair"')
        from wherry.repair import repair

        return await repair(
            self._store, self._wiring.pool, self._wiring.locksmith, observe, self._set_aside,
            home=self._home.path, drop_missing=drop_missing,
        )  # fmt: skip
