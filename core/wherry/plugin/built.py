"""Looks at what a plugin built before it is used: what core reads of it without asking twice must be there, and make sense.

An isinstance says that the methods exist. It says nothing of the attributes, and one that is missing would end a transfer in
the middle, far from whoever is to blame.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from wherry.errors import PluginContractError
from wherry.limits import LEAF_BYTES_MAX

if TYPE_CHECKING:
    from collections.abc import Callable


class _Must(NamedTuple):
    attribute: str
    holds: Callable[[Any], bool]
    words: str


def _whole(least: int, most: int = 1 << 16) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


_MUSTS: Final[dict[str, tuple[_Must, ...]]] = {
    "transport": (
        _Must(
            "schemes",
            lambda value: (
                isinstance(value, (frozenset, set))
                and len(value) > 0
                and all(isinstance(one, str) and one == one.lower() for one in value)
            ),
            "a frozenset of lower-case texts",
        ),
    ),
    "chunker": (
        _Must("name", lambda value: isinstance(value, str) and 0 < len(value) <= 100 and value.isprintable(), "a short text"),
        _Must("leaf_bytes_max", _whole(1, LEAF_BYTES_MAX), f"1 to {LEAF_BYTES_MAX}"),
    ),
    "compressor": (
        _Must(
            "levels",
            lambda value: isinstance(value, tuple) and len(value) > 0 and all(type(one) is int for one in value),
            "a tuple of whole numbers, one at least",
        ),
    ),
    "cipher": (
        _Must("key_bytes", _whole(32), "32 or more"),
        _Must("nonce_bytes", _whole(12), "12 or more"),
        _Must("tag_bytes", _whole(16), "16 or more"),
    ),
    "locator": (
        _Must("reach", lambda value: value in ("named", "lan", "public"), '"named", "lan" or "public"'),
    ),
}  # fmt: skip


def check_built(kind: str, built: object, what: str) -> None:
    """Raises PluginContractError unless ``built``, called ``what``, has the attributes of its kind."""
    for must in _MUSTS.get(kind, ()):
        try:
            value = getattr(built, must.attribute)
            fine = must.holds(value)
        except Exception as problem:
            raise PluginContractError(f"{what}: its {must.attribute!r} cannot be read: {problem}") from problem
        if not fine:
            raise PluginContractError(f"{what}: its {must.attribute!r} is {str(value)[:60]!r}, must be {must.words}")
