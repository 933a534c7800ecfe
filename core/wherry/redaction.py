"""Takes secrets out of what is shown: texts of others, which may repeat a token, and addresses, which may carry one. Pure.

Where a secret is not marked as one, nothing finds it.
"""

from __future__ import annotations

import re
from typing import Final

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
    (re.compile(r"(://)[^/\s]+@"), rf"\1{_HIDDEN}@"),
)


def redacted(text: str) -> str:
    """Gives ``text``, cut to what is looked at, with what looks like a secret taken out."""
    found = text[:_SEARCHED_CHARS_MAX]
    for pattern, instead in _PATTERNS:
        found = pattern.sub(instead, found)
    return found


def masked(address: str) -> str:
    """Gives an address as errors show it: without its user, and without what in its query looks like a secret."""
    start, end = user_of(address)
    shown = f"{address[:start]}{_HIDDEN}{address[end:]}" if end > start else address
    place, question, query = shown.partition("?")
    return place + question + redacted(query)


def user_of(address: str) -> tuple[int, int]:
    """Gives where the user of an address, and its password, begin and end; the same twice where it has none.

    Of ``SCHEME://AUTHORITY...`` it ends at the last ``@`` of the authority (RFC 3986 §3.2.1). A password that has ``/``, ``?``
    or ``#`` in it ends the authority, which has no port then. What has no ``//`` is no address yet: one that was mistyped.
    """
    scheme, slashes, rest = address.partition("://")
    start = len(scheme) + len(slashes) if slashes else 0
    rest = rest if slashes else address
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    _, colon, port = authority.rpartition(":")
    odd = bool(slashes and colon and port) and not port.isdigit() and not port.endswith("]")
    end = (rest if odd else authority).rfind("@")
    return (start, start + end) if end > 0 else (start, start)
