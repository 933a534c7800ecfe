"""Data that is neither file nor directory: of which type it is, and as which others it can be given (specs/0033 §13). Pure.

What a block is, its codec says; what is asked for, a format. JSON and CBOR are given as they are where that is what was asked
for, and all else goes by the data model (specs/0038 §1).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wherry import dagcbor, dagjson, ipld
from wherry.cid import DAG_CBOR
from wherry.errors import DataError
from wherry.gateway.request import JSON, MEDIA, NotAcceptable
from wherry.ipld import DAG_JSON

_NATIVE: Final = {0x0200: "json", 0x51: "cbor", DAG_JSON: "dag-json", DAG_CBOR: "dag-cbor"}
_PARSED_AS: Final = {0x0200: DAG_JSON, 0x51: DAG_CBOR}
_SAME: Final = {"json": frozenset({"json", "dag-json"}), "cbor": frozenset({"cbor", "dag-cbor"})}


class Shape(NamedTuple):
    """As what a block is given."""

    format: str
    same: bool  # its bytes are given as they are

    @property
    def media(self) -> str:
        """The media type."""
        return MEDIA[self.format]

    @property
    def ending(self) -> str:
        """Of a file name."""
        return ".json" if self.format in JSON else ".cbor"

    @property
    def how(self) -> str:
        """What a browser does with it: JSON is shown."""
        return "inline" if self.format in JSON else "attachment"


def shape_of(codec: int, wanted: str | None) -> Shape | None:
    """Tells as what a block of ``codec`` is given to who asks for ``wanted``. None: as a file or a directory, if it is one.

    ``json`` and ``cbor`` change nothing of files: much JSON lies in them, and is asked for so.
    """
    own = _NATIVE.get(codec)
    if wanted is None:
        return None if own is None else Shape(own, same=True)
    if wanted in _SAME:
        return None if own is None else Shape(wanted, same=own in _SAME[wanted])
    return Shape(wanted, same=own == wanted)


def shaped(codec: int, data: bytes, shape: Shape) -> bytes:
    """Gives a block in another form. Raises NotAcceptable for one that has none."""
    try:
        value = ipld.read(_PARSED_AS.get(codec, codec), data)
        return dagjson.encode(value) if shape.format in JSON else dagcbor.encode(value)
    except (DataError, ValueError) as problem:
        raise NotAcceptable(f"this block has no form as {shape.format}: {problem}", hint="ask with format=raw") from problem
