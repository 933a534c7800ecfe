"""Makes an event a line of JSON: one line, printable ASCII, bounded, and without secrets (specs/0019 §4).

The text of a note may repeat what a peer or a library said, and that may hold a token: so it is searched for what secrets
look like. Where a secret is not marked as one, nothing finds it; that is why events carry nothing else from outside.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from wherry.redaction import redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_BYTES_MAX: Final = 4096  # with its line end: PIPE_BUF, so that lines of several processes in one file stay whole
_TEXT_BYTES_MAX: Final = 3000  # of a note, as JSON
_WORD_BYTES_MAX: Final = 100  # of any other text, as JSON; no event has more than six


def line_of(fields: Mapping[str, object]) -> bytes:
    """Writes one line, of at most LINE_BYTES_MAX. Values that are texts are redacted, and cut where they are too long."""
    shown = {
        name: _cut(redacted(value), _TEXT_BYTES_MAX if name == "text" else _WORD_BYTES_MAX) if isinstance(value, str) else value
        for name, value in fields.items()
    }
    return _written(shown).encode() + b"\n"


def _cut(text: str, bytes_max: int) -> str:
    """Gives as much of ``text`` as fits into ``bytes_max`` when it is written."""
    while (size := len(_written(text))) > bytes_max:
        text = text[: min(len(text) - 2, len(text) * bytes_max // size)] + "…"
    return text


def _written(value: object) -> str:
    return json.dumps(value, separators=(",", ":")).replace("\x7f", "\\u007f")  # DEL is the one that JSON leaves in
