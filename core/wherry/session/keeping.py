"""The verbs about keys: making, listing, handing over, rotating (specs/0021).

A passphrase that a verb needs is given to it, or lies in the file that WHERRY_PASSPHRASE_FILE names; no verb of a session
asks on a terminal.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from wherry.offload import in_thread
from wherry.session.parts import Parts

if TYPE_CHECKING:
    from wherry.results import KeyReport


class Keeping(Parts):
    """Keys. Their secrets stay in the home; results tell what is public."""

    async def keys(self) -> list[KeyReport]:
        """Lists every key, also those whose files are damaged or open to others."""
        return await in_thread(self._wiring.ring.list)

    async def key(self, name: str) -> KeyReport:
        """Tells what one key is, and a recipient's text. Raises NotFound, KeyProblem, DataError."""
        return await in_thread(lambda: self._wiring.ring.describe(name))

    async def new_key(
        self, name: str, *, kind: Literal["domain", "identity"] = "domain", passphrase: bytes | None = None
    ) -> KeyReport:
        """Makes the key of a new domain, or an identity; locked by ``passphrase``, if there is one. Raises KeyProblem."""

        def make() -> KeyReport:
            ring = self._wiring.ring
            ring.new(name, kind, passphrase)
            return ring.describe(name)

        return await in_thread(make)

    async def export_key(self, name: str, *, passphrase: bytes | None = None, plain: bool = False) -> bytes:
        """Gives a key as armored text: a locked one as it is, another one locked by ``passphrase``; or ``plain``.

        With ``plain``, ``passphrase`` unlocks it. Raises NotFound, KeyProblem, UsageError.
        """

        def export() -> bytes:
            ring = self._wiring.ring
            locked = ring.describe(name).locked
            if locked and plain and passphrase is not None:
                ring.unlock(name, passphrase)
            return ring.export(name, None if plain or locked else passphrase, plain=plain)

        return await in_thread(export)

    async def import_key(self, name: str, data: bytes, *, passphrase: bytes | None = None) -> KeyReport:
        """Takes in an export, under its passphrase, or the text of a recipient. Raises KeyProblem, DataError."""
        return await in_thread(lambda: self._wiring.ring.import_(data, name, passphrase))

    async def rotate_key(self, name: str, *, passphrase: bytes | None = None) -> KeyReport:
        """Gives a domain a new wrapping key, for new datasets; older ones stay as they are until `rewrap`."""

        def rotate() -> KeyReport:
            ring = self._wiring.ring
            ring.rotate(name, passphrase)
            return ring.describe(name)

        return await in_thread(rotate)

    async def delete_key(self, name: str) -> None:
        """Deletes a key. What only it opens stays closed for ever. Raises NotFound."""
        await in_thread(lambda: self._wiring.ring.delete(name))
