"""What obstore raises, as errors that name the peer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

from wherry.errors import PeerBusy, PeerDenied, PeerProtocolError, PeerTimeout, PeerUnreachable

if TYPE_CHECKING:
    from wherry.errors import PeerError

ABSENT: Final = (FileNotFoundError,)
REFUSED: Final = (PermissionDeniedError, PermissionError)
FAULTS: Final = (BaseError, OSError)
_STATUS: Final = re.compile(r"status code: ([0-9]{3})", re.ASCII)


def status_of(problem: Exception) -> int | None:
    """Gives the status that the service answered with; None if it gave none. obstore has it in its text alone."""
    match = _STATUS.search(str(problem).partition("\n")[0])
    return int(match[1]) if match else None


def fault(problem: Exception, peer: str, key: str = "") -> PeerError:
    """Words what was raised for the object ``key``. Of a stranger's text, at most 200 characters are repeated, escaped."""
    status, text = status_of(problem), str(problem)
    which = f"the object {key[:200]!a}" if key else ""
    if isinstance(problem, (*REFUSED, UnauthenticatedError)):
        hint = "check the key, and that it permits to read these objects; some services refuse what is not there, too"
        return PeerDenied(f"{peer}: the service refuses us {which}".rstrip(), peer=peer, hint=hint)
    if status in (429, 503):
        return PeerBusy(f"{peer}: the service has too much to do (status {status})", peer=peer)
    asked = f", asked for {which}" if key else ""
    if status is not None:
        return PeerProtocolError(f"{peer}: the service answers with status {status}{asked}", peer=peer)
    if "TimedOut" in text:
        return PeerTimeout(f"{peer}: the service was silent or too slow", peer=peer)
    first = ascii(text.partition("\n")[0][:200])
    if re.search(r"\bConnect\b|ConnectError|dns error", text):
        hint = "check the endpoint, and that the network lets you through"
        return PeerUnreachable(f"cannot connect to {peer}: {first}", peer=peer, hint=hint)
    return PeerProtocolError(f"{peer}: the service cannot be understood{asked}: {first}", peer=peer)
