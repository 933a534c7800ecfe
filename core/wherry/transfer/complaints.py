"""What a user is told of a source that fails, and how often (specs/0013 §4). Pure: the clock is given."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wherry.address import split_address
from wherry.redaction import masked

if TYPE_CHECKING:
    from wherry.transfer.source import Source

_CHANGED_S: Final = 5.0  # another cause is told after so long: of one outage several are seen within a second
_AGAIN_S: Final = (30.0, 600.0)  # the same one, the first time, and at the most: twice as long each time
_CAUSES_MAX: Final = 8  # told apart, of a source
_NUMBER: Final = re.compile(r"[0-9]+")


def bare(reason: str, address: str) -> str:
    """Gives a reason without the address that it begins with: who tells it names that."""
    names = {known.rstrip("/") for known in (address, split_address(address)[1], masked(address))}
    starts = tuple(f"{name}{end}" for name in names for end in (": ", "/: ", "/ ", " "))  # "http://HOST/ answered ..."
    while reason.startswith(starts):
        reason = reason[max(len(start) for start in starts if reason.startswith(start)) :]
    return reason


def tells(source: Source, reason: str, now: float, *, fault: bool = True) -> bool:
    """Whether the user is told now that a source fails for ``reason``; notes that it is.

    ``fault=False``: it only keeps one waiting, as a slow one does, and is not said to be back.
    """
    cause = _NUMBER.sub("0", reason)  # seconds that are left are no other cause
    known = cause in source.causes or len(source.causes) >= _CAUSES_MAX
    if now - source.said_at < ((source.silence_s or _AGAIN_S[0]) if known else _CHANGED_S):
        return False
    if known:
        source.silence_s = min(_AGAIN_S[1], 2 * (source.silence_s or _AGAIN_S[0]))
    else:
        source.causes |= {cause}
    source.said_at, source.ailing = now, source.ailing or fault
    return True


def recovers(source: Source) -> bool:
    """Whether the user is told that a source which was of use just now is back; notes that it is."""
    was, source.ailing = source.ailing, False
    return was
