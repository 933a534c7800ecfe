"""Addresses of the ``http`` transport: what they may look like."""

from __future__ import annotations

from typing import Final

from yarl import URL

from wherry.address import is_host
from wherry.errors import UsageError
from wherry.limits import ADDRESS_CHARS_MAX

_SCHEMES: Final = ("http", "https")


def parse_base(address: str) -> URL:
    """Reads ``http://HOST:PORT``. Raises UsageError, which does not repeat what may be a password."""
    if len(address) > ADDRESS_CHARS_MAX:
        raise UsageError(f"an address has at most {ADDRESS_CHARS_MAX} characters")
    if "@" in address:
        raise UsageError("an address has no user and no password", hint="write http://HOST:PORT; a token is an option")
    try:
        base = URL(address)
        base.port  # noqa: B018  # reading it checks it
    except ValueError as problem:
        raise UsageError(f"address {address!r}: {problem}", hint="write http://HOST:PORT") from problem
    if base.scheme not in _SCHEMES or not base.host or base.path not in ("", "/") or base.query_string or base.fragment:
        hint = "write http://HOST:PORT; for files on a plain web server, web+https://HOST/PATH/"
        raise UsageError(f"address {address!r} is not of the form http://HOST:PORT", hint=hint)
    if not is_host(base.host):
        raise UsageError("an address has a host of which no part is empty, too long or no text", hint="write http://HOST:PORT")
    return base.with_path("/")
