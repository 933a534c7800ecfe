"""What a request and its answer look like over HTTP, around the frames of `wherry.wire.frames` (specs/0008 §2, §3.1).

A request names its wants by binary CID, one behind the other. The answer is a row of frames; its content type says whether
there may be coded blocks among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wherry.cid import BINARY_BYTES, CID
from wherry.errors import CIDError
from wherry.limits import BATCH_WANTS_MAX
from wherry.wire.frames import CODING_NAME, CODINGS_MAX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wherry.abc.transport import Want

PROTOCOL: Final = 1
INFO_PATH: Final = "/wherry/v1"
BLOCKS_PATH: Final = "/wherry/v1/blocks"
WANTS_TYPE: Final = "application/vnd.wherry.wants"
BLOCKS_TYPE: Final = "application/vnd.wherry.blocks"
CODED_TYPE: Final = "application/vnd.wherry.coded-blocks"  # of an answer that may have CODED frames
CODINGS_HEADER: Final = "Wherry-Codings"  # of a request: what the client decodes
CODINGS_CHARS_MAX: Final = 1024


def encode_wants(wants: Sequence[Want]) -> bytes:
    """Writes a request's body."""
    return b"".join([want.cid for want in wants])


def decode_wants(body: bytes) -> list[CID]:
    """Reads a request's body. Raises CIDError."""
    if not body or len(body) % BINARY_BYTES or len(body) > BATCH_WANTS_MAX * BINARY_BYTES:
        raise CIDError(f"a request names 1 to {BATCH_WANTS_MAX} binary CIDs of {BINARY_BYTES} bytes")
    return [CID(body[at : at + BINARY_BYTES]) for at in range(0, len(body), BINARY_BYTES)]


def offer(names: Sequence[str]) -> str:
    """Writes the header by which a client says what it decodes, the preferred first; "" if that is nothing."""
    text = ", ".join([name for name in names if CODING_NAME.fullmatch(name)][:CODINGS_MAX])
    return text if len(text) <= CODINGS_CHARS_MAX else ""


def offered(text: str) -> tuple[str, ...]:
    """Reads that header. What is not well formed offers nothing: it is answered in plain bytes."""
    names = tuple(name.strip() for name in text.split(",")) if text and len(text) <= CODINGS_CHARS_MAX else ()
    good = len(names) <= CODINGS_MAX and len(set(names)) == len(names) and all(map(CODING_NAME.fullmatch, names))
    return names if good else ()
