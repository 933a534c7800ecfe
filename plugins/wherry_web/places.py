"""URLs: of a source, of a file in it, and of where a redirect leads (specs/0020 §2, §5)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from wherry.errors import PeerProtocolError, UsageError
from wherry.limits import ADDRESS_CHARS_MAX

_PORTS: Final = {"http": 80, "https": 443}
_WRITTEN: Final = re.compile(r"[\x21-\x7e]+", re.ASCII)
_LOCATION_CHARS_MAX: Final = 16_384  # signed URLs of object stores reach 2,000
_KEPT: Final = "!#$%&'()*+,/:;=?@[]~"  # what has a meaning in a Location, or is encoded already


class Url(NamedTuple):
    """An absolute URL, taken apart."""

    scheme: str  # "http" or "https"
    host: str  # without brackets, in lower case
    port: int
    target: str  # path and query, as it is requested

    @property
    def origin(self) -> str:
        """``https://host``, with the port where it is not the usual one (RFC 6454)."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """``host`` or ``host:port``, as the header Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def shown(self) -> str:
        """The URL for people and errors, without its query, which may hold a signature."""
        return self.origin + self.target.partition("?")[0]

    def file(self, path: str) -> Url | None:
        """Gives the URL of a file of the dataset below this one; "" is a dataset that is one file. None: it can't be there."""
        base, question, query = self.target.partition("?")
        if not path:
            return None if base.endswith("/") else self
        name = "/".join(quote(segment, safe="") for segment in path.split("/"))
        return self._replace(target=f"{base.removesuffix('/')}/{name}{question}{query}")

    def redirected(self, location: str, peer: str) -> Url:
        """Gives where a redirect from here leads. Raises PeerProtocolError unless it is http or https and as safe as before."""
        if len(location) > _LOCATION_CHARS_MAX:
            raise PeerProtocolError(f"{peer} redirects with {len(location)} characters", peer=peer)
        try:
            found = _parsed(urljoin(self.origin + self.target, quote(location, safe=_KEPT, encoding="latin-1")))
        except ValueError as problem:
            raise PeerProtocolError(f"{peer} redirects to what is no web address: {problem}", peer=peer) from problem
        if self.scheme == "https" != found.scheme:
            raise PeerProtocolError(f"{peer} redirects from https to http, which is not followed", peer=peer)
        return found


def parse_address(address: str) -> Url:
    """Reads the address of a source. Raises UsageError; what may be a password is not repeated."""
    hint = "write web+https://HOST/DIRECTORY/ or web+https://HOST/FILE"
    if len(address) > ADDRESS_CHARS_MAX or not _WRITTEN.fullmatch(address):
        raise UsageError("a web address is too long, or has spaces or other characters to be percent-encoded", hint=hint)
    try:
        if "#" in address:
            raise ValueError("it has a fragment")
        return _parsed(address)
    except ValueError as problem:
        raise UsageError(f"this is not the address of a web server: {problem}", hint=hint) from problem


def _parsed(text: str) -> Url:
    """Takes a URL apart. Raises ValueError, which does not repeat it."""
    parts = urlsplit(text)
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError(f"its scheme {scheme[:20]!a} is not http or https")
    if "@" in parts.netloc:
        raise ValueError("it has a user; give a token instead: [transport.web] token_file")
    host, port = (parts.hostname or "").partition("%")[0], parts.port
    if not re.fullmatch(r"[a-z0-9._:-]{1,253}", host, re.ASCII) or port == 0:
        raise ValueError("it has no host, or none that can be dialled")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(scheme, host, port or _PORTS[scheme], target)
