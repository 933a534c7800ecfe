"""The filters of a query, as Delegated Routing V1 has them (IPIP-484; specs/0028 §2). Pure.

A name among the addresses is a part of a multiaddr: ``tcp``, ``https``, ``ip6``. Those with ``!`` before them must not be in
it. ``unknown`` takes a peer without addresses, or without protocols; by itself it takes nobody else. The names of protocols
are opaque, so ``!`` has no meaning before them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

_UNKNOWN: Final = "unknown"
NAMES_MAX: Final = 32  # looked at, of one filter


class Filters:
    """What a query leaves in: addresses of a record, and records."""

    def __init__(self, addrs: str = "", protocols: str = "") -> None:
        """Takes the values of ``filter-addrs`` and ``filter-protocols``."""
        wanted = _names(addrs)
        self._not = {name[1:] for name in wanted if name.startswith("!")}
        self._any = {name for name in wanted if not name.startswith("!")} - {_UNKNOWN}
        self._only_unknown = bool(wanted) and not self._not and not self._any
        self._without_addrs = not wanted or _UNKNOWN in wanted
        self._protocols = set(_names(protocols))
        self._filters_addrs = bool(wanted)

    def apply(self, record: dict[str, Any]) -> dict[str, Any] | None:
        """Gives a record with the addresses that are wanted; None if it is not."""
        protocols = {str(name).lower() for name in record.get("Protocols", ())}
        if self._protocols and not (protocols & self._protocols or (not protocols and _UNKNOWN in self._protocols)):
            return None
        addrs = record.get("Addrs", [])
        if not addrs:
            return record if self._without_addrs else None
        if not self._filters_addrs:
            return record
        if self._only_unknown:
            return None
        left = [text for text in addrs if self._wants(text.lower().split("/"))]
        return {**record, "Addrs": left} if left else None

    def _wants(self, parts: Iterable[str]) -> bool:
        found = set(parts)
        return not (found & self._not) and (not self._any or bool(found & self._any))


def _names(text: str) -> list[str]:
    return [name.strip().lower() for name in text.split(",")[:NAMES_MAX] if name.strip()]
