"""URLs of web servers, and where their redirects lead (specs/0020 §5). Pure.

Several transports ask web servers and follow their redirects, and plugins do not import one another: what decides whether
one is followed lies here. Which machine it may lead to is `wherry.dial`'s to say, at the moment of connecting.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from wherry.address import is_host
from wherry.errors import PeerProtocolError

REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
REDIRECTS_MAX: Final = 3  # one after the other
_PORTS: Final = {"http": 80, "https": 443}
_LOCATION_CHARS_MAX: Final = 16_384  # signed URLs of object stores reach 2,000
_KEPT: Final = "!#$%&'()*+,/:;=?@[]~"  # what has a meaning in a Location, or is encoded already
_HINT: Final = "if you trust where it leads, name that with --from"


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

    def redirected(self, location: str | None, peer: str) -> Url:
        """Gives where a redirect from here leads. Raises PeerProtocolError unless it is http or https and as safe as before."""
        if location is None or len(location) > _LOCATION_CHARS_MAX:
            what = "to nowhere" if location is None else f"with {len(location)} characters"
            raise PeerProtocolError(f"{peer} redirects {what}", peer=peer)
        try:
            found = parsed(urljoin(self.origin + self.target, quote(location, safe=_KEPT, encoding="latin-1")))
        except ValueError as problem:
            raise PeerProtocolError(f"{peer} redirects to what is no web address: {problem}", peer=peer) from problem
        if self.scheme == "https" != found.scheme:
            raise PeerProtocolError(f"{peer} redirects from https to http, which is not followed", peer=peer, hint=_HINT)
        return found


def too_many(peer: str, what: str = "") -> PeerProtocolError:
    """Makes the error for a server whose redirects do not end."""
    about = f" ({what})" if what else ""
    return PeerProtocolError(f"{peer} redirects more than {REDIRECTS_MAX} times{about}", peer=peer, hint=_HINT)


def parsed(text: str) -> Url:
    """Takes a URL apart. Raises ValueError, which does not repeat it."""
    parts = urlsplit(text)
    scheme = parts.scheme.lower()
    if scheme not in _PORTS:
        raise ValueError(f"its scheme {scheme[:20]!a} is not http or https")
    if "@" in parts.netloc:
        raise ValueError("it has a user; give a token instead: [transport.web] token_file")
    host, port = (parts.hostname or "").partition("%")[0], parts.port
    if not re.fullmatch(r"[a-z0-9._:-]{1,253}", host, re.ASCII) or not is_host(host) or port == 0:
        raise ValueError("it has no host, or none that can be dialled")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Url(scheme, host, port or _PORTS[scheme], target)
