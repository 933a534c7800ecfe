"""The addresses of sources on web servers (specs/0020 §2)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wherry.errors import UsageError
from wherry.limits import ADDRESS_CHARS_MAX
from wherry.weburl import parsed

if TYPE_CHECKING:
    from wherry.weburl import Url

_WRITTEN: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)


def parse_address(address: str) -> Url:
    """Reads the address of a source. Raises UsageError; what may be a password is not repeated."""
    hint = "write web+https://HOST/DIRECTORY/ or web+https://HOST/FILE"
    if len(address) > ADDRESS_CHARS_MAX or not _WRITTEN.fullmatch(address):
        raise UsageError("a web address is too long, or has spaces or other characters to be percent-encoded", hint=hint)
    try:
        if "#" in address:
            raise ValueError("it has a fragment")
        return parsed(address)
    except ValueError as problem:
        raise UsageError(f"this is not the address of a web server: {problem}", hint=hint) from problem
