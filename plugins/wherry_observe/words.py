"""Makes an event a line of JSON: one line, printable ASCII, bounded, and without secrets (specs/0019 §4).

The text of a note may repeat what a peer or a library said, and that may hold a token: so it is searched for what secrets
look like. Where a secret is not marked as one, nothing finds it; that is why events carry nothing else from outside.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

LINE_BYTES_MAX: Final = 4096  # with its line end: PIPE_BUF, so that lines of several processes in one file stay whole
_TEXT_BYTES_MAX: Final = 3000  # of a note, as JSON
_WORD_BYTES_MAX: Final = 100  # of any other text, as JSON; no event has more than six
_SEARCHED_CHARS_MAX: Final = 8192  # what lies behind is cut off in any case
_HIDDEN: Final = "<secret>"  # what stands where one stood

# Strangers choose the text, so no pattern may go back over what it has seen: none begins with a repetition.
# RFC 6750 §2.1 for bearer tokens, RFC 3986 §3.2.1 for user information; the rest are the usual names of keys in queries.
_PATTERNS: Final = (
    (
        re.compile(
            r"((?:token|secret|password|passwd|passphrase|api[_-]?key|access[_-]?key|private[_-]?key|credential|signature"
            r"|authorization|cookie|sig|pwd)[\"']?\s*[=:]\s*[\"']?(?:(?:Bearer|Basic|Digest|Token|Negotiate)\s+)?)[^\s&;,\"'<]+",
            re.IGNORECASE,
        ),
        rf"\1{_HIDDEN}",
    ),
    (re.compile(r"\b(Bearer\s+)[^\s,;\"'<]+", re.IGNORECASE), rf"\1{_HIDDEN}"),
    (re.compile(r"(://)[^/\s@]+@"), rf"\1{_HIDDEN}@"),
)


def redacted(text: str) -> str:
    """Gives ``text``, cut to what is looked at, with what looks like a secret taken out."""
    found = text[:_SEARCHED_CHARS_MAX]
    for pattern, instead in _PATTERNS:
        found = pattern.sub(instead, found)
    return found


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
