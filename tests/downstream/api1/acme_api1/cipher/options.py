"""The options of acme.cipher: none. A cipher's name says all of its format, so nothing of that can be an option."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The cipher has no options."""
