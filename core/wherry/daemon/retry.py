"""Which failed transfers are tried again, when, and how often (specs/0027 §5). Pure: chance is a number that is given."""

from __future__ import annotations

from typing import Final

from wherry import errors
from wherry.errors import WherryError

BASE_S: Final = 2.0  # the first pause, at most
PAUSE_S_MAX: Final = 900.0  # the longest: a source that is away for a night is found within a quarter of an hour

# The nearest class above an error decides. Told apart by whether time alone, or another machine, may mend it.
RETRIED: Final[dict[type[WherryError], bool]] = {
    WherryError: False,
    errors.DataError: False,  # the same bytes would be wrong again: their CID vouches for them
    errors.IntegrityError: True,  # damaged by every source that was asked; another may come
    errors.BlockNotFound: True,  # a peer that has it may come
    errors.PeerError: True,
    errors.PeerDenied: False,  # a token has to be given
    errors.SourceChanged: True,  # it is looked at anew
    errors.TargetBusy: True,  # the other get ends at some time
    errors.HomeBusy: True,
}


def may_retry(problem: WherryError) -> bool:
    """Tells whether the same transfer may succeed later though nobody mends anything here."""
    return next(RETRIED[kind] for kind in type(problem).__mro__ if kind in RETRIED)


def pause(failures: int, chance: float) -> float:
    """Gives the seconds to wait after ``failures`` in a row, 1 or more; ``chance`` is uniform in [0, 1).

    Exponential with full jitter, as in M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015: of many
    transfers that fail together, no two come back together.
    """
    longest = min(PAUSE_S_MAX, BASE_S * 2.0 ** min(failures - 1, 30))
    return chance * longest


def spent(failures: int, retries: int) -> bool:
    """Tells whether the budget is used up: ``retries`` tries after the first, none of which brought a single byte."""
    return failures > retries
