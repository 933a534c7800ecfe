"""Carriers of the records of names (specs/0034 §5): what a transport or a locator may also be.

A carrier vouches for nothing: core verifies each record that comes, and keeps the best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence


@runtime_checkable
class SupportsRecords(Protocol):
    """A transport that can ask a source for the record of a name. Optional."""

    async def name_record(self, address: str, name: str) -> bytes | None:
        """Asks the source at ``address`` for the record of ``name`` (k51...); None: it has none.

        It reads at most NAME_RECORD_BYTES_MAX. Raises PeerError; UsageError for a malformed address.
        """


@runtime_checkable
class HoldsRecords(Protocol):
    """A `wherry.abc.transport.BlockSource` that has the records of names too. Optional. Synchronous, from any thread."""

    def record(self, name: bytes) -> bytes | None:
        """Gives the best valid record of a name (the multihash of its key); None if it has none. Raises StoreError."""


@runtime_checkable
class SupportsPeers(Protocol):
    """A locator that knows peers whatever is looked for, so that they can be asked for names too. Optional."""

    def peers(self) -> Sequence[str]:
        """Gives their addresses; those that the user wrote down alone."""


@runtime_checkable
class SupportsNames(Protocol):
    """A locator that can carry the records of names. Optional. One event loop, concurrent calls."""

    def name_records(self, name: str) -> AsyncGenerator[tuple[str, bytes], None]:
        """Gives who says it, and the record of ``name`` (k51...) that it has, as they come.

        Raises PeerError behind them if some failed: its message names each of those and says what it did.
        """

    async def put_record(self, name: str, record: bytes) -> list[str]:
        """Hands over a record; gives who took it. Raises PeerError if nobody did."""
