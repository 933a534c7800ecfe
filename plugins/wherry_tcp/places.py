"""Addresses of the ``tcp`` transport (specs/0004 §1)."""

from __future__ import annotations

import os
from typing import Final, NamedTuple

from wherry.address import is_host
from wherry.errors import DataError, UsageError
from wherry.limits import ADDRESS_CHARS_MAX
from wherry.nodekey import public_of

SCHEMES: Final = ("tcp", "tcps", "unix")
_FORMS: Final = {"tcp": "tcp://HOST:PORT", "tcps": "tcps://[PEERID@]HOST:PORT", "unix": "unix:///PATH"}
_UNIX_BYTES_MAX: Final = 107  # sun_path of Linux, without its last zero


class Place(NamedTuple):
    """Where to dial, or to listen."""

    scheme: str
    host: str = ""
    port: int = 0
    peer: str = ""  # the id that must be found there; "": whoever it is
    path: str = ""  # of a Unix socket

    @property
    def tls(self) -> bool:
        """Whether it is spoken inside TLS."""
        return self.scheme == "tcps"

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{f'{self.peer}@' if self.peer else ''}{host}:{self.port}"


def parse_place(address: str) -> Place:
    """Reads an address. Raises UsageError, which does not repeat what may be a password."""
    if len(address) > ADDRESS_CHARS_MAX:
        raise UsageError(f"an address has at most {ADDRESS_CHARS_MAX} characters")
    scheme, colon, rest = address.partition("://")
    scheme = scheme.lower()
    if not colon or scheme not in SCHEMES:
        raise UsageError("an address of this transport is " + ", ".join(_FORMS.values()))
    if scheme == "unix":
        if not rest.startswith("/") or "\0" in rest or len(os.fsencode(rest)) > _UNIX_BYTES_MAX:
            raise _wrong(scheme, f"a path from the root, of at most {_UNIX_BYTES_MAX} bytes")
        return Place(scheme, path=rest)
    peer, at, netloc = rest.rpartition("@")
    if at:
        if scheme == "tcp":
            raise _wrong(scheme, "without a user: nobody's id is proven there")
        try:
            public_of(peer)
        except DataError as problem:
            raise _wrong(scheme, "and what stands before the @ is a peer id, 12D3Koo...") from problem
    host, port = _split(scheme, netloc.removesuffix("/"))
    return Place(scheme, host, port, peer)


def _split(scheme: str, netloc: str) -> tuple[str, int]:
    if netloc.startswith("["):
        host, bracket, tail = netloc[1:].partition("]")
        good = bool(bracket) and tail.startswith(":") and ":" in host
        text = tail[1:]
    else:
        host, colon, text = netloc.partition(":")
        good = bool(colon)
    strange = any(char <= " " or char in "/?#@\x7f" for char in host)
    if not good or not host or strange or not text.isascii() or not text.isdigit():
        raise _wrong(scheme, "a host and a port")
    if not is_host(host):
        raise _wrong(scheme, "and its host is none: a part of it is empty, too long or no text")
    if len(text) > 5 or int(text) > 65_535:
        raise _wrong(scheme, "with a port up to 65535")
    return host, int(text)


def _wrong(scheme: str, what: str) -> UsageError:
    return UsageError(f"an address of {scheme} is of the form {_FORMS[scheme]}, {what}", hint=f"write {_FORMS[scheme]}")
