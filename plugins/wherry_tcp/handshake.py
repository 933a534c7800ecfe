"""Who is there: both sides' first two messages, the proofs of token and key (specs/0004 §6)."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

from wherry.errors import PeerDenied, PeerProtocolError
from wherry.nodekey import verify
from wherry.wire.messages import NONCE_BYTES, Bye, Error, Fault, Hello, Proof
from wherry_tcp.words import ended

if TYPE_CHECKING:
    from wherry.nodekey import NodeKey
    from wherry.wire.messages import Message
    from wherry_tcp.line import Line

_SIGNED: Final = b"wherry exchange 1, who dialled:\n"
_TOKEN: Final = b"wherry exchange 1, token of who dialled:\n"


class Mine(NamedTuple):
    """What this side says and proves of itself."""

    token: str | None = None
    key: NodeKey | None = None  # inside TLS alone: elsewhere nothing is proven, so nothing is claimed
    server: bytes = b""  # the public key (32 bytes) of the side that was dialled, as TLS proved it; b"" without TLS
    addresses: tuple[str, ...] = ()
    codings: tuple[str, ...] = ()
    requests: int = 1
    session: bytes = b""
    join: bytes = b""

    def hello(self, *, asks: bool) -> Hello:
        """Makes the first message; ``asks``: for the token, if there is one."""
        return Hello(
            secrets.token_bytes(NONCE_BYTES), self.key.peer_id if self.key is not None else "", self.addresses, self.codings,
            self.requests, self.session, self.join, asks and self.token is not None, names=True,
        )  # fmt: skip


async def dial(line: Line, mine: Mine) -> Hello:
    """Shakes hands as the side that dialled; gives what the other one said. Raises PeerError, OSError."""
    hello = mine.hello(asks=False)
    await line.say(hello)
    theirs = _hello(await line.hear(), line.peer)
    if theirs.token and mine.token is None:
        await line.say(Bye("no token here"))
        raise PeerDenied(f"{line.peer} asks for a token", peer=line.peer, hint="give its token: WHERRY_TOKEN or --token-file")
    token = _hmac(mine.token, theirs, hello, mine.server) if theirs.token and mine.token is not None else b""
    signature = mine.key.sign(_signed(theirs, hello, mine.server)) if mine.key is not None else b""
    await line.say(Proof(token, signature))
    _proof(await line.hear(), line.peer)
    return theirs


async def accept(line: Line, mine: Mine) -> tuple[Hello, str]:
    """Shakes hands as the side that was dialled; gives what the other one said, and its id, "" if that is not proven.

    Raises PeerError, OSError.
    """
    theirs = _hello(await line.hear(), line.peer)
    hello = mine.hello(asks=True)
    await line.say(hello)
    proof = _proof(await line.hear(), line.peer)
    if mine.token is not None and not hmac.compare_digest(proof.token, _hmac(mine.token, hello, theirs, mine.server)):
        await line.say(Error(Fault.DENIED, "the token is not the right one" if proof.token else "a token is needed"))
        raise PeerDenied(f"{line.peer} does not know the token", peer=line.peer)
    proven = ""
    if mine.server and proof.signature:
        if not verify(theirs.id, _signed(hello, theirs, mine.server), proof.signature):
            await line.say(Error(Fault.DENIED, "this id is not yours"))
            raise PeerDenied(f"{line.peer} claims the id {theirs.id!a} and does not prove it", peer=line.peer)
        proven = theirs.id
    await line.say(Proof())
    return theirs, proven


def _hello(message: Message, peer: str) -> Hello:
    if isinstance(message, Hello):
        return message
    raise _unexpected(message, peer)


def _proof(message: Message, peer: str) -> Proof:
    if isinstance(message, Proof):
        return message
    raise _unexpected(message, peer)


def _unexpected(message: Message, peer: str) -> Exception:
    if isinstance(message, Error | Bye):
        return ended(message, peer)
    return PeerProtocolError(f"{peer} sent {type(message).__name__} in the handshake", peer=peer)


def _signed(dialled: Hello, dialling: Hello, server: bytes) -> bytes:
    """What the dialling side signs: made for this connection, and this server, alone."""
    return _SIGNED + dialled.nonce + dialling.nonce + server


def _hmac(token: str, dialled: Hello, dialling: Hello, server: bytes) -> bytes:
    text = _TOKEN + dialled.nonce + dialling.nonce + server
    return hmac.new(token.encode(), text, hashlib.sha256).digest()
