"""The messages of the native exchange, and how long each may be (specs/0004 §2, §3).

``Blocks`` has no class: its body is blocks, which never pass through here (`wherry.wire.answer`). How the others become bytes
is in `wherry.wire.encoding`.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from wherry.cid import BINARY_BYTES
from wherry.limits import (
    ADDRESS_CHARS_MAX,
    BATCH_BYTES_MAX,
    BATCH_WANTS_MAX,
    NAME_BINARY_BYTES_MAX,
    NAME_RECORD_BYTES_MAX,
    WIRE_HELLO_BYTES_MAX,
    WIRE_PEERS_MAX,
    WIRE_REASON_BYTES_MAX,
    WIRE_REQUESTS_MAX,
    WIRE_SPANS_MAX,
)
from wherry.units import KiB
from wherry.wire.varint import VARINT_BYTES_MAX

if TYPE_CHECKING:
    from wherry.cid import CID

VERSION: Final = 1
MAGIC: Final = b"wherry exchange\n"  # begins the body of the first message: nothing else looks like it
NONCE_BYTES: Final = 32
SESSION_BYTES: Final = 16
HMAC_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
SIZE_UNKNOWN: Final = 0xFFFF_FFFF
# Of the frames of one `Blocks` message: the blocks of a whole batch, and the heads of as many frames as it may have.
ANSWER_BYTES_MAX: Final = BATCH_BYTES_MAX + 16 * KiB

HEAD_BYTES: Final = 8
REQUEST_BYTES: Final = 4


class Kind(enum.IntEnum):
    """What a message is: the first byte of its head."""

    HELLO = 1
    PROOF = 2
    FOLLOW = 3
    UNFOLLOW = 4
    HAVE = 5
    WANT = 6
    BLOCKS = 7
    CANCEL = 8
    CHOKE = 9
    UNCHOKE = 10
    PEERS = 11
    PING = 12
    PONG = 13
    ERROR = 14
    BYE = 15
    RESOLVE = 16
    RECORD = 17


class HaveFlag(enum.IntFlag):
    """The flags of `Have`."""

    GAINED = 1  # the spans are new, besides those told before; otherwise they are all
    COMPLETE = 2
    CHOOSY = 4
    NOTHING = 8


class BlocksFlag(enum.IntFlag):
    """The flags of a ``Blocks`` message."""

    FINAL = 1  # nothing more comes for this request
    REFUSED = 2  # it was dropped, not looked up: ask again, later, or elsewhere


class Head(NamedTuple):
    """What stands before each body."""

    kind: Kind
    flags: int
    length: int  # bytes of the body


class Hello(NamedTuple):
    """The first message of each side, the dialling one's first."""

    nonce: bytes  # NONCE_BYTES of chance, which the other side's proofs must hold
    id: str = ""  # the peer id that it claims
    addresses: tuple[str, ...] = ()  # where it can be dialled
    codings: tuple[str, ...] = ()  # what it decodes, the preferred first
    requests: int = WIRE_REQUESTS_MAX  # that it takes at a time
    session: bytes = b""  # by which more connections may join this one; b"": none may
    join: bytes = b""  # the session that this connection joins, as its other side named it; b"": it is a first one
    token: bool = False  # whether it wants the shared token proven
    names: bool = False  # whether it takes `Resolve`, which came later than the rest


class Proof(NamedTuple):
    """The second message of each side: what the Hello of the other asks for."""

    token: bytes = b""  # HMAC_BYTES, or nothing
    signature: bytes = b""  # SIGNATURE_BYTES, or nothing


class Follow(NamedTuple):
    """Asks to be told what the receiver has of ``root``, now and as it changes."""

    root: CID


class Unfollow(NamedTuple):
    """Takes a `Follow` back."""

    root: CID


class Have(NamedTuple):
    """What the sender has of ``root``: spans (start, end) of its bytes, in order, not touching."""

    root: CID
    spans: tuple[tuple[int, int], ...] = ()
    flags: HaveFlag = HaveFlag(0)


class Want(NamedTuple):
    """Asks for blocks. ``sizes`` are those that the asker knows."""

    request: int
    bytes_max: int  # of blocks, that the asker takes
    cids: tuple[CID, ...]
    sizes: tuple[int | None, ...]


class Cancel(NamedTuple):
    """Says that an answer is not wanted any more."""

    request: int


class Choke(NamedTuple):
    """Says that requests are refused until `Unchoke`."""


class Unchoke(NamedTuple):
    """Says that requests are taken again."""


class Peers(NamedTuple):
    """Names others that have, or follow, what the receiver follows."""

    addresses: tuple[str, ...]


class Resolve(NamedTuple):
    """Asks for the record of a name. Only for a peer whose Hello has ``names``."""

    name: bytes  # the multihash of a key


class Record(NamedTuple):
    """Answers a `Resolve`."""

    name: bytes
    record: bytes  # b"": the sender has none


class Ping(NamedTuple):
    """Asks for a `Pong` with the same number."""

    number: int


class Pong(NamedTuple):
    """Answers a `Ping`."""

    number: int


class Fault(enum.IntEnum):
    """What an `Error` is about."""

    PROTOCOL = 1
    DENIED = 2
    BUSY = 3
    FAILED = 4


class Error(NamedTuple):
    """Ends the connection, for a reason that the receiver gave, or that keeps the sender from going on."""

    fault: Fault
    reason: str


class Bye(NamedTuple):
    """Ends the connection in good order."""

    reason: str


Message: TypeAlias = (
    Hello | Proof | Follow | Unfollow | Have | Want | Cancel | Choke | Unchoke | Peers | Ping | Pong | Error | Bye | Resolve
    | Record
)  # fmt: skip

KIND_OF: Final[dict[type[Any], Kind]] = {
    Hello: Kind.HELLO, Proof: Kind.PROOF, Follow: Kind.FOLLOW, Unfollow: Kind.UNFOLLOW, Have: Kind.HAVE, Want: Kind.WANT,
    Cancel: Kind.CANCEL, Choke: Kind.CHOKE, Unchoke: Kind.UNCHOKE, Peers: Kind.PEERS, Ping: Kind.PING, Pong: Kind.PONG,
    Error: Kind.ERROR, Bye: Kind.BYE, Resolve: Kind.RESOLVE, Record: Kind.RECORD,
}  # fmt: skip

# The most bytes of each kind's body.
LENGTH_MAX: Final[dict[Kind, int]] = {
    Kind.HELLO: WIRE_HELLO_BYTES_MAX,
    Kind.PROOF: 256,
    Kind.FOLLOW: BINARY_BYTES,
    Kind.UNFOLLOW: BINARY_BYTES,
    Kind.HAVE: BINARY_BYTES + 2 * WIRE_SPANS_MAX * VARINT_BYTES_MAX,
    Kind.WANT: 8 + BATCH_WANTS_MAX * (BINARY_BYTES + 4),
    Kind.BLOCKS: REQUEST_BYTES + ANSWER_BYTES_MAX,
    Kind.CANCEL: REQUEST_BYTES,
    Kind.CHOKE: 0,
    Kind.UNCHOKE: 0,
    Kind.PEERS: WIRE_PEERS_MAX * (2 + ADDRESS_CHARS_MAX),
    Kind.PING: 8,
    Kind.PONG: 8,
    Kind.ERROR: 1 + WIRE_REASON_BYTES_MAX,
    Kind.BYE: WIRE_REASON_BYTES_MAX,
    Kind.RESOLVE: NAME_BINARY_BYTES_MAX,
    Kind.RECORD: 1 + NAME_BINARY_BYTES_MAX + NAME_RECORD_BYTES_MAX,
}
