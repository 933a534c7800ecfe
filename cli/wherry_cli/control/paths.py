"""What the two ends of the control protocol agree on: paths, and errors that travel (specs/0027 §6)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from wherry import errors
from wherry.errors import PeerError, WherryError

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION: Final = "/v1"
STATUS: Final = f"{VERSION}/status"
STOP: Final = f"{VERSION}/stop"
TRANSFERS: Final = f"{VERSION}/transfers"
LIMITS: Final = f"{VERSION}/limits"
PEERS: Final = f"{VERSION}/peers"
EVENTS: Final = f"{VERSION}/events"

LINES_TYPE: Final = "application/x-ndjson"
ALIVE_S: Final = 10.0  # a line at least so often, so that each end notices when the other is gone
HOST: Final = "wherry"  # of requests; the socket says where they go

# HTTP's words for the classes of errors, for other clients; ours goes by the body. The nearest class above an error decides.
_STATUSES: Final[dict[type[WherryError], int]] = {
    WherryError: 500,
    errors.UsageError: 400,
    errors.DataError: 400,
    errors.NotFound: 404,
    errors.TargetError: 409,
    errors.LimitExceeded: 429,
    errors.PeerBusy: 503,
    errors.StoreError: 503,
}
_KINDS: Final = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, WherryError)}
_BY_CODE: Final[dict[object, type[WherryError]]] = {kind.exit_code: kind for kind in WherryError.__subclasses__()}


def status_of(problem: WherryError) -> int:
    """Gives the HTTP status of an error."""
    return next(_STATUSES[kind] for kind in type(problem).__mro__ if kind in _STATUSES)


def error_of(found: Mapping[str, Any]) -> WherryError:
    """Makes the error again that a daemon tells of (schema ``wherry/error/1``): of the same class, with the same words.

    One of a class that is not of `wherry.errors`, such as a plugin's, becomes the general one of its exit code.
    """
    kind = _KINDS.get(str(found.get("error"))) or _BY_CODE.get(found.get("exit_code"), WherryError)
    hint = found.get("hint")
    words, hint = str(found.get("message")), None if hint is None else str(hint)
    if issubclass(kind, PeerError):
        return kind(words, peer="", hint=hint)
    try:
        return kind(words, hint=hint)
    except TypeError:  # a class that is made in another way
        return WherryError(words, hint=hint)


def error_in(text: str) -> WherryError:
    """Makes an error of the text of an answer, whatever that is."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and "message" in found:
        return error_of(found)
    return WherryError(f"the daemon answered with something else than JSON: {text[:200]!r}", hint="is it of another version?")
