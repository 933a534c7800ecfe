"""What a peer's last words mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wherry.errors import PeerBusy, PeerDenied, PeerProtocolError, PeerUnreachable
from wherry.wire.messages import Bye, Fault

if TYPE_CHECKING:
    from wherry.errors import PeerError
    from wherry.wire.messages import Error


def ended(message: Error | Bye, peer: str) -> PeerError:
    """Gives the error that a peer's last words stand for."""
    if isinstance(message, Bye):
        return PeerUnreachable(f"{peer} ended the connection: {message.reason}", peer=peer)
    if message.fault is Fault.DENIED:
        hint = "give its token: WHERRY_TOKEN or --token-file"
        return PeerDenied(f"{peer} refuses us: {message.reason}", peer=peer, hint=hint)
    if message.fault is Fault.BUSY:
        return PeerBusy(f"{peer} has too much to do: {message.reason}", peer=peer)
    return PeerProtocolError(f"{peer} ended the connection: {message.reason}", peer=peer)
